//! What the daemon's configuration says about networks.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use arca_net::Exposure;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// The settings of the network service.
#[derive(Debug, Clone)]
pub struct Config {
    /// The directory for run-time files; network namespaces are kept in its `netns`.
    pub exec_root: PathBuf,
    /// The name of this engine's nftables table (family `inet`). Engines on one host need different ones.
    pub firewall_table: String,
    /// Whether forwarding is switched on where it is off (`ip-forward`).
    pub ip_forward: bool,
    /// The predefined network `bridge`.
    pub bridge: DefaultBridge,
    /// Where networks without a chosen subnet get theirs (`default-address-pools`); empty is dockerd's list.
    pub pools: Vec<AddressPool>,
    /// The largest packet on networks that do not say it (`mtu`), bytes; 0 and 1500 are 1500, or
    /// less where an uplink takes less.
    pub mtu: u32,
    /// The host address ports are published on when none is asked for (`ip`); `None` is every address.
    pub default_host_ip: Option<IpAddr>,
    /// What `host-gateway` stands for in `--add-host` (`host-gateway-ips`); empty is the default bridge's gateway.
    pub host_gateway_ips: Vec<IpAddr>,
    /// Whether connections that the kernel cannot redirect are carried by arca (`userland-proxy`).
    pub userland_proxy: bool,
    /// Whether published ports are reached at containers' own addresses, too (`allow-direct-routing`).
    pub direct_routing: bool,
    /// Who reaches published ports where neither container nor network say so (`exposure`).
    pub exposure: Exposure,
    /// Name servers, search domains and options for containers that name none.
    pub dns: DnsSettings,
    /// The program that answers containers' DNS questions also while arcad is away (`arca-dns`); without it
    /// arcad does.
    pub dns_program: Option<PathBuf>,
    /// The user namespace of containers that are remapped (`userns-remap`), and what makes network namespaces
    /// in it.
    pub users: Option<arca_net::UserNamespace>,
    /// The host's resolver configuration; `None` is `/etc/resolv.conf`.
    pub resolv_conf: Option<PathBuf>,
    /// Options for new networks of a driver (`default-network-opts`), by driver.
    pub default_network_options: BTreeMap<String, BTreeMap<String, String>>,
}

/// The predefined network `bridge` (`bridge`, `bip`, `fixed-cidr`, `default-gateway`, `icc`, `ip-masq`).
#[derive(Debug, Clone)]
pub struct DefaultBridge {
    /// The name of the host's bridge interface. `None` leaves the network out (`"bridge": "none"`).
    pub name: Option<String>,
    /// The bridge's address and prefix; `None` takes the first pool that is free on this host.
    pub address: Option<Ipv4Net>,
    /// Where addresses of containers are taken from, when not the whole subnet.
    pub fixed_cidr: Option<Ipv4Net>,
    /// The gateway told to containers, when not the bridge itself.
    pub default_gateway: Option<std::net::Ipv4Addr>,
    /// Whether it has IPv6 (`ipv6`).
    pub ipv6: bool,
    /// The bridge's IPv6 address and prefix (`bip6`); `None` takes the first of `fixed_cidr6`, or of a pool.
    pub address6: Option<Ipv6Net>,
    /// Where IPv6 addresses of containers are taken from (`fixed-cidr-v6`).
    pub fixed_cidr6: Option<Ipv6Net>,
    /// The IPv6 gateway told to containers, when not the bridge itself (`default-gateway-v6`).
    pub default_gateway6: Option<std::net::Ipv6Addr>,
    /// Whether containers on it may talk to each other.
    pub icc: bool,
    /// Whether containers' addresses are hidden behind the host's.
    pub masquerade: bool,
}

/// A range of addresses that is cut into subnets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddressPool {
    /// The whole range.
    pub base: IpNet,
    /// The prefix length of each subnet.
    pub size: u8,
}

/// How names are resolved: from the daemon's configuration or from a container's (`--dns` and its kin).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DnsSettings {
    /// Addresses of name servers.
    pub servers: Vec<IpAddr>,
    /// Search domains; a lone `.` is none at all.
    pub search: Vec<String>,
    /// Options, such as `ndots:2`.
    pub options: Vec<String>,
}

impl Config {
    /// What the backend is told.
    pub(crate) fn backend(&self) -> arca_net::Config {
        arca_net::Config {
            netns_dir: self.exec_root.join("netns"),
            table: self.firewall_table.clone(),
            ip_forward: self.ip_forward,
            userland_proxy: self.userland_proxy,
            dns_program: self.dns_program.clone(),
            users: self.users.clone(),
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            exec_root: PathBuf::from("/run/arca"),
            firewall_table: "arca".to_owned(),
            ip_forward: true,
            bridge: DefaultBridge::default(),
            pools: Vec::new(),
            mtu: 0,
            default_host_ip: None,
            host_gateway_ips: Vec::new(),
            userland_proxy: true,
            direct_routing: false,
            exposure: Exposure::Open,
            dns: DnsSettings::default(),
            dns_program: None,
            users: None,
            resolv_conf: None,
            default_network_options: BTreeMap::new(),
        }
    }
}

impl Default for DefaultBridge {
    fn default() -> Self {
        Self {
            name: Some("arca0".to_owned()),
            address: None,
            fixed_cidr: None,
            default_gateway: None,
            ipv6: false,
            address6: None,
            fixed_cidr6: None,
            default_gateway6: None,
            icc: true,
            masquerade: true,
        }
    }
}
