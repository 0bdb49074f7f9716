//! Notifications of rtnetlink, as far as they tell of damage.

use super::link;
use super::message::Received;

/// Links, IPv4 and IPv6 addresses, IPv4 and IPv6 routes (`RTMGRP_*`).
pub(crate) const GROUPS: u32 = 0x1 | 0x10 | 0x100 | 0x40 | 0x400;

const NEWLINK: u16 = 16;
const DELLINK: u16 = 17;
const DELADDR: u16 = 21;
const NEWROUTE: u16 = 24;
const DELROUTE: u16 = 25;
const SCOPE_LINK: u8 = 253;
const AF_BRIDGE: u8 = 7;

/// What was notified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Notice {
    /// A link changed or has gone.
    Link(Change),
    /// A link lost an address that is not link-local.
    AddressGone,
    /// A default route came or went.
    DefaultRoute,
    /// Anything else.
    Other,
}

/// A link as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) master: Option<u32>,
    pub(crate) up: bool,
    pub(crate) gone: bool,
}

/// Reads a notification.
pub(crate) fn read(message: &Received<'_>) -> Notice {
    let payload = message.payload;
    let first = payload.first().copied();
    match message.kind {
        // The bridge tells of its ports, too: a port that leaves it is not a link that goes.
        NEWLINK | DELLINK if first != Some(AF_BRIDGE) => match link::parse(payload) {
            Some(link) => Notice::Link(Change {
                gone: message.kind == DELLINK,
                name: link.name,
                kind: link.kind,
                master: link.master,
                up: link.up,
            }),
            None => Notice::Other,
        },
        DELADDR if payload.get(3) != Some(&SCOPE_LINK) => Notice::AddressGone,
        NEWROUTE | DELROUTE if payload.get(1) == Some(&0) => Notice::DefaultRoute,
        _ => Notice::Other,
    }
}
