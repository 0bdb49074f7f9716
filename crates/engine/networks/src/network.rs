//! A network as clients see it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use arca_net::MacAddr;
use arca_types::{ContainerId, EndpointId, NetworkId, Timestamp};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};

use crate::subnets::PoolSpec;

/// A network's definition (`Network` in the API without its containers). It does not change once made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// Its ID.
    pub id: NetworkId,
    /// Its name.
    pub name: String,
    /// When it was made.
    pub created: Timestamp,
    /// Its driver: `bridge`, `host`, `null`.
    pub driver: String,
    /// Whether it was made by arca itself and cannot be removed.
    pub predefined: bool,
    /// Whether containers get IPv4 addresses.
    pub ipv4: bool,
    /// Whether containers get IPv6 addresses.
    pub ipv6: bool,
    /// Its addresses.
    pub ipam: Ipam,
    /// Whether nothing outside is reachable from it.
    pub internal: bool,
    /// Whether containers outside a swarm's services may join it.
    pub attachable: bool,
    /// Whether it is no network, but a configuration for others.
    pub config_only: bool,
    /// The name of the configuration it was made from; empty is none.
    pub config_from: String,
    /// The subnets that a configuration asks for on behalf of others.
    pub configuration: Vec<PoolSpec>,
    /// Options of its driver, as the API shows them.
    pub options: BTreeMap<String, String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

/// A network's addresses as they were asked for and, where nothing was asked for, chosen.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ipam {
    /// The name of the IPAM driver: `default`.
    pub driver: String,
    /// Options of the IPAM driver; `None` where the API shows `null`.
    pub options: Option<BTreeMap<String, String>>,
    /// The pools; empty for `host` and `none`.
    pub pools: Vec<IpamPool>,
    /// Pools that were asked for of a family that the network has not: they are shown and checked against,
    /// and nobody gets an address from them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub idle: Vec<IpamPool>,
}

impl Ipam {
    /// All pools as the API shows them: those that were asked for before those that arca chose, IPv4
    /// before IPv6.
    #[must_use]
    pub fn shown(&self) -> Vec<&IpamPool> {
        let mut all: Vec<_> = self.pools.iter().chain(&self.idle).collect();
        all.sort_by_key(|pool| (!pool.chosen, pool.subnet.addr().is_ipv6()));
        all
    }
}

/// One subnet of a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IpamPool {
    /// The subnet.
    pub subnet: IpNet,
    /// Where addresses are taken from, when it is not the whole subnet.
    pub range: Option<IpNet>,
    /// The gateway on the host.
    pub gateway: IpAddr,
    /// Whether the subnet was asked for; only then may containers choose their addresses.
    pub chosen: bool,
    /// Whether the API shows the gateway: it was asked for, or the subnet was chosen by arca.
    pub shows_gateway: bool,
    /// Addresses that are not given out, by name.
    pub auxiliary: BTreeMap<String, IpAddr>,
}

/// A network together with who is on it now (`GET /networks/{id}`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspected {
    /// The network.
    pub network: Network,
    /// The endpoints of running containers.
    pub containers: BTreeMap<ContainerId, EndpointSummary>,
}

/// One container on a network (`NetworkContainer` in the API).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointSummary {
    /// The container's name.
    pub name: String,
    /// The endpoint.
    pub endpoint: EndpointId,
    /// Its hardware address.
    pub mac: Option<MacAddr>,
    /// Its IPv4 address and prefix length.
    pub ipv4: Option<Ipv4Net>,
    /// Its IPv6 address and prefix length.
    pub ipv6: Option<Ipv6Net>,
}

/// Which networks to list: each field that is not empty has to match with one of its values.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Parts of names.
    pub names: Vec<String>,
    /// Parts of IDs.
    pub ids: Vec<String>,
    /// Drivers.
    pub drivers: Vec<String>,
    /// Scopes: `local`, `swarm`, `global`.
    pub scopes: Vec<String>,
    /// Labels, `key` or `key=value`; all of them have to match.
    pub labels: Vec<String>,
    /// Whether it is one of the predefined networks (`type=builtin`) or not (`type=custom`): either of these.
    pub kinds: Vec<bool>,
    /// Whether no container is on it (`dangling`).
    pub dangling: Option<bool>,
}
