//! Routes.

use std::io;
use std::net::IpAddr;

use ipnet::IpNet;

use super::address::{family, octets, parse_ip};
use super::message::{CREATE, Message, REPLACE, attributes, u32_at};
use super::socket::Socket;

const RTM_NEWROUTE: u16 = 24;
const RTM_GETROUTE: u16 = 26;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_TABLE: u16 = 15;
const TABLE_MAIN: u8 = 254;
const PROTO_BOOT: u8 = 3;
const TYPE_UNICAST: u8 = 1;
const SCOPE_LINK: u8 = 253;

/// A route of the main table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Route {
    /// Where to; `None` is the default route.
    pub(crate) destination: Option<IpNet>,
    /// The link.
    pub(crate) link: Option<u32>,
}

/// `struct rtmsg`.
fn header(family: u8, prefix: u8, scope: u8) -> [u8; 12] {
    [
        family,
        prefix,
        0,
        0,
        TABLE_MAIN,
        PROTO_BOOT,
        scope,
        TYPE_UNICAST,
        0,
        0,
        0,
        0,
    ]
}

/// A request that sets the default route of the gateway's family; the unspecified address is no gateway, but
/// the link itself.
pub(crate) fn add_default(gateway: IpAddr, link: u32) -> Message {
    let request = Message::new(RTM_NEWROUTE, CREATE | REPLACE);
    if gateway.is_unspecified() {
        let scope = if gateway.is_ipv4() { SCOPE_LINK } else { 0 };
        return request
            .raw(&header(family(gateway), 0, scope))
            .attr_u32(RTA_OIF, link);
    }
    request
        .raw(&header(family(gateway), 0, 0))
        .attr(RTA_GATEWAY, &octets(gateway))
        .attr_u32(RTA_OIF, link)
}

/// Lists the routes of the main table.
pub(crate) fn list(socket: &mut Socket) -> io::Result<Vec<Route>> {
    let mut routes = Vec::new();
    socket.dump(Message::new(RTM_GETROUTE, 0).raw(&[0; 12]), |message| {
        routes.extend(parse(message.payload));
    })?;
    Ok(routes)
}

fn parse(payload: &[u8]) -> Option<Route> {
    let &[_, prefix, _, _, table, _, _, kind, ..] = payload else {
        return None;
    };
    let mut route = Route {
        destination: None,
        link: None,
    };
    let mut table = u32::from(table);
    for (kind, value) in attributes(payload.get(12..)?) {
        match kind {
            RTA_DST => {
                route.destination = parse_ip(value).and_then(|ip| IpNet::new(ip, prefix).ok());
            }
            RTA_OIF => route.link = u32_at(value, 0),
            RTA_TABLE => table = u32_at(value, 0)?,
            _ => {}
        }
    }
    (table == u32::from(TABLE_MAIN) && kind == TYPE_UNICAST).then_some(route)
}
