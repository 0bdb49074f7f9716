//! Networks without a bridge: each endpoint is a link of its own on one link of the host, the parent. What
//! leaves goes out there; host and endpoints do not reach each other.

use std::os::fd::BorrowedFd;

use rustix::io::Errno;

use super::NetworkDriver;
use crate::config::EndpointConfig;
use crate::error::Error;
use crate::host::Host;
use crate::netlink::{Message, link};

/// The longest name of a link, bytes.
const LONGEST_NAME: usize = 15;

/// A network of links on a parent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubLinkConfig {
    /// The ID of the network; marks links that were made for it.
    pub id: String,
    /// What its links are.
    pub kind: SubLinkKind,
    /// The name of the parent. `<link>.<number>` is that VLAN on the link, and is made when it is missing.
    pub parent: String,
    /// Whether the parent is one that leads nowhere, made for this network.
    pub alone: bool,
    /// The largest packet, bytes; `None` is the parent's.
    pub mtu: Option<u32>,
}

/// The kinds of such links.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubLinkKind {
    /// Each has a hardware address of its own; the mode is one of the kernel's `MACVLAN_MODE_*`.
    Macvlan {
        /// 1 private, 2 VEPA, 4 bridge, 8 passthru.
        mode: u32,
    },
    /// They share the parent's hardware address.
    Ipvlan {
        /// 0 L2, 1 L3, 2 L3S.
        mode: u16,
        /// 0 bridge, 1 private, 2 VEPA.
        flag: u16,
    },
}

impl SubLinkKind {
    fn name(self) -> &'static str {
        match self {
            Self::Macvlan { .. } => "macvlan",
            Self::Ipvlan { .. } => "ipvlan",
        }
    }
}

impl SubLinkConfig {
    fn mark(&self) -> String {
        format!("arca:{}", self.id)
    }

    fn parent(&self, host: &Host) -> Result<Option<link::Link>, Error> {
        if self.parent.len() > LONGEST_NAME {
            return Ok(None);
        }
        host.link(&self.parent)
    }

    /// The link and the number of the VLAN that the parent's name stands for.
    fn vlan(&self) -> Result<(&str, u32), Error> {
        let parent = &self.parent;
        let parts: Vec<&str> = parent.split('.').collect();
        match parts.as_slice() {
            [_] => Err(Error::Refused(format!(
                "invalid subinterface vlan name {parent}, example formatting is eth0.10"
            ))),
            [below, number] => match number.parse() {
                Ok(number) => Ok((below, number)),
                Err(_not_a_number) => Err(Error::Refused(format!(
                    "unable to parse a valid vlan id from: {number} (ex. eth0.10 for vlan 10)"
                ))),
            },
            _ => Err(Error::Refused(format!(
                "required interface name format is: name.vlan_id, ex. eth0.10 for vlan 10, instead \
                 received {parent}"
            ))),
        }
    }

    /// Makes the parent, which is not there.
    fn make_parent(&self, host: &Host) -> Result<(), Error> {
        if self.alone {
            let request = link::new_dummy(&self.parent, &self.mark());
            return made(host.request(vec![request]))
                .map_err(|error| Error::Refused(plain(&error)));
        }
        let (below, number) = self.vlan()?;
        let below = match below.len() > LONGEST_NAME {
            true => None,
            false => host.link(below)?,
        };
        let Some(below) = below else {
            let (below, _) = self.vlan()?;
            let text = format!("-o parent interface was not found on the host: {below}");
            return Err(Error::Refused(text));
        };
        let number = u16::try_from(number)
            .ok()
            .filter(|number| (1..4095).contains(number))
            .ok_or_else(|| {
                let text = format!("vlan id must be between 1-4094, received: {number}");
                Error::Refused(text)
            })?;
        let request = link::new_vlan(&self.parent, below.index, number, &self.mark());
        made(host.request(vec![request])).map_err(|error| {
            let parent = &self.parent;
            Error::Refused(format!(
                "failed to create {parent} vlan link: {}",
                plain(&error)
            ))
        })
    }

    fn link(&self, parent: &link::Link, netns: BorrowedFd<'_>, of: &EndpointConfig) -> Message {
        let new = link::SubLink {
            name: &of.interface,
            parent: parent.index,
            netns,
            kind: self.kind,
            mac: of.mac,
            mtu: self.mtu,
        };
        link::new_sublink(&new)
    }
}

impl NetworkDriver for SubLinkConfig {
    fn set_up(&self, host: &Host) -> Result<(), Error> {
        if self.parent == "lo" {
            let kind = self.kind.name();
            return Err(Error::Refused(format!(
                "loopback interface is not a valid {kind} parent link"
            )));
        }
        if self.parent(host)?.is_none() {
            self.make_parent(host)?;
        }
        let missing = || Error::NoNetwork(self.parent.clone());
        let parent = self.parent(host)?.ok_or_else(missing)?;
        if !parent.up && parent.alias == self.mark() {
            host.request(vec![link::set_up(parent.index)])
                .map_err(Error::system(format!("bring {:?} up", self.parent)))?;
        }
        Ok(())
    }

    fn tear_down(&self, host: &Host) -> Result<(), Error> {
        match self.parent(host)? {
            Some(parent) if parent.alias == self.mark() => host.delete_link(&self.parent),
            _ => Ok(()),
        }
    }

    fn join(
        &self,
        host: &Host,
        netns: BorrowedFd<'_>,
        endpoint: &EndpointConfig,
    ) -> Result<(), Error> {
        let missing = || Error::NoNetwork(self.parent.clone());
        let parent = self.parent(host)?.ok_or_else(missing)?;
        let action = format!("make a link on {:?}", self.parent);
        host.request(vec![self.link(&parent, netns, endpoint)])
            .map_err(Error::system(action))
    }

    fn settle(&self, _: &Host, _: &EndpointConfig) -> Result<(), Error> {
        Ok(())
    }

    fn leave(&self, _: &Host, _: &EndpointConfig) -> Result<(), Error> {
        // There is nothing of it on the host: the link goes with the namespace.
        Ok(())
    }

    fn host_link(&self) -> &str {
        &self.parent
    }

    fn faults(&self, host: &Host) -> Result<Vec<String>, Error> {
        Ok(match self.parent(host)? {
            None => vec![format!("the parent {} was removed", self.parent)],
            Some(parent) if !parent.up && parent.alias == self.mark() => {
                vec![format!("the parent {} was down", self.parent)]
            }
            Some(_) => Vec::new(),
        })
    }

    fn endpoint_fault(&self, _: &Host, _: &EndpointConfig) -> Result<Option<String>, Error> {
        Ok(None)
    }

    fn reattach(&self, _: &Host, _: &EndpointConfig) -> Result<bool, Error> {
        Ok(true)
    }

    fn sweep(&self, _: &Host, _: &[&EndpointConfig]) -> Result<(), Error> {
        Ok(())
    }
}

/// Somebody else may have made it meanwhile.
fn made(result: std::io::Result<()>) -> std::io::Result<()> {
    match result {
        Err(error) if link::is(&error, Errno::EXIST) => Ok(()),
        other => other,
    }
}

/// The words of the C library, in lower case and without the number.
fn plain(error: &std::io::Error) -> String {
    if link::is(error, Errno::OPNOTSUPP) {
        return "operation not supported".to_owned();
    }
    error.to_string()
}
