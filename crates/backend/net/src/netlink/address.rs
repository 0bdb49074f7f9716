//! Addresses of links.

use std::io;
use std::net::IpAddr;

use ipnet::IpNet;

use super::message::{CREATE, Message, REPLACE, attributes, u32_at};
use super::socket::Socket;

const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;
const RTM_GETADDR: u16 = 22;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_BROADCAST: u16 = 4;
/// No duplicate address detection: the address is ours to give.
const IFA_F_NODAD: u8 = 0x02;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const SCOPE_LINK: u8 = 253;

/// The bytes of an address in network order.
pub(crate) fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// The number of an address's family.
pub(crate) fn family(address: IpAddr) -> u8 {
    if address.is_ipv4() { AF_INET } else { AF_INET6 }
}

/// `struct ifaddrmsg`.
fn header(index: u32, net: IpNet) -> [u8; 8] {
    let [i0, i1, i2, i3] = index.to_ne_bytes();
    let (flags, scope) = match net {
        IpNet::V4(net) if net.addr().is_link_local() => (0, SCOPE_LINK),
        IpNet::V4(_) => (0, 0),
        IpNet::V6(_) => (IFA_F_NODAD, 0),
    };
    [
        family(net.addr()),
        net.prefix_len(),
        flags,
        scope,
        i0,
        i1,
        i2,
        i3,
    ]
}

fn request(kind: u16, flags: u16, index: u32, net: IpNet) -> Message {
    let address = octets(net.addr());
    Message::new(kind, flags)
        .raw(&header(index, net))
        .attr(IFA_LOCAL, &address)
        .attr(IFA_ADDRESS, &address)
}

/// A request that gives a link an address; no harm when it has it.
pub(crate) fn add(index: u32, net: IpNet) -> Message {
    let message = request(RTM_NEWADDR, CREATE | REPLACE, index, net);
    match net {
        IpNet::V4(net) if net.prefix_len() < 31 => {
            message.attr(IFA_BROADCAST, &net.broadcast().octets())
        }
        _ => message,
    }
}

/// A request that takes an address from a link.
pub(crate) fn remove(index: u32, net: IpNet) -> Message {
    request(RTM_DELADDR, 0, index, net)
}

/// Lists the addresses of every link: the link's number and the address.
pub(crate) fn list(socket: &mut Socket) -> io::Result<Vec<(u32, IpNet)>> {
    let mut found = Vec::new();
    socket.dump(Message::new(RTM_GETADDR, 0).raw(&[0; 8]), |message| {
        found.extend(parse(message.payload));
    })?;
    Ok(found)
}

fn parse(payload: &[u8]) -> Option<(u32, IpNet)> {
    let prefix = *payload.get(1)?;
    let index = u32_at(payload, 4)?;
    let mut address = None;
    for (kind, value) in attributes(payload.get(8..)?) {
        let parsed = parse_ip(value);
        match kind {
            IFA_LOCAL => address = parsed,
            IFA_ADDRESS => address = address.or(parsed),
            _ => {}
        }
    }
    Some((index, IpNet::new(address?, prefix).ok()?))
}

/// Reads an address of either family from its bytes.
pub(crate) fn parse_ip(value: &[u8]) -> Option<IpAddr> {
    if let Ok(bytes) = <[u8; 4]>::try_from(value) {
        return Some(IpAddr::from(bytes));
    }
    <[u8; 16]>::try_from(value).ok().map(IpAddr::from)
}
