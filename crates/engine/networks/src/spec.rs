//! What a container asks of its network, and what it got.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use arca_net::{Exposure, MacAddr, PortSpec, PublishedPort};
use arca_types::{ContainerId, EndpointId, NetworkId};
use ipnet::{Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};

/// Which network namespace a container gets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum SandboxMode {
    /// The host's own; endpoints and ports are ignored by the kernel and must be empty.
    Host,
    /// That of another container, which is running.
    Container(ContainerId),
    /// One of its own, with an interface for each endpoint; none but loopback when it has none, or
    /// when its only endpoint is on the predefined network `none`.
    Own,
}

/// What a container asks for when it starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SandboxSpec {
    /// The container's name, without a slash; for error texts, DNS and the network's list of containers.
    pub name: String,
    /// The container's host name, which joins its DNS names on user-defined networks when it was chosen.
    pub hostname: String,
    /// Which network namespace.
    pub mode: SandboxMode,
    /// The networks to join, in the order of their interfaces (`eth0`, `eth1`, ..).
    /// With [`SandboxMode::Host`], the one endpoint on the network `host`.
    pub endpoints: Vec<EndpointSpec>,
    /// The ports to publish, each with the wishes for its host side.
    pub ports: Vec<PortSpec>,
    /// Its name servers; where it has none, the daemon's or the host's count.
    pub name_servers: Vec<IpAddr>,
    /// Who reaches its published ports, when it says so: the value of its label `arca.exposure`.
    pub exposure: Option<String>,
    /// Whether a namespace of its own belongs to the containers' user namespace, if there is one.
    pub remapped: bool,
}

/// What a container asks of one network (`EndpointSettings` in the API).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointSpec {
    /// The network's name, ID or ID prefix.
    pub network: String,
    /// Further names of the container on this network.
    pub aliases: Vec<String>,
    /// Legacy links: `name:alias`.
    pub links: Vec<String>,
    /// A chosen IPv4 address.
    pub ipv4: Option<Ipv4Addr>,
    /// A chosen IPv6 address.
    pub ipv6: Option<Ipv6Addr>,
    /// Further link-local addresses.
    pub link_local: Vec<IpAddr>,
    /// A chosen hardware address.
    pub mac: Option<MacAddr>,
    /// Options for the network's driver.
    pub driver_opts: BTreeMap<String, String>,
    /// Which endpoint gives the default route: the highest; then the first.
    pub gw_priority: i64,
}

/// A container's network while it runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sandbox {
    /// 64 hexadecimal digits, new with every start (`SandboxID`); empty with [`SandboxMode::Container`].
    pub id: String,
    /// The file to enter the namespace by; `None` is the host's namespace.
    pub netns: Option<PathBuf>,
    /// What the API shows as `SandboxKey`; empty with [`SandboxMode::Container`].
    pub key: String,
    /// What it got on each network, in the order of its interfaces.
    pub endpoints: Vec<Endpoint>,
    /// Every published port: one entry for each address family.
    pub ports: Vec<PublishedPort>,
}

/// A container's presence on one network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// The endpoint's own ID.
    pub id: EndpointId,
    /// The network.
    pub network: NetworkId,
    /// The network's name.
    pub network_name: String,
    /// What was asked for.
    pub spec: EndpointSpec,
    /// The name of the interface inside; empty when there is none (`host`, `none`).
    pub interface: String,
    /// The name of the link's other end on the host; empty when there is none.
    pub host_link: String,
    /// The hardware address.
    pub mac: Option<MacAddr>,
    /// The IPv4 address with the length of the network's prefix.
    pub ipv4: Option<Ipv4Net>,
    /// The network's IPv4 gateway.
    pub gateway4: Option<Ipv4Addr>,
    /// The IPv6 address with the length of the network's prefix.
    pub ipv6: Option<Ipv6Net>,
    /// The network's IPv6 gateway.
    pub gateway6: Option<Ipv6Addr>,
    /// Whether the container's default route for IPv4 goes here.
    #[serde(alias = "is_default_route")]
    pub default4: bool,
    /// Whether its default route for IPv6 does.
    #[serde(default)]
    pub default6: bool,
    /// Whether published ports may lead here.
    pub publishes: bool,
    /// Whether published ports are open at the IPv4 address itself, and no port of the host leads there.
    #[serde(default)]
    pub routed4: bool,
    /// The same for IPv6.
    #[serde(default)]
    pub routed6: bool,
    /// Who reaches published ports that lead here.
    #[serde(default)]
    pub exposure: Exposure,
    /// The names that DNS answers on this network; empty on predefined networks.
    pub dns_names: Vec<String>,
}
