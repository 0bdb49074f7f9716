//! What happens inside a sandbox's namespace.

use std::os::fd::AsFd as _;

use ipnet::IpNet;

use crate::config::EndpointConfig;
use crate::dns;
use crate::drivers::NetworkDriver;
use crate::error::Error;
use crate::firewall::redirect_dns;
use crate::host::Host;
use crate::netlink::{Message, Socket, address, link, route};
use crate::netns::Netns;
use crate::sysctl;

/// The loopback interface's number in every namespace.
const LOOPBACK: u32 = 1;

/// The namespace of a sandbox, worked on by a thread that is inside.
#[derive(Debug)]
pub(crate) struct Inside<'a> {
    host: &'a Host,
    netns: &'a Netns,
    route: Socket,
}

impl<'a> Inside<'a> {
    /// Opens the namespace; the calling thread is in it.
    pub(crate) fn open(host: &'a Host, netns: &'a Netns) -> Result<Self, Error> {
        let route = Socket::route().map_err(Error::system("open a route socket in a namespace"))?;
        Ok(Self { host, netns, route })
    }

    /// Brings loopback up.
    pub(crate) fn loopback(&mut self) -> Result<(), Error> {
        self.request(vec![link::set_up(LOOPBACK)], "bring loopback up")
    }

    /// Opens sockets for a DNS server, and leads the sandbox's own questions there.
    pub(crate) fn open_dns() -> Result<dns::Sockets, Error> {
        let sockets = dns::Sockets::bind()?;
        redirect_dns(dns::ADDRESS, sockets.ports()?)?;
        Ok(sockets)
    }

    /// Adds an endpoint: its link, addresses, routes.
    pub(crate) fn join(
        &mut self,
        driver: &dyn NetworkDriver,
        endpoint: &EndpointConfig,
    ) -> Result<(), Error> {
        driver.join(self.host, self.netns.as_fd(), endpoint)?;
        let index = self.index(&endpoint.interface)?;
        let has_ipv6 = endpoint
            .addresses
            .iter()
            .any(|net| matches!(net, IpNet::V6(_)));
        if has_ipv6 {
            // Addresses are ours to give; and a bridge that sends packets back where they came from would
            // make every address look taken.
            sysctl::set(&format!("ipv6/conf/{}/accept_dad", endpoint.interface), "0")?;
        }
        let ipv6_off = if has_ipv6 { "0" } else { "1" };
        sysctl::set(
            &format!("ipv6/conf/{}/disable_ipv6", endpoint.interface),
            ipv6_off,
        )?;
        let mut requests: Vec<Message> = endpoint
            .addresses
            .iter()
            .map(|net| address::add(index, *net))
            .collect();
        requests.push(link::set_up(index));
        requests.extend(default_routes(endpoint, index));
        self.request(requests, "configure a link in a namespace")?;
        self.settle(driver, endpoint)?;
        for (key, value) in &endpoint.sysctls {
            if !sysctl::set(key, value)? {
                let text = format!("/proc/sys/net/{key} is not a sysctl file");
                return Err(Error::Refused(text));
            }
        }
        Ok(())
    }

    /// Waits until both ends of a link carry packets.
    ///
    /// The kernel sees to that in the background, and drops packets until then; asking for a link makes it
    /// do it at once (since Linux 5.17).
    fn settle(
        &mut self,
        driver: &dyn NetworkDriver,
        endpoint: &EndpointConfig,
    ) -> Result<(), Error> {
        self.index(&endpoint.interface)?;
        driver.settle(self.host, endpoint)
    }

    /// Removes an endpoint's link; no harm when it is gone.
    pub(crate) fn leave(&mut self, endpoint: &EndpointConfig) -> Result<(), Error> {
        link::delete_by_name(&mut self.route, &endpoint.interface)
            .map_err(Error::system("remove a link in a namespace"))
    }

    /// Leads the default routes through an endpoint, in place of another one's.
    pub(crate) fn set_default_route(&mut self, endpoint: &EndpointConfig) -> Result<(), Error> {
        let index = self.index(&endpoint.interface)?;
        self.request(default_routes(endpoint, index), "set a default route")
    }

    fn index(&mut self, name: &str) -> Result<u32, Error> {
        link::find(&mut self.route, name)
            .map_err(Error::system("look for a link in a namespace"))?
            .map(|link| link.index)
            .ok_or_else(|| Error::NoNetwork(name.to_owned()))
    }

    fn request(&mut self, requests: Vec<Message>, action: &str) -> Result<(), Error> {
        if requests.is_empty() {
            return Ok(());
        }
        self.route.request(requests).map_err(Error::system(action))
    }
}

fn default_routes(endpoint: &EndpointConfig, index: u32) -> Vec<Message> {
    endpoint
        .gateways
        .iter()
        .map(|gateway| route::add_default(*gateway, index))
        .collect()
}
