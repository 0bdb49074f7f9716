//! The host's side of every network: one socket for its links, one firewall.

use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use ipnet::IpNet;

use crate::error::Error;
use crate::firewall::Firewall;
use crate::netlink::{Message, Socket, address, link, route};

/// The network namespace that the engine itself is in.
#[derive(Debug)]
pub(crate) struct Host {
    route: Mutex<Socket>,
    pub(crate) firewall: Arc<Firewall>,
}

impl Host {
    /// Opens the namespace of the calling thread.
    pub(crate) fn open(table: &str) -> Result<Self, Error> {
        let route = Socket::route().map_err(Error::system("open a route socket"))?;
        Ok(Self {
            route: Mutex::new(route),
            firewall: Arc::new(Firewall::open(table)?),
        })
    }

    /// Sends requests to the host's links.
    pub(crate) fn request(&self, requests: Vec<Message>) -> io::Result<()> {
        self.with(|socket| socket.request(requests))
    }

    /// Uses the host's socket.
    pub(crate) fn with<T>(&self, work: impl FnOnce(&mut Socket) -> io::Result<T>) -> io::Result<T> {
        work(&mut self.route.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Looks a link of the host up.
    pub(crate) fn link(&self, name: &str) -> Result<Option<link::Link>, Error> {
        self.with(|socket| link::find(socket, name))
            .map_err(Error::system(format!("look for the link {name:?}")))
    }

    /// Removes a link of the host; no harm when there is none.
    pub(crate) fn delete_link(&self, name: &str) -> Result<(), Error> {
        self.with(|socket| link::delete_by_name(socket, name))
            .map_err(Error::system(format!("remove the link {name:?}")))
    }

    /// Every subnet that the host has an address in or a route to, but for the links named in `except`.
    pub(crate) fn occupied(&self, except: &[String]) -> Result<Vec<IpNet>, Error> {
        let failed = || Error::system("list routes");
        self.with(|socket| {
            let links = link::list(socket)?;
            let ours = |index: u32| {
                links
                    .iter()
                    .any(|link| link.index == index && except.contains(&link.name))
            };
            let addresses = address::list(socket)?;
            let routes = route::list(socket)?;
            let routed = routes
                .into_iter()
                .filter(|route| !route.link.is_some_and(ours))
                .filter_map(|route| route.destination);
            let direct = addresses
                .into_iter()
                .filter(|(index, _)| !ours(*index))
                .map(|(_, net)| net);
            Ok(routed.chain(direct).map(|net| net.trunc()).collect())
        })
        .map_err(failed())
    }

    /// The smallest of the largest packets that links with a default route take, bytes; `None` when there is
    /// no default route.
    pub(crate) fn uplink_mtu(&self) -> Result<Option<u32>, Error> {
        self.with(|socket| {
            let routes = route::list(socket)?;
            let uplinks: Vec<u32> = routes
                .into_iter()
                .filter(|route| route.destination.is_none())
                .filter_map(|route| route.link)
                .collect();
            if uplinks.is_empty() {
                return Ok(None);
            }
            let links = link::list(socket)?;
            let mtus = links
                .iter()
                .filter(|link| uplinks.contains(&link.index))
                .map(|link| link.mtu);
            Ok(mtus.filter(|mtu| *mtu > 0).min())
        })
        .map_err(Error::system("look for the uplink"))
    }

    /// The IPv4 and IPv6 addresses of a link.
    pub(crate) fn addresses(&self, index: u32) -> Result<Vec<IpNet>, Error> {
        let all = self
            .with(address::list)
            .map_err(Error::system("list addresses"))?;
        Ok(all
            .into_iter()
            .filter(|(link, _)| *link == index)
            .map(|(_, net)| net)
            .collect())
    }
}

/// The tables of iptables' old kernel interface that are in use in the calling thread's namespace; nf_tables
/// does not show them.
pub(crate) fn legacy_tables() -> Vec<String> {
    let files = ["ip_tables_names", "ip6_tables_names"];
    let mut found: Vec<String> = files
        .iter()
        .filter_map(|file| std::fs::read_to_string(format!("/proc/thread-self/net/{file}")).ok())
        .flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>())
        .collect();
    found.sort();
    found.dedup();
    found
}

/// Whether the host has IPv6 at all.
pub(crate) fn has_ipv6() -> bool {
    crate::sysctl::get("ipv6/conf/all/disable_ipv6").is_some_and(|value| value == "0")
}

/// `0.0.0.0` or `::`, of the family of `like`.
pub(crate) fn any(like: IpAddr) -> IpAddr {
    match like {
        IpAddr::V4(_) => IpAddr::from([0; 4]),
        IpAddr::V6(_) => IpAddr::from([0; 16]),
    }
}
