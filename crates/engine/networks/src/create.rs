//! `NetworkCreate`: a network that somebody asks for.

use std::collections::BTreeMap;
use std::net::IpAddr;

use arca_net::ipam;
use arca_store::{Batch, Durability};
use arca_types::{NetworkId, chain};
use ipnet::IpNet;

use crate::Networks;
use crate::addresses::Addresses;
use crate::error::Error;
use crate::network::{Ipam, IpamPool, Network};
use crate::options::BridgeOptions;
use crate::predefined::pools;
use crate::record::NetworkRecord;
use crate::service::{Inner, State};
use crate::subnets::{self, PoolSpec};
use crate::translate::{self, BRIDGE, HOST, NULL};

/// Names that nobody can give.
const RESERVED: &[&str] = &["bridge", "host", "none", "default"];
/// dockerd's answer to what only a swarm has.
const NO_SWARM: &str = "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm \
                        join\" to connect this node to swarm and try again.";

/// What is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NetworkSpec {
    /// Its name.
    pub name: String,
    /// Its driver; empty is `bridge`.
    pub driver: String,
    /// Its scope; empty is `local`.
    pub scope: String,
    /// Whether it has IPv4; `None` is yes.
    pub ipv4: Option<bool>,
    /// Whether it has IPv6; `None` is no.
    pub ipv6: Option<bool>,
    /// The IPAM driver; empty is `default`.
    pub ipam_driver: String,
    /// Options of the IPAM driver, as they were given.
    pub ipam_options: Option<BTreeMap<String, String>>,
    /// Its subnets; where a family has none, one is chosen.
    pub pools: Vec<PoolSpec>,
    /// Whether nothing outside is reachable from it.
    pub internal: bool,
    /// Whether containers outside a swarm's services may join it.
    pub attachable: bool,
    /// Whether it is a swarm's entry.
    pub ingress: bool,
    /// Whether it is no network, but a configuration for others.
    pub config_only: bool,
    /// The configuration it takes everything from; empty is none.
    pub config_from: String,
    /// Options of its driver.
    pub options: BTreeMap<String, String>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

impl Networks {
    /// Makes a network.
    ///
    /// # Errors
    /// When the name is taken, or what is asked for is not valid, contradicts another network or is not
    /// supported; when the kernel refuses. Nothing is left behind then.
    pub async fn create(&self, spec: NetworkSpec) -> Result<NetworkId, Error> {
        let inner = &self.0;
        let spec = inner.checked(spec)?;
        let failed = |name: &str| {
            let network = name.to_owned();
            move |cause| Error::Network { network, cause }
        };
        let occupied = inner
            .net
            .occupied(Vec::new())
            .await
            .map_err(failed(&spec.name))?;
        let network = inner.register(&spec, &occupied)?;
        let result = inner.realise(&network).await;
        if let Err(error) = result {
            inner.forget(&network).await;
            return Err(error);
        }
        inner.publish("create", &network, None).await;
        Ok(network.id)
    }
}

impl Inner {
    /// Refuses what can be refused by itself, and fills in what another network configures.
    fn checked(&self, mut spec: NetworkSpec) -> Result<NetworkSpec, Error> {
        if spec.name.trim().is_empty() {
            return Err(Error::Invalid("invalid name: name is empty".to_owned()));
        }
        if RESERVED.contains(&spec.name.as_str()) {
            return Err(Error::PredefinedName(spec.name));
        }
        if spec.ingress {
            let text = "Ingress network can only be global scope network";
            return Err(Error::Forbidden(text.to_owned()));
        }
        if spec.scope == "swarm" {
            let text = "cannot create a swarm scoped network when swarm is not active";
            return Err(Error::Forbidden(text.to_owned()));
        }
        if !spec.config_from.is_empty() {
            self.configured(&mut spec)?;
        }
        for (key, value) in self
            .config
            .default_network_options
            .get(BRIDGE)
            .into_iter()
            .flatten()
        {
            if matches!(spec.driver.as_str(), "" | BRIDGE) && !spec.config_only {
                spec.options
                    .entry(key.clone())
                    .or_insert_with(|| value.clone());
            }
        }
        match spec.driver.as_str() {
            "" | BRIDGE => BRIDGE.clone_into(&mut spec.driver),
            HOST | NULL => {
                let text = format!(
                    "only one instance of \"{}\" network is allowed",
                    spec.driver
                );
                return Err(Error::Forbidden(text));
            }
            "overlay" => return Err(Error::Forbidden(NO_SWARM.to_owned())),
            other => return Err(Error::NoDriver(other.to_owned())),
        }
        match spec.ipam_driver.as_str() {
            "" | "default" => "default".clone_into(&mut spec.ipam_driver),
            other => return Err(Error::NoDriver(other.to_owned())),
        }
        if spec
            .ipam_options
            .as_ref()
            .is_some_and(|options| !options.is_empty())
        {
            return Err(Error::Unsupported(
                "options of the default IPAM driver".to_owned(),
            ));
        }
        if spec.ipv4 == Some(false) && spec.ipv6 != Some(true) {
            return Err(Error::Invalid("IPv4 or IPv6 must be enabled".to_owned()));
        }
        BridgeOptions::parse(&spec.options)?;
        Ok(spec)
    }

    /// Takes over what a configuration-only network says.
    fn configured(&self, spec: &mut NetworkSpec) -> Result<(), Error> {
        let missing = || Error::NoConfiguration(spec.config_from.clone());
        let state = self.state();
        let of = state
            .resolve(&spec.config_from)
            .map_err(|_not_found| missing())?;
        if !of.config_only {
            return Err(missing());
        }
        if !spec.pools.is_empty() || !spec.options.is_empty() {
            return Err(Error::Forbidden(
                "user specified configurations are not supported if the network depends on a \
                 configuration network"
                    .to_owned(),
            ));
        }
        let (from, options, labels) = (of.name.clone(), of.options.clone(), of.labels.clone());
        spec.pools = of.configuration.clone();
        spec.options = options;
        if spec.labels.is_empty() {
            spec.labels = labels;
        }
        spec.config_from = from;
        Ok(())
    }

    /// Gives the network its ID, subnets and name, which nobody else gets from now on.
    fn register(&self, spec: &NetworkSpec, occupied: &[IpNet]) -> Result<Network, Error> {
        let mut guard = self.state();
        let state = &mut *guard;
        if state
            .networks
            .values()
            .any(|network| network.name == spec.name)
        {
            return Err(Error::Exists(spec.name.clone()));
        }
        let parsed = subnets::parse(&spec.pools)?;
        let mut network = Network {
            id: NetworkId::random(),
            name: spec.name.clone(),
            created: self.clock.now(),
            driver: if spec.config_only { NULL } else { &spec.driver }.to_owned(),
            predefined: false,
            ipv4: spec.ipv4.unwrap_or(true),
            ipv6: spec.ipv6.unwrap_or(false),
            ipam: Ipam {
                driver: spec.ipam_driver.clone(),
                options: spec.ipam_options.clone(),
                pools: Vec::new(),
            },
            internal: spec.internal,
            attachable: spec.attachable,
            config_only: spec.config_only,
            config_from: spec.config_from.clone(),
            configuration: if spec.config_only {
                spec.pools.clone()
            } else {
                Vec::new()
            },
            options: spec.options.clone(),
            labels: spec.labels.clone(),
        };
        if spec.config_only {
            state.networks.insert(network.id.clone(), network.clone());
            return Ok(network);
        }
        network.ipam.pools = self.settle_pools(state, &network, parsed, occupied)?;
        refuse_same_bridge(state, &network)?;
        state
            .addresses
            .insert(network.id.clone(), Addresses::of(&network));
        state.networks.insert(network.id.clone(), network.clone());
        Ok(network)
    }

    /// The subnets that were asked for, and one for each family that has none.
    fn settle_pools(
        &self,
        state: &State,
        network: &Network,
        asked: Vec<IpamPool>,
        occupied: &[IpNet],
    ) -> Result<Vec<IpamPool>, Error> {
        let mut taken: Vec<IpNet> = state
            .networks
            .values()
            .flat_map(|other| &other.ipam.pools)
            .map(|pool| pool.subnet)
            .collect();
        let enabled = |pool: &IpamPool| match pool.subnet {
            IpNet::V4(_) => network.ipv4,
            IpNet::V6(_) => network.ipv6,
        };
        let mut settled = Vec::new();
        for pool in asked.into_iter().filter(enabled) {
            if taken.iter().any(|other| ipam::overlap(other, &pool.subnet)) {
                return Err(Error::PoolOverlap);
            }
            taken.push(pool.subnet);
            settled.push(pool);
        }
        taken.extend(occupied);
        let has = |settled: &[IpamPool], ipv4| {
            settled
                .iter()
                .any(|pool: &IpamPool| pool.subnet.addr().is_ipv4() == ipv4)
        };
        let from: Vec<(IpNet, u8)> = pools(&self.config);
        let (ipv4, mut ipv6): (Vec<_>, Vec<_>) = from
            .into_iter()
            .partition(|(base, _)| base.addr().is_ipv4());
        if network.ipv4 && !has(&settled, true) {
            let subnet = ipam::choose(&ipv4, &taken).ok_or(Error::NoPool)?;
            settled.insert(0, subnets::chosen_by_us(subnet));
        }
        if network.ipv6 && !has(&settled, false) {
            if ipv6.is_empty() {
                ipv6.push(ipam::unique_local_pool(host_bytes(state)));
            }
            let subnet = ipam::choose(&ipv6, &taken).ok_or(Error::NoPool)?;
            settled.push(subnets::chosen_by_us(subnet));
        }
        Ok(settled)
    }

    /// Makes the network in the kernel and on disk.
    async fn realise(&self, network: &Network) -> Result<(), Error> {
        if !network.config_only
            && let Some(config) = translate::network(network, &self.config)?
        {
            let failed = |cause| Error::Network {
                network: network.name.clone(),
                cause,
            };
            self.net.ensure_network(config).await.map_err(failed)?;
        }
        let record = NetworkRecord(network.clone());
        let batch = Batch::new()
            .put(network.id.as_str(), &record)
            .map_err(Error::Store)?;
        self.commit(batch, Durability::Disk).await
    }

    /// Takes back what was begun.
    async fn forget(&self, network: &Network) {
        {
            let mut state = self.state();
            state.networks.remove(&network.id);
            state.addresses.remove(&network.id);
        }
        if let Ok(Some(config)) = translate::network(network, &self.config)
            && let Err(error) = self.net.remove_network(config).await
        {
            let error = chain(&error);
            tracing::warn!(network = network.name, error, "cannot take back a network");
        }
    }
}

fn refuse_same_bridge(state: &State, network: &Network) -> Result<(), Error> {
    let name = |network: &Network| {
        let options = BridgeOptions::parse(&network.options)?;
        Ok::<_, Error>(translate::bridge_name(network, &options))
    };
    let own = name(network)?;
    for other in state
        .networks
        .values()
        .filter(|other| other.driver == BRIDGE)
    {
        if name(other)? == own {
            return Err(Error::Forbidden(format!(
                "cannot create network {} ({own}): conflicts with network {} ({own}): networks have \
                 same bridge name",
                network.id, other.id
            )));
        }
    }
    Ok(())
}

/// Bytes that are this engine's own and stay the same: from the ID of a predefined network.
fn host_bytes(state: &State) -> [u8; 5] {
    let none = state
        .networks
        .values()
        .find(|network| network.predefined && network.name == "none");
    let [a, b, c, d, e, _] = translate::local_mac(none.map_or("", |network| network.id.as_str())).0;
    [a, b, c, d, e]
}

/// The address of a subnet's gateway when none is asked for: its first, or the first of the range.
pub(crate) fn first_address(subnet: IpNet, range: Option<IpNet>) -> IpAddr {
    let first = first_host(subnet);
    match range {
        Some(range) if !range.contains(&first) => range.network(),
        _ => first,
    }
}

/// The address after that of the subnet itself; a subnet of one or two addresses has no such.
fn first_host(subnet: IpNet) -> IpAddr {
    let network = subnet.network();
    if subnet.max_prefix_len() - subnet.prefix_len() < 2 {
        return network;
    }
    match network {
        IpAddr::V4(address) => IpAddr::V4((u32::from(address) + 1).into()),
        IpAddr::V6(address) => IpAddr::V6((u128::from(address) + 1).into()),
    }
}
