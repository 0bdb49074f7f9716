//! Networks on a Linux bridge of the host, which routes for them.

use std::os::fd::BorrowedFd;

use ipnet::IpNet;
use rustix::io::Errno;

use super::NetworkDriver;
use crate::config::EndpointConfig;
use crate::error::Error;
use crate::firewall::BridgeRules;
use crate::host::Host;
use crate::netlink::{address, link};
use crate::sysctl;
use crate::types::MacAddr;

/// Whether bridged packets pass the firewall (`br_netfilter`).
const BRIDGE_FIREWALL: &str = "bridge/bridge-nf-call-iptables";

/// No host sends less than this as a whole packet of IPv4 (RFC 791), bytes.
const SMALLEST: u32 = 576;
/// The same for IPv6 (RFC 8200).
const SMALLEST_IPV6: u32 = 1280;

/// What bridges that we made are noted with.
const MARK: &str = "arca";

/// A network on a bridge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BridgeConfig {
    /// The bridge's name.
    pub name: String,
    /// The hardware address it gets when it is made.
    pub mac: MacAddr,
    /// Its addresses, which are the gateways of the network.
    pub addresses: Vec<IpNet>,
    /// Whether the bridge has no address of IPv4, of IPv6: the host is no part of the network then.
    pub isolated: (bool, bool),
    /// The largest packet, bytes.
    pub mtu: u32,
    /// Whether it is smaller where an uplink of the host takes less.
    pub follows_uplink: bool,
    /// Whether endpoints may talk to each other.
    pub icc: bool,
    /// Whether endpoints are hidden behind the host's addresses, for IPv4 and for IPv6.
    pub masquerade: (bool, bool),
    /// Whether nothing outside is reachable.
    pub internal: bool,
    /// For IPv4 and for IPv6: whether packets routed here from outside are let in without a published port.
    pub open: (bool, bool),
    /// For IPv4 and for IPv6: whether published ports are reached at the endpoints' own addresses.
    pub routed: (bool, bool),
    /// Links of the host from which published ports are reached at the endpoints' own addresses, too.
    pub trusted: Vec<String>,
}

impl BridgeConfig {
    fn rules(&self) -> BridgeRules {
        let masquerades = |net: &IpNet| match net {
            IpNet::V4(_) => self.masquerade.0,
            IpNet::V6(_) => self.masquerade.1,
        };
        BridgeRules {
            subnets: self
                .addresses
                .iter()
                .map(|net| (net.trunc(), masquerades(net)))
                .collect(),
            icc: self.icc,
            internal: self.internal,
            open: self.open,
            routed: self.routed,
            trusted: self.trusted.clone(),
        }
    }

    /// Returns the bridge, which is made when it is not there.
    fn ensure(&self, host: &Host) -> Result<link::Link, Error> {
        if let Some(found) = host.link(&self.name)? {
            if found.kind != "bridge" {
                return Err(Error::Refused(format!(
                    "existing interface {} is not a bridge",
                    self.name
                )));
            }
            return Ok(found);
        }
        let mtu = self.mtu(host)?;
        let made = host.request(vec![link::new_bridge(&self.name, self.mac, mtu, MARK)]);
        match made {
            Err(error) if !link::is(&error, Errno::EXIST) => {
                return Err(Error::system(format!("make the bridge {:?}", self.name))(
                    error,
                ));
            }
            _ => {}
        }
        let missing = || Error::NoNetwork(self.name.clone());
        host.link(&self.name)?.ok_or_else(missing)
    }

    /// Whether the link is a bridge that was made for this network. One that somebody else made is used, and
    /// keeps its addresses and its MTU, and stays.
    fn is_ours(&self, link: &link::Link) -> bool {
        // Former versions left no mark, but chose the address.
        link.kind == "bridge" && (link.alias == MARK || link.mac == Some(self.mac))
    }

    /// The largest packet that endpoints may send, bytes.
    fn mtu(&self, host: &Host) -> Result<u32, Error> {
        if !self.follows_uplink {
            return Ok(self.mtu);
        }
        let uplink = host.uplink_mtu()?.unwrap_or(self.mtu);
        let smallest = if self.addresses.iter().any(|net| net.addr().is_ipv6()) {
            SMALLEST_IPV6
        } else {
            SMALLEST
        };
        Ok(self.mtu.min(uplink.max(smallest)))
    }

    /// The addresses that the bridge itself should have.
    fn own_addresses(&self) -> Vec<IpNet> {
        let has_address = |net: &&IpNet| match net {
            IpNet::V4(_) => !self.isolated.0,
            IpNet::V6(_) => !self.isolated.1,
        };
        self.addresses.iter().filter(has_address).copied().collect()
    }

    fn configure(&self, host: &Host, bridge: &link::Link) -> Result<(), Error> {
        let present = host.addresses(bridge.index)?;
        let mut requests = Vec::new();
        let wanted = self.own_addresses();
        for net in wanted.iter().filter(|net| !present.contains(net)) {
            requests.push(address::add(bridge.index, *net));
        }
        if self.is_ours(bridge) {
            let is_ours = |net: &IpNet| match net {
                IpNet::V4(_) => true,
                IpNet::V6(net) => !net.addr().is_unicast_link_local(),
            };
            for net in present
                .iter()
                .filter(|net| is_ours(net) && !wanted.contains(net))
            {
                requests.push(address::remove(bridge.index, *net));
            }
            let mtu = self.mtu(host)?;
            // What is on it would not take larger ones.
            let fits = mtu < bridge.mtu || !self.follows_uplink || !has_ports(host, bridge)?;
            if mtu != bridge.mtu && fits {
                requests.push(link::set_mtu(bridge.index, mtu));
            }
        }
        if !bridge.up {
            requests.push(link::set_up(bridge.index));
        }
        if requests.is_empty() {
            return Ok(());
        }
        host.request(requests).map_err(Error::system(format!(
            "configure the bridge {:?}",
            self.name
        )))
    }

    /// How the bridge treats the port of an endpoint.
    fn set_port(&self, host: &Host, endpoint: &EndpointConfig) -> Result<(), Error> {
        // Where bridged packets pass the firewall, one that is led back to where it came from is
        // sent by the bridge itself, which needs its leave.
        let hairpin = sysctl::get(BRIDGE_FIREWALL).is_some_and(|value| value == "1");
        if self.icc && !hairpin {
            return Ok(());
        }
        let missing = || Error::NoNetwork(self.name.clone());
        let port = host.link(&endpoint.host_link)?.ok_or_else(missing)?.index;
        host.request(vec![link::set_port(port, !self.icc, hairpin)])
            .map_err(Error::system(format!(
                "set up the link {:?}",
                endpoint.host_link
            )))
    }

    /// Settings of the bridge's own interface on the host.
    fn tune(&self, bridge: &link::Link) -> Result<(), Error> {
        let name = &self.name;
        let has = |v4: bool| self.addresses.iter().any(|net| net.addr().is_ipv4() == v4);
        if has(true) && !self.internal {
            // Lets what was sent to 127.0.0.1 be led to an endpoint and back. The firewall stops
            // everybody behind the bridge from using it.
            sysctl::set(&format!("ipv4/conf/{name}/route_localnet"), "1")?;
        }
        let ipv6_off = if has(false) && !self.isolated.1 {
            "0"
        } else {
            "1"
        };
        sysctl::set(&format!("ipv6/conf/{name}/disable_ipv6"), ipv6_off)?;
        sysctl::set(&format!("ipv6/conf/{name}/accept_ra"), "0")?;
        if self.is_ours(bridge) {
            // The kernel asks for neighbours of those whose packets it forwards from its link-local address,
            // and not before it is sure that nobody else has that: for seconds, nothing would be forwarded.
            sysctl::set(&format!("ipv6/conf/{name}/accept_dad"), "0")?;
        }
        Ok(())
    }
}

impl NetworkDriver for BridgeConfig {
    fn set_up(&self, host: &Host) -> Result<(), Error> {
        let bridge = self.ensure(host)?;
        // Before addresses and before it is up, or it would begin to look for routers.
        self.tune(&bridge)?;
        self.configure(host, &bridge)?;
        host.firewall.set_bridge(&self.name, &self.rules())
    }

    fn tear_down(&self, host: &Host) -> Result<(), Error> {
        host.firewall.remove_bridge(&self.name)?;
        match host.link(&self.name)? {
            Some(bridge) if self.is_ours(&bridge) => host.delete_link(&self.name),
            _ => Ok(()),
        }
    }

    fn join(
        &self,
        host: &Host,
        netns: BorrowedFd<'_>,
        endpoint: &EndpointConfig,
    ) -> Result<(), Error> {
        let missing = || Error::NoNetwork(self.name.clone());
        let master = host.link(&self.name)?.ok_or_else(missing)?;
        let pair = link::VethPair {
            name: &endpoint.host_link,
            master: master.index,
            netns,
            peer: &endpoint.interface,
            mac: endpoint.mac,
            mtu: if self.follows_uplink {
                master.mtu
            } else {
                self.mtu
            },
        };
        host.request(vec![link::new_veth(&pair)])
            .map_err(Error::system(format!(
                "make the link {:?} to the bridge {:?}",
                endpoint.host_link, self.name
            )))?;
        self.set_port(host, endpoint)
    }

    fn host_link(&self) -> &str {
        &self.name
    }

    fn faults(&self, host: &Host) -> Result<Vec<String>, Error> {
        let Some(bridge) = host.link(&self.name)? else {
            return Ok(vec![format!("the bridge {} was removed", self.name)]);
        };
        let present = host.addresses(bridge.index)?;
        let lost = self.own_addresses().into_iter();
        let mut faults: Vec<String> = lost
            .filter(|net| !present.contains(net))
            .map(|net| format!("the address {net} of the bridge {} was removed", self.name))
            .collect();
        if !bridge.up {
            faults.push(format!("the bridge {} was down", self.name));
        }
        Ok(faults)
    }

    fn endpoint_fault(
        &self,
        host: &Host,
        endpoint: &EndpointConfig,
    ) -> Result<Option<String>, Error> {
        let (name, bridge) = (&endpoint.host_link, &self.name);
        let Some(link) = host.link(name)? else {
            return Ok(Some(format!(
                "the link {name} to the bridge {bridge} was removed"
            )));
        };
        let master = host.link(bridge)?.map(|bridge| bridge.index);
        Ok(if master.is_none() || link.master == master {
            (!link.up).then(|| format!("the link {name} to the bridge {bridge} was down"))
        } else {
            Some(format!("the link {name} was taken off the bridge {bridge}"))
        })
    }

    fn reattach(&self, host: &Host, endpoint: &EndpointConfig) -> Result<bool, Error> {
        let (Some(link), Some(bridge)) = (host.link(&endpoint.host_link)?, host.link(&self.name)?)
        else {
            return Ok(false);
        };
        let put = host.request(vec![link::enslave(link.index, bridge.index)]);
        put.map_err(Error::system(format!(
            "put the link {:?} on the bridge {:?}",
            endpoint.host_link, self.name
        )))?;
        self.set_port(host, endpoint)?;
        self.settle(host, endpoint)?;
        Ok(true)
    }

    fn settle(&self, host: &Host, endpoint: &EndpointConfig) -> Result<(), Error> {
        // In this order: the bridge has a carrier once one of its ports has.
        host.link(&endpoint.host_link)?;
        host.link(&self.name)?;
        Ok(())
    }

    fn leave(&self, host: &Host, endpoint: &EndpointConfig) -> Result<(), Error> {
        // Deleting a link takes the kernel tens of milliseconds, and it does so by itself when the
        // namespace of the other end goes. What counts is that nobody answers to the address any more.
        let Some(port) = host.link(&endpoint.host_link)? else {
            return Ok(());
        };
        match host.request(vec![link::disable_port(port.index)]) {
            Err(error) if port.master.is_some() && !link::is(&error, Errno::NODEV) => Err(
                Error::system(format!("disable the link {:?}", endpoint.host_link))(error),
            ),
            _ => Ok(()),
        }
    }

    fn sweep(&self, host: &Host, live: &[&EndpointConfig]) -> Result<(), Error> {
        // What is on somebody else's bridge may be theirs.
        let Some(bridge) = host.link(&self.name)?.filter(|link| self.is_ours(link)) else {
            return Ok(());
        };
        let links = host.with(link::list).map_err(Error::system("list links"))?;
        let stale = links.iter().filter(|link| {
            link.kind == "veth"
                && link.master == Some(bridge.index)
                && link.name.starts_with(LINK_PREFIX)
                && !live.iter().any(|endpoint| endpoint.host_link == link.name)
        });
        for link in stale {
            tracing::info!(link = %link.name, "removing a link that belongs to nothing");
            host.delete_link(&link.name)?;
        }
        Ok(())
    }
}

fn has_ports(host: &Host, bridge: &link::Link) -> Result<bool, Error> {
    let links = host.with(link::list).map_err(Error::system("list links"))?;
    Ok(links.iter().any(|link| link.master == Some(bridge.index)))
}

/// What the names of links on the host begin with.
pub(crate) const LINK_PREFIX: &str = "veth";
