//! Links: bridges, veth pairs, their state.

use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd};

use rustix::io::Errno;

use super::message::{CREATE, EXCLUSIVE, Message, attribute, attributes, text, u32_at};
use super::socket::Socket;
use crate::drivers::SubLinkKind;
use crate::types::MacAddr;

const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_GETLINK: u16 = 18;
const RTM_SETLINK: u16 = 19;

const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_LINK: u16 = 5;
const IFLA_MASTER: u16 = 10;
const IFLA_TXQLEN: u16 = 13;
const IFLA_LINKINFO: u16 = 18;
const IFLA_IFALIAS: u16 = 20;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const IFLA_PROTINFO: u16 = 12;
const IFLA_BRPORT_STATE: u16 = 1;
const IFLA_BRPORT_MODE: u16 = 4;
const IFLA_BRPORT_FLUSH: u16 = 24;
const IFLA_BRPORT_ISOLATED: u16 = 33;
const VETH_INFO_PEER: u16 = 1;
const AF_BRIDGE: u8 = 7;
const IFF_UP: u32 = 1;

/// A link as the kernel tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Link {
    /// Its number in this namespace.
    pub(crate) index: u32,
    /// Its name.
    pub(crate) name: String,
    /// What it is, such as `bridge` or `veth`; empty for hardware.
    pub(crate) kind: String,
    /// The bridge it is a port of.
    pub(crate) master: Option<u32>,
    /// Whether it is up.
    pub(crate) up: bool,
    /// The largest packet, bytes.
    pub(crate) mtu: u32,
    /// What somebody noted about it.
    pub(crate) alias: String,
    /// Its hardware address; none when it is not one of Ethernet.
    pub(crate) mac: Option<MacAddr>,
}

/// A link on another one to make in another namespace, down.
#[derive(Debug)]
pub(crate) struct SubLink<'a> {
    /// Its name there.
    pub(crate) name: &'a str,
    /// The link it is on.
    pub(crate) parent: u32,
    /// The namespace.
    pub(crate) netns: BorrowedFd<'a>,
    /// What it is.
    pub(crate) kind: SubLinkKind,
    /// Its hardware address, where it has one of its own.
    pub(crate) mac: MacAddr,
    /// The largest packet, bytes, when not the parent's.
    pub(crate) mtu: Option<u32>,
}

/// A veth pair to make: one end here, enslaved and up, the other in another namespace, down.
#[derive(Debug)]
pub(crate) struct VethPair<'a> {
    /// The name of this end.
    pub(crate) name: &'a str,
    /// The bridge.
    pub(crate) master: u32,
    /// The namespace of the other end.
    pub(crate) netns: BorrowedFd<'a>,
    /// The name of the other end.
    pub(crate) peer: &'a str,
    /// The hardware address of the other end.
    pub(crate) mac: MacAddr,
    /// The largest packet, bytes.
    pub(crate) mtu: u32,
}

/// `struct ifinfomsg`.
fn header(index: u32, flags: u32, change: u32) -> [u8; 16] {
    family_header(0, index, flags, change)
}

fn family_header(family: u8, index: u32, flags: u32, change: u32) -> [u8; 16] {
    let mut bytes = [0; 16];
    let [b0, _, _, _, i0, i1, i2, i3, f0, f1, f2, f3, c0, c1, c2, c3] = &mut bytes;
    *b0 = family;
    [*i0, *i1, *i2, *i3] = index.to_ne_bytes();
    [*f0, *f1, *f2, *f3] = flags.to_ne_bytes();
    [*c0, *c1, *c2, *c3] = change.to_ne_bytes();
    bytes
}

/// A request that makes a bridge, down.
pub(crate) fn new_bridge(name: &str, mac: MacAddr, mtu: u32, alias: &str) -> Message {
    Message::new(RTM_NEWLINK, CREATE | EXCLUSIVE)
        .raw(&header(0, 0, 0))
        .attr_str(IFLA_IFNAME, name)
        .attr(IFLA_IFALIAS, alias.as_bytes())
        .attr(IFLA_ADDRESS, &mac.0)
        .attr_u32(IFLA_MTU, mtu)
        .nest(IFLA_LINKINFO, |info| {
            info.attr_str(IFLA_INFO_KIND, "bridge")
        })
}

/// A request that makes a veth pair.
pub(crate) fn new_veth(pair: &VethPair<'_>) -> Message {
    let peer = |message: Message| {
        message
            .raw(&header(0, 0, 0))
            .attr_str(IFLA_IFNAME, pair.peer)
            .attr(IFLA_ADDRESS, &pair.mac.0)
            .attr_u32(IFLA_MTU, pair.mtu)
            .attr_u32(IFLA_TXQLEN, 0)
            .attr(IFLA_NET_NS_FD, &pair.netns.as_raw_fd().to_ne_bytes())
    };
    Message::new(RTM_NEWLINK, CREATE | EXCLUSIVE)
        .raw(&header(0, IFF_UP, IFF_UP))
        .attr_str(IFLA_IFNAME, pair.name)
        .attr_u32(IFLA_MTU, pair.mtu)
        .attr_u32(IFLA_TXQLEN, 0)
        .attr_u32(IFLA_MASTER, pair.master)
        .nest(IFLA_LINKINFO, |info| {
            info.attr_str(IFLA_INFO_KIND, "veth")
                .nest(IFLA_INFO_DATA, |data| data.nest(VETH_INFO_PEER, peer))
        })
}

/// A request that makes a link on another one.
pub(crate) fn new_sublink(new: &SubLink<'_>) -> Message {
    let message = Message::new(RTM_NEWLINK, CREATE | EXCLUSIVE)
        .raw(&header(0, 0, 0))
        .attr_str(IFLA_IFNAME, new.name)
        .attr_u32(IFLA_LINK, new.parent)
        .attr(IFLA_NET_NS_FD, &new.netns.as_raw_fd().to_ne_bytes());
    let message = match new.mtu {
        Some(mtu) => message.attr_u32(IFLA_MTU, mtu),
        None => message,
    };
    match new.kind {
        SubLinkKind::Macvlan { mode } => {
            message
                .attr(IFLA_ADDRESS, &new.mac.0)
                .nest(IFLA_LINKINFO, |info| {
                    info.attr_str(IFLA_INFO_KIND, "macvlan")
                        .nest(IFLA_INFO_DATA, |data| data.attr_u32(1, mode))
                })
        }
        SubLinkKind::Ipvlan { mode, flag } => message.nest(IFLA_LINKINFO, |info| {
            info.attr_str(IFLA_INFO_KIND, "ipvlan")
                .nest(IFLA_INFO_DATA, |data| {
                    data.attr(1, &mode.to_ne_bytes())
                        .attr(2, &flag.to_ne_bytes())
                })
        }),
    }
}

/// A request that makes a link that leads nowhere, with a note about it.
pub(crate) fn new_dummy(name: &str, alias: &str) -> Message {
    Message::new(RTM_NEWLINK, CREATE | EXCLUSIVE)
        .raw(&header(0, IFF_UP, IFF_UP))
        .attr_str(IFLA_IFNAME, name)
        .attr(IFLA_IFALIAS, alias.as_bytes())
        .nest(IFLA_LINKINFO, |info| info.attr_str(IFLA_INFO_KIND, "dummy"))
}

/// A request that makes the VLAN of that number on a link, with a note about it.
pub(crate) fn new_vlan(name: &str, below: u32, number: u16, alias: &str) -> Message {
    Message::new(RTM_NEWLINK, CREATE | EXCLUSIVE)
        .raw(&header(0, IFF_UP, IFF_UP))
        .attr_str(IFLA_IFNAME, name)
        .attr_u32(IFLA_LINK, below)
        .attr(IFLA_IFALIAS, alias.as_bytes())
        .nest(IFLA_LINKINFO, |info| {
            info.attr_str(IFLA_INFO_KIND, "vlan")
                .nest(IFLA_INFO_DATA, |data| data.attr(1, &number.to_ne_bytes()))
        })
}

/// A request that brings a link up.
pub(crate) fn set_up(index: u32) -> Message {
    Message::new(RTM_NEWLINK, 0).raw(&header(index, IFF_UP, IFF_UP))
}

/// A request that makes a link a port of a bridge, and brings it up.
pub(crate) fn enslave(index: u32, master: u32) -> Message {
    Message::new(RTM_NEWLINK, 0)
        .raw(&header(index, IFF_UP, IFF_UP))
        .attr_u32(IFLA_MASTER, master)
}

/// A request that brings a link down.
#[cfg(test)]
pub(crate) fn set_down(index: u32) -> Message {
    Message::new(RTM_NEWLINK, 0).raw(&header(index, 0, IFF_UP))
}

/// A request that changes the largest packet of a link, bytes.
pub(crate) fn set_mtu(index: u32, mtu: u32) -> Message {
    Message::new(RTM_NEWLINK, 0)
        .raw(&header(index, 0, 0))
        .attr_u32(IFLA_MTU, mtu)
}

/// A request that sets how a port of a bridge behaves: `isolated` ports do not talk to each other, and
/// with `hairpin` a packet may leave by the port that it came by.
pub(crate) fn set_port(index: u32, isolated: bool, hairpin: bool) -> Message {
    Message::new(RTM_SETLINK, 0)
        .raw(&family_header(AF_BRIDGE, index, 0, 0))
        .nest(IFLA_PROTINFO, |info| {
            info.attr(IFLA_BRPORT_MODE, &[hairpin.into()])
                .attr(IFLA_BRPORT_ISOLATED, &[isolated.into()])
        })
}

/// A request that makes a port of a bridge pass nothing any more and the bridge forget who is behind it.
pub(crate) fn disable_port(index: u32) -> Message {
    Message::new(RTM_SETLINK, 0)
        .raw(&family_header(AF_BRIDGE, index, 0, 0))
        .nest(IFLA_PROTINFO, |info| {
            info.attr(IFLA_BRPORT_STATE, &[0])
                .attr(IFLA_BRPORT_FLUSH, &[])
        })
}

/// Removes the link of that name; no harm when there is none.
pub(crate) fn delete_by_name(socket: &mut Socket, name: &str) -> io::Result<()> {
    let request = Message::new(RTM_DELLINK, 0)
        .raw(&header(0, 0, 0))
        .attr_str(IFLA_IFNAME, name);
    match socket.request(vec![request]) {
        Err(error) if is(&error, Errno::NODEV) => Ok(()),
        other => other,
    }
}

/// Looks a link up by its name.
pub(crate) fn find(socket: &mut Socket, name: &str) -> io::Result<Option<Link>> {
    let request = Message::new(RTM_GETLINK, 0)
        .raw(&header(0, 0, 0))
        .attr_str(IFLA_IFNAME, name);
    let mut found = None;
    match socket.get_one(request, |payload| found = parse(payload)) {
        Err(error) if is(&error, Errno::NODEV) => Ok(None),
        Err(error) => Err(error),
        Ok(()) => Ok(found),
    }
}

/// Lists every link of the namespace.
pub(crate) fn list(socket: &mut Socket) -> io::Result<Vec<Link>> {
    let request = Message::new(RTM_GETLINK, 0).raw(&header(0, 0, 0));
    let mut links = Vec::new();
    socket.dump(request, |message| links.extend(parse(message.payload)))?;
    Ok(links)
}

/// Reads a link from what the kernel tells of it.
pub(super) fn parse(payload: &[u8]) -> Option<Link> {
    let attrs = payload.get(16..)?;
    let mut link = Link {
        index: u32_at(payload, 4)?,
        name: String::new(),
        kind: String::new(),
        master: None,
        up: u32_at(payload, 8)? & IFF_UP != 0,
        mtu: 0,
        alias: String::new(),
        mac: None,
    };
    for (kind, value) in attributes(attrs) {
        match kind {
            IFLA_IFNAME => link.name = text(value),
            IFLA_MASTER => link.master = u32_at(value, 0),
            IFLA_IFALIAS => link.alias = text(value),
            IFLA_ADDRESS => link.mac = value.try_into().ok().map(MacAddr),
            IFLA_MTU => link.mtu = u32_at(value, 0).unwrap_or(0),
            IFLA_LINKINFO => {
                link.kind = attribute(value, IFLA_INFO_KIND)
                    .map(text)
                    .unwrap_or_default();
            }
            _ => {}
        }
    }
    Some(link)
}

/// Whether an error is the given one.
pub(crate) fn is(error: &io::Error, errno: Errno) -> bool {
    Errno::from_io_error(error) == Some(errno)
}
