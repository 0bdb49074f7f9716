//! What the backend is asked to make.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use ipnet::IpNet;

use crate::dns::DnsConfig;
use crate::drivers::{BridgeConfig, NetworkDriver, SubLinkConfig};
use crate::types::{Exposure, MacAddr, PublishedPort};

/// The settings of the backend.
#[derive(Debug, Clone)]
pub struct Config {
    /// The directory that keeps network namespaces, one file for each.
    pub netns_dir: PathBuf,
    /// The name of the nftables table.
    pub table: String,
    /// Whether IP forwarding is switched on where it is off. A host that did not forward before does not
    /// begin to forward between interfaces that are not ours.
    pub ip_forward: bool,
    /// Whether connections that the kernel cannot redirect are carried by a proxy.
    pub userland_proxy: bool,
    /// The program that answers DNS questions also while this process is away; without it, this process
    /// does.
    pub dns_program: Option<PathBuf>,
    /// What makes namespaces that belong to another user namespace.
    pub users: Option<UserNamespace>,
}

/// A user namespace that network namespaces are made in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserNamespace {
    /// The file that keeps it.
    pub path: PathBuf,
    /// The program that makes a network namespace in it: `PROGRAM netns PATH FILE` keeps one by `FILE`. It
    /// takes a process with one thread.
    pub program: PathBuf,
}

/// A network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkConfig {
    /// Its ID.
    pub id: String,
    /// How it works.
    pub driver: DriverConfig,
}

/// How a network works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DriverConfig {
    /// A bridge of the host.
    Bridge(BridgeConfig),
    /// Links that share one of the host's: macvlan, ipvlan.
    SubLink(SubLinkConfig),
}

impl DriverConfig {
    /// Whether the host forwards IPv6 packets for it.
    pub(crate) fn has_ipv6(&self) -> bool {
        match self {
            Self::Bridge(config) => config.addresses.iter().any(|net| net.addr().is_ipv6()),
            Self::SubLink(_) => false,
        }
    }

    pub(crate) fn driver(&self) -> &dyn NetworkDriver {
        match self {
            Self::Bridge(config) => config,
            Self::SubLink(config) => config,
        }
    }
}

/// A network namespace with its links.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SandboxConfig {
    /// The name of its file in [`Config::netns_dir`].
    pub id: String,
    /// Whether it belongs to the user namespace of [`Config::users`], if there is one.
    pub remapped: bool,
    /// Its links, in order.
    pub endpoints: Vec<EndpointConfig>,
    /// The ports that are led into it. Their host sides have been reserved.
    pub ports: Vec<PublishedPort>,
    /// The DNS server it has, if it has one.
    pub dns: Option<DnsConfig>,
}

impl SandboxConfig {
    /// The addresses that published ports lead to: of the first endpoint that has one of the family.
    #[must_use]
    pub fn targets(&self) -> Targets {
        let mut targets = Targets::default();
        for endpoint in self.endpoints.iter().filter(|endpoint| endpoint.publishes) {
            for net in &endpoint.addresses {
                match net {
                    IpNet::V4(net) if targets.ipv4.is_none() => {
                        targets.ipv4 = Some(net.addr());
                        targets.routed.0 = endpoint.routed.0;
                        targets.exposure = targets.exposure.max(endpoint.exposure);
                    }
                    IpNet::V6(net) if targets.ipv6.is_none() => {
                        targets.ipv6 = Some(net.addr());
                        targets.routed.1 = endpoint.routed.1;
                        targets.exposure = targets.exposure.max(endpoint.exposure);
                    }
                    _ => {}
                }
            }
        }
        targets
    }
}

/// Where published ports lead to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Targets {
    /// The IPv4 address.
    pub ipv4: Option<Ipv4Addr>,
    /// The IPv6 address.
    pub ipv6: Option<Ipv6Addr>,
    /// For IPv4 and for IPv6: whether others reach those addresses themselves, so that a published port is
    /// opened there and no port of the host is led to it.
    pub routed: (bool, bool),
    /// Who reaches them.
    pub exposure: Exposure,
}

impl Targets {
    /// Whether ports of the family of `ip` are opened at the target itself.
    pub(crate) fn is_routed(&self, ip: std::net::IpAddr) -> bool {
        if ip.is_ipv4() {
            self.routed.0
        } else {
            self.routed.1
        }
    }
}

/// A link into a sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointConfig {
    /// The ID of the network.
    pub network: String,
    /// The name of its end on the host, where it has one.
    pub host_link: String,
    /// Its name inside.
    pub interface: String,
    /// Its hardware address.
    pub mac: MacAddr,
    /// Its addresses, with the length of the network's prefix.
    pub addresses: Vec<IpNet>,
    /// The gateways that the sandbox's default routes go through, where those go here; `0.0.0.0` or `::` is
    /// the link itself.
    pub gateways: Vec<std::net::IpAddr>,
    /// Whether published ports may lead to it.
    pub publishes: bool,
    /// As in [`Targets::routed`].
    pub routed: (bool, bool),
    /// Who reaches published ports that lead to it.
    pub exposure: Exposure,
    /// Settings of the interface: the key below `net`, with the interface's name in it, and the value.
    pub sysctls: Vec<(String, String)>,
}

impl EndpointConfig {
    /// The name of the host's end of the endpoint with this ID: unique enough, and short enough.
    #[must_use]
    pub fn host_link_of(endpoint_id: &str) -> String {
        let id = endpoint_id.get(..7).unwrap_or(endpoint_id);
        format!("{}{id}", crate::drivers::LINK_PREFIX)
    }
}
