//! From Docker's words to the backend's.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use arca_net::{
    BridgeConfig, DnsConfig, DriverConfig, EndpointConfig, MacAddr, NetworkConfig, SandboxConfig,
};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::config::Config;
use crate::error::Error;
use crate::network::Network;
use crate::options::{BridgeOptions, EndpointOptions, GatewayMode};
use crate::record::SandboxRecord;
use crate::spec::{Endpoint, Sandbox};
use crate::sublink::{self, is_sublink};

/// The largest packet when nothing says it, bytes.
const MTU: u32 = 1500;

/// The driver of networks on a bridge.
pub(crate) const BRIDGE: &str = "bridge";
/// The driver of the host's network.
pub(crate) const HOST: &str = "host";
/// The driver of no network.
pub(crate) const NULL: &str = "null";

/// The name of the host's bridge of a network.
pub(crate) fn bridge_name(network: &Network, options: &BridgeOptions) -> String {
    let own = || format!("br-{}", network.id.short());
    options.name.clone().unwrap_or_else(own)
}

/// What the backend has to make for a network; `None` for those without anything in the kernel.
pub(crate) fn network(network: &Network, config: &Config) -> Result<Option<NetworkConfig>, Error> {
    if network.config_only {
        return Ok(None);
    }
    if is_sublink(&network.driver) {
        return Ok(Some(NetworkConfig {
            id: network.id.to_string(),
            driver: DriverConfig::SubLink(sublink::config(network)?),
        }));
    }
    if network.driver != BRIDGE {
        return Ok(None);
    }
    let options = BridgeOptions::parse(&network.options)?;
    let name = bridge_name(network, &options);
    let address = |pool: &crate::IpamPool| IpNet::new(pool.gateway, pool.subnet.prefix_len()).ok();
    let addresses: Vec<IpNet> = network
        .ipam
        .pools
        .iter()
        .filter(|pool| !(options.inhibit_ipv4 && pool.subnet.addr().is_ipv4()))
        .filter_map(address)
        .collect();
    let is = |mode| (options.mode4 == mode, options.mode6 == mode);
    // That of the predefined network is shown, but nobody asked for it.
    let asked = options.mtu.filter(|mtu| *mtu != 0 && !network.predefined);
    // The daemon's default is what everybody expects to be shown, and no wish.
    let asked = asked.or(Some(config.mtu).filter(|mtu| ![0, MTU].contains(mtu)));
    let bridge = BridgeConfig {
        mac: bridge_mac(&addresses, network),
        name,
        isolated: is(GatewayMode::Isolated),
        addresses,
        mtu: asked.unwrap_or(MTU),
        follows_uplink: asked.is_none(),
        icc: options.icc,
        masquerade: (
            options.masquerade && options.mode4 != GatewayMode::Routed,
            options.masquerade && options.mode6 != GatewayMode::Routed,
        ),
        internal: network.internal,
        open: is(GatewayMode::NatUnprotected),
        routed: (
            config.direct_routing || options.mode4 == GatewayMode::Routed,
            config.direct_routing || options.mode6 == GatewayMode::Routed,
        ),
        trusted: options.trusted,
    };
    let id = network.id.to_string();
    Ok(Some(NetworkConfig {
        id,
        driver: DriverConfig::Bridge(bridge),
    }))
}

/// A hardware address that is the same each time the bridge is made.
fn bridge_mac(addresses: &[IpNet], network: &Network) -> MacAddr {
    let ipv4 = addresses.iter().find_map(|net| match net {
        IpNet::V4(net) => Some(net.addr()),
        IpNet::V6(_) => None,
    });
    ipv4.map_or_else(|| local_mac(network.id.as_str()), MacAddr::of_ipv4)
}

/// A hardware address made from the digits of an ID.
pub(crate) fn local_mac(id: &str) -> MacAddr {
    let mut bytes = [0; 6];
    for (index, byte) in bytes.iter_mut().enumerate() {
        let digits = id.get(2 * index..2 * index + 2).unwrap_or("0");
        *byte = u8::from_str_radix(digits, 16).unwrap_or(0);
    }
    MacAddr::local(bytes)
}

/// The backend's form of a sandbox.
pub(crate) fn sandbox(of: &Sandbox) -> Result<SandboxConfig, Error> {
    let endpoints = of
        .endpoints
        .iter()
        .filter(|endpoint| !endpoint.interface.is_empty())
        .map(endpoint)
        .collect::<Result<_, _>>()?;
    let id = file_of(of);
    Ok(SandboxConfig {
        id,
        remapped: false,
        endpoints,
        ports: of.ports.clone(),
        dns: None,
    })
}

/// The DNS server of a sandbox: containers on user-defined networks have one.
pub(crate) fn dns(record: &SandboxRecord) -> Option<DnsConfig> {
    let endpoints = &record.sandbox.endpoints;
    let networks: Vec<String> = endpoints
        .iter()
        .filter(|endpoint| !endpoint.dns_names.is_empty())
        .map(|endpoint| endpoint.network.to_string())
        .collect();
    // Who has no way out does not get one by asking for names.
    let has_way_out = endpoints.iter().any(|endpoint| {
        endpoint.publishes || endpoint.gateway4.is_some() || endpoint.gateway6.is_some()
    });
    let upstreams = if has_way_out {
        record.upstreams.clone()
    } else {
        Vec::new()
    };
    (!networks.is_empty()).then_some(DnsConfig {
        networks,
        upstreams,
        links: links(endpoints),
    })
}

/// Names that containers asked for by links: `name:alias`, or the name alone.
fn links(endpoints: &[Endpoint]) -> BTreeMap<String, String> {
    let all = endpoints.iter().flat_map(|endpoint| &endpoint.spec.links);
    all.map(|link| {
        let (name, alias) = link.split_once(':').unwrap_or((link, link));
        (alias.to_ascii_lowercase(), name.to_ascii_lowercase())
    })
    .collect()
}

/// The name of the file that keeps a sandbox's namespace.
pub(crate) fn file_of(sandbox: &Sandbox) -> String {
    sandbox.id.get(..12).unwrap_or(&sandbox.id).to_owned()
}

/// The backend's form of an endpoint.
pub(crate) fn endpoint(of: &Endpoint) -> Result<EndpointConfig, Error> {
    let options = EndpointOptions::parse(&of.spec.driver_opts)?;
    let own = of
        .ipv4
        .map(IpNet::V4)
        .into_iter()
        .chain(of.ipv6.map(IpNet::V6));
    let link_local = of.spec.link_local.iter().map(|ip| link_local(*ip));
    let gateway4 = of.gateway4.filter(|_| of.default4).map(IpAddr::V4);
    let gateway6 = of.gateway6.filter(|_| of.default6).map(IpAddr::V6);
    let gateways = gateway4.into_iter().chain(gateway6).collect();
    let sysctls = options
        .sysctls
        .into_iter()
        .map(|(path, value)| (path.replace("IFNAME", &of.interface), value))
        .collect();
    Ok(EndpointConfig {
        network: of.network.to_string(),
        host_link: of.host_link.clone(),
        interface: of.interface.clone(),
        mac: of.mac.unwrap_or(MacAddr::of_ipv4(Ipv4Addr::UNSPECIFIED)),
        addresses: own.chain(link_local).collect(),
        gateways,
        publishes: of.publishes,
        routed: (of.routed4, of.routed6),
        exposure: of.exposure,
        sysctls,
    })
}

/// A link-local address with the prefix length of its kind.
fn link_local(ip: IpAddr) -> IpNet {
    match ip {
        IpAddr::V4(ip) => Ipv4Net::new(ip, 16).map_or(IpNet::V4(ip.into()), IpNet::V4),
        IpAddr::V6(ip) => Ipv6Net::new(ip, 64).map_or(IpNet::V6(ip.into()), IpNet::V6),
    }
}
