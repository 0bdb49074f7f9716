//! `NetworkCreate`: a network that somebody asks for.

use std::collections::BTreeMap;
use std::net::IpAddr;

use arca_net::ipam;
use arca_store::{Batch, Durability};
use arca_types::{NetworkId, chain};
use ipnet::IpNet;

use crate::Networks;
use crate::addresses::Addresses;
use crate::create_check::{refuse_same_bridge, refuse_several_subnets, refuse_taken_auxiliary};
use crate::error::Error;
use crate::network::{Ipam, IpamPool, Network};
use crate::predefined::pools;
use crate::record::NetworkRecord;
use crate::service::{Inner, State};
use crate::sublink::{is_sublink, refuse_same_parent};
use crate::subnets::{self, PoolSpec};
use crate::translate::{self, NULL};

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
                idle: Vec::new(),
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
            network.ipam.pools = parsed;
            state.networks.insert(network.id.clone(), network.clone());
            return Ok(network);
        }
        let (used, idle) = parsed.into_iter().partition(|pool| match pool.subnet {
            IpNet::V4(_) => network.ipv4,
            IpNet::V6(_) => network.ipv6,
        });
        network.ipam.idle = idle;
        network.ipam.pools = self.settle_pools(state, &network, used, occupied)?;
        refuse_taken_auxiliary(&network)?;
        if is_sublink(&network.driver) {
            refuse_same_parent(&network, state.networks.values())?;
        } else {
            refuse_several_subnets(&network)?;
            refuse_same_bridge(state, &network)?;
        }
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
            .filter(|other| !other.config_only)
            .flat_map(|other| &other.ipam.pools)
            .map(|pool| pool.subnet)
            .collect();
        let mut settled = Vec::new();
        for pool in asked {
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
            settled.push(subnets::chosen_by_us(subnet));
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
            let failed = |cause| match cause {
                arca_net::Error::Refused(_) => Error::Driver(cause),
                cause => Error::Network {
                    network: network.name.clone(),
                    cause,
                },
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

/// Bytes that are this engine's own and stay the same: from the ID of a predefined network.
pub(crate) fn host_bytes(state: &State) -> [u8; 5] {
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
