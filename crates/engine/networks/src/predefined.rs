//! The networks that are always there: `bridge`, `host` and `none`.

use std::collections::BTreeMap;
use std::net::IpAddr;

use arca_net::ipam;
use arca_store::Batch;
use arca_types::{NetworkId, Timestamp};
use ipnet::{IpNet, Ipv4Net};

use crate::config::Config;
use crate::error::Error;
use crate::network::{Ipam, IpamPool, Network};
use crate::options::{BRIDGE_NAME, DEFAULT_BRIDGE, HOST_BINDING, ICC, MASQUERADE, MTU};
use crate::record::NetworkRecord;
use crate::service::{Inner, State};
use crate::translate::{BRIDGE, HOST, NULL};

/// The largest packet that is shown when the configuration does not say one, bytes.
const DEFAULT_MTU: u32 = 1500;

/// Adds those that are missing; brings options of `bridge` up to date with the configuration.
pub(crate) fn complete(state: &mut State, config: &Config, now: Timestamp) -> Result<Batch, Error> {
    let mut batch = Batch::new();
    let mut wanted = vec![(HOST, "host"), (NULL, "none")];
    if config.bridge.name.is_some() {
        wanted.push((BRIDGE, "bridge"));
    }
    for (driver, name) in wanted {
        let known = state
            .networks
            .values()
            .find(|network| network.predefined && network.name == name);
        let mut network = known.cloned().unwrap_or_else(|| new(driver, name, now));
        if driver == BRIDGE {
            network.options = bridge_options(config);
            network.ipv6 = config.bridge.ipv6;
        }
        if known != Some(&network) {
            let id = network.id.to_string();
            batch = batch
                .put(&id, &NetworkRecord(network.clone()))
                .map_err(Error::Store)?;
            state.networks.insert(network.id.clone(), network);
        }
    }
    if config.bridge.name.is_none() {
        state
            .networks
            .retain(|_, network| !(network.predefined && network.name == "bridge"));
    }
    Ok(batch)
}

fn new(driver: &str, name: &str, now: Timestamp) -> Network {
    Network {
        id: NetworkId::random(),
        name: name.to_owned(),
        created: now,
        driver: driver.to_owned(),
        predefined: true,
        ipv4: true,
        ipv6: false,
        ipam: Ipam {
            driver: "default".to_owned(),
            options: None,
            pools: Vec::new(),
            idle: Vec::new(),
        },
        internal: false,
        attachable: false,
        config_only: false,
        config_from: String::new(),
        configuration: Vec::new(),
        options: BTreeMap::new(),
        labels: BTreeMap::new(),
    }
}

fn bridge_options(config: &Config) -> BTreeMap<String, String> {
    let bridge = &config.bridge;
    let mtu = if config.mtu == 0 {
        DEFAULT_MTU
    } else {
        config.mtu
    };
    let binding = config
        .default_host_ip
        .filter(IpAddr::is_ipv4)
        .unwrap_or(IpAddr::from([0; 4]));
    [
        (DEFAULT_BRIDGE, "true".to_owned()),
        (ICC, bridge.icc.to_string()),
        (MASQUERADE, bridge.masquerade.to_string()),
        (HOST_BINDING, binding.to_string()),
        (BRIDGE_NAME, bridge.name.clone().unwrap_or_default()),
        (MTU, mtu.to_string()),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), value))
    .collect()
}

/// Decides which subnet `bridge` has: that of the configuration, of the interface if it is there, of the
/// last time, or a free one.
pub(crate) async fn settle_bridge(inner: &Inner, in_use: bool) -> Result<Option<Network>, Error> {
    let Some(name) = inner.config.bridge.name.clone() else {
        return Ok(None);
    };
    let found = {
        let state = inner.state();
        let mut predefined = state.networks.values().filter(|network| network.predefined);
        predefined.find(|network| network.name == "bridge").cloned()
    };
    let Some(mut network) = found else {
        return Ok(None);
    };
    let before = network.ipam.pools.iter().find_map(pool_address);
    let before6 = network
        .ipam
        .pools
        .iter()
        .find(|pool| pool.subnet.addr().is_ipv6())
        .cloned();
    let address = match inner.config.bridge.address {
        Some(address) => address,
        None => choose(inner, name, before, in_use).await?,
    };
    network.ipam.pools = vec![pool(inner, address)];
    if inner.config.bridge.ipv6 {
        network.ipam.pools.push(pool6(inner, before6)?);
    }
    Ok(Some(network))
}

/// Without a configured address.
async fn choose(
    inner: &Inner,
    name: String,
    before: Option<Ipv4Net>,
    in_use: bool,
) -> Result<Ipv4Net, Error> {
    let failed = |cause| Error::Network {
        network: "bridge".to_owned(),
        cause,
    };
    if let Some(address) = before.filter(|_| in_use) {
        return Ok(address);
    }
    let present = inner
        .net
        .link_addresses(name.clone())
        .await
        .map_err(failed)?;
    let present = present.into_iter().find_map(|net| match net {
        IpNet::V4(net) => Some(net),
        IpNet::V6(_) => None,
    });
    if let Some(address) = present {
        return Ok(address);
    }
    let mut occupied = inner.net.occupied(vec![name]).await.map_err(failed)?;
    {
        let state = inner.state();
        let others = state
            .networks
            .values()
            .filter(|network| network.name != "bridge");
        occupied.extend(
            others
                .flat_map(|network| &network.ipam.pools)
                .map(|pool| pool.subnet),
        );
    }
    let is_free = |net: &Ipv4Net| {
        !occupied
            .iter()
            .any(|taken| ipam::overlap(taken, &IpNet::V4(net.trunc())))
    };
    if let Some(address) = before.filter(is_free) {
        return Ok(address);
    }
    let pools: Vec<(IpNet, u8)> = pools(&inner.config);
    match ipam::choose(&pools, &occupied) {
        Some(IpNet::V4(net)) => Ok(first_host(net)),
        _ => Err(Error::NoPool),
    }
}

/// The pools of the configuration, or those that clients are used to.
pub(crate) fn pools(config: &Config) -> Vec<(IpNet, u8)> {
    if config.pools.is_empty() {
        return ipam::default_pools();
    }
    config
        .pools
        .iter()
        .map(|pool| (pool.base, pool.size))
        .collect()
}

fn first_host(net: Ipv4Net) -> Ipv4Net {
    let first = net.hosts().next().unwrap_or(net.network());
    Ipv4Net::new(first, net.prefix_len()).unwrap_or(net)
}

fn pool_address(pool: &IpamPool) -> Option<Ipv4Net> {
    match pool.gateway {
        IpAddr::V4(gateway) => Ipv4Net::new(gateway, pool.subnet.prefix_len()).ok(),
        IpAddr::V6(_) => None,
    }
}

/// The IPv6 subnet: that of the configuration, of the last time, or one of the engine's own.
fn pool6(inner: &Inner, before: Option<IpamPool>) -> Result<IpamPool, Error> {
    let bridge = &inner.config.bridge;
    let auxiliary: BTreeMap<String, IpAddr> = bridge
        .default_gateway6
        .map(|gateway| ("DefaultGatewayIPv6".to_owned(), IpAddr::V6(gateway)))
        .into_iter()
        .collect();
    let made = |net: IpNet, gateway: Option<IpAddr>, range: Option<IpNet>| IpamPool {
        range,
        auxiliary: auxiliary.clone(),
        gateway: gateway.unwrap_or_else(|| crate::create::first_address(net.trunc(), None)),
        ..crate::subnets::chosen_by_us(net.trunc())
    };
    if let Some(net) = bridge.address6 {
        let range = bridge.fixed_cidr6.map(|net| IpNet::V6(net.trunc()));
        return Ok(made(IpNet::V6(net), Some(IpAddr::V6(net.addr())), range));
    }
    if let Some(net) = bridge.fixed_cidr6 {
        return Ok(made(IpNet::V6(net), None, None));
    }
    if let Some(before) = before {
        return Ok(made(before.subnet, None, None));
    }
    let state = inner.state();
    let mut ours: Vec<(IpNet, u8)> = pools(&inner.config);
    ours.retain(|(base, _)| base.addr().is_ipv6());
    if ours.is_empty() {
        ours.push(ipam::unique_local_pool(crate::create::host_bytes(&state)));
    }
    let taken: Vec<IpNet> = state
        .networks
        .values()
        .flat_map(|network| &network.ipam.pools)
        .map(|pool| pool.subnet)
        .collect();
    let net = ipam::choose(&ours, &taken).ok_or(Error::NoPool)?;
    Ok(made(net, None, None))
}

fn pool(inner: &Inner, address: Ipv4Net) -> IpamPool {
    IpamPool {
        subnet: IpNet::V4(address.trunc()),
        range: inner
            .config
            .bridge
            .fixed_cidr
            .map(|net| IpNet::V4(net.trunc())),
        gateway: IpAddr::V4(address.addr()),
        chosen: false,
        shows_gateway: true,
        auxiliary: inner
            .config
            .bridge
            .default_gateway
            .map(|gateway| ("DefaultGatewayIPv4".to_owned(), IpAddr::V4(gateway)))
            .into_iter()
            .collect(),
    }
}
