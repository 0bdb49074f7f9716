//! Connection tracking: forgetting flows of UDP whose port was published or withdrawn.
//!
//! The kernel decides about redirection once for each flow. A UDP client that goes on sending keeps its
//! flow alive, and with it the old decision.

use std::io;
use std::net::{IpAddr, Ipv4Addr};

use super::address::{octets, parse_ip};
use super::message::{Message, attribute, be16_at};
use super::socket::Socket;

const SUBSYSTEM: u16 = 1 << 8;
const GET: u16 = SUBSYSTEM | 1;
const DELETE: u16 = SUBSYSTEM | 2;
const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_REPLY: u16 = 2;
const CTA_TUPLE_IP: u16 = 1;
const CTA_TUPLE_PROTO: u16 = 2;
const CTA_IP_V4_SRC: u16 = 1;
const CTA_IP_V4_DST: u16 = 2;
const CTA_IP_V6_SRC: u16 = 3;
const CTA_PROTO_NUM: u16 = 1;
const CTA_PROTO_DST_PORT: u16 = 3;
const UDP: u8 = 17;

/// A port whose flows are to be forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct UdpPort {
    /// The host's port.
    pub(crate) host_port: u16,
    /// The address the flows are led to.
    pub(crate) container: IpAddr,
}

/// Forgets the UDP flows that were sent to one of `ports` on an address for which `is_host` holds, or that
/// were led from there to the container.
///
/// A flow that the table loses meanwhile does no harm.
pub(crate) fn forget_udp(socket: &mut Socket, ports: &[UdpPort]) -> io::Result<()> {
    for family in [2_u8, 10] {
        let mut stale = Vec::new();
        socket.dump(Message::new(GET, 0).raw(&[family, 0, 0, 0]), |message| {
            let attrs = message.payload.get(4..).unwrap_or_default();
            if concerns(attrs, ports) {
                stale.extend(attribute(attrs, CTA_TUPLE_ORIG).map(<[u8]>::to_vec));
            }
        })?;
        for tuple in stale {
            let request = Message::new(DELETE, 0)
                .raw(&[family, 0, 0, 0])
                .nest(CTA_TUPLE_ORIG, |message| message.raw(&tuple));
            match socket.request(vec![request]) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
    }
    Ok(())
}

/// Whether a flow was sent to one of the ports, and either has not been redirected or leads to the container.
fn concerns(flow: &[u8], ports: &[UdpPort]) -> bool {
    let found = || {
        let original = attribute(flow, CTA_TUPLE_ORIG)?;
        let reply = attribute(flow, CTA_TUPLE_REPLY)?;
        let protocol = attribute(original, CTA_TUPLE_PROTO)?;
        if attribute(protocol, CTA_PROTO_NUM)? != [UDP] {
            return None;
        }
        let port = be16_at(attribute(protocol, CTA_PROTO_DST_PORT)?, 0)?;
        let answers = attribute(reply, CTA_TUPLE_IP)?;
        let source = attribute(answers, CTA_IP_V4_SRC).or(attribute(answers, CTA_IP_V6_SRC))?;
        let sent_to = attribute(original, CTA_TUPLE_IP)?;
        let target = attribute(sent_to, CTA_IP_V4_DST).or(attribute(sent_to, 4))?;
        let redirected = target != source;
        let source = parse_ip(source).unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        Some(ports.iter().any(|stale| {
            stale.host_port == port && (!redirected || octets(stale.container) == octets(source))
        }))
    };
    found().unwrap_or(false)
}
