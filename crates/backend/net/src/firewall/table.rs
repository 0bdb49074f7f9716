//! Tables, chains, sets and their elements, and the batch that changes them all at once.

use std::io;

use super::expr::Expressions;
use crate::netlink::message::{APPEND, CREATE, attribute, text};
use crate::netlink::{Message, Socket};

const SUBSYSTEM: u16 = 10 << 8;
const BATCH_BEGIN: u16 = 16;
const BATCH_END: u16 = 17;
const NEWTABLE: u16 = SUBSYSTEM;
const DELTABLE: u16 = SUBSYSTEM | 2;
const NEWCHAIN: u16 = SUBSYSTEM | 3;
const GETCHAIN: u16 = SUBSYSTEM | 4;
const NEWRULE: u16 = SUBSYSTEM | 6;
const GETRULE: u16 = SUBSYSTEM | 7;
const NEWSET: u16 = SUBSYSTEM | 9;
const NEWSETELEM: u16 = SUBSYSTEM | 12;
const DELSETELEM: u16 = SUBSYSTEM | 14;
/// `NFT_MSG_NEWGEN`: the notification at the end of every change, of whatever table.
pub(crate) const NEWGEN: u16 = SUBSYSTEM | 15;

/// `nfgenmsg` of the family `inet`, IPv4 and IPv6 in one.
const INET: [u8; 4] = [1, 0, 0, 0];
/// `nfgenmsg` of a batch: its resource is the subsystem.
const BATCH: [u8; 4] = [0, 0, 0, 10];

const NFTA_LIST_ELEM: u16 = 1;
const NFTA_DATA_VALUE: u16 = 1;
const SET_IS_MAP: u32 = 8;
const SET_TIMEOUT: u32 = 0x10;
const SET_EVAL: u32 = 0x20;
/// The most elements that rules add to a set.
const GROWING: u32 = 65_536;
/// What nft keeps beside a set: type, length, value (the byte order of its key, 1 for the host's).
const HOST_ORDER: [u8; 6] = {
    let [a, b, c, d] = 1_u32.to_ne_bytes();
    [0, 4, a, b, c, d]
};
/// Elements in one message: attributes have 16-bit lengths.
const ELEMENTS_A_MESSAGE: usize = 400;

/// Numbers of nft's types, by which `nft list` prints elements.
pub(crate) mod kind {
    /// `ipv4_addr`.
    pub(crate) const IPV4: u32 = 7;
    /// `ipv6_addr`.
    pub(crate) const IPV6: u32 = 8;
    /// `inet_proto`.
    pub(crate) const PROTOCOL: u32 = 12;
    /// `inet_service`.
    pub(crate) const PORT: u32 = 13;
    /// `ifname`.
    pub(crate) const INTERFACE: u32 = 41;
}

/// Where in the kernel a chain is called, and when.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hook {
    /// `filter` or `nat`.
    pub(crate) kind: &'static str,
    /// 0 prerouting, 1 input, 2 forward, 3 output, 4 postrouting.
    pub(crate) number: u32,
    /// Lower ones are earlier.
    pub(crate) priority: i32,
}

/// A set or a map: the kinds of its key's and its value's parts, and their lengths, bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Set {
    /// Its name.
    pub(crate) name: &'static str,
    /// The kinds of the key's parts.
    pub(crate) key: &'static [u32],
    /// The length of the key.
    pub(crate) key_length: u32,
    /// The kinds and the length of the value; `None` for a set.
    pub(crate) value: Option<(&'static [u32], u32)>,
    /// How long an element stays that a rule has added, milliseconds; `None` when only we add elements.
    pub(crate) lifetime: Option<u64>,
}

/// An element of a set or a map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Element {
    /// The key, each part padded to four bytes.
    pub(crate) key: Vec<u8>,
    /// The value, likewise; empty in a set.
    pub(crate) value: Vec<u8>,
}

/// Changes of one table that happen together or not at all.
#[derive(Debug)]
pub(crate) struct Transaction<'a> {
    table: &'a str,
    messages: Vec<Message>,
    sets: u32,
}

impl<'a> Transaction<'a> {
    /// Begins changes of `table`.
    pub(crate) fn new(table: &'a str) -> Self {
        let begin = Message::new(BATCH_BEGIN, 0).raw(&BATCH);
        Self {
            table,
            messages: vec![begin],
            sets: 0,
        }
    }

    fn begin(&self, kind: u16, flags: u16) -> Message {
        Message::new(kind, flags).raw(&INET).attr_str(1, self.table)
    }

    /// Makes the table empty, whether it existed or not.
    pub(crate) fn recreate_table(&mut self) {
        self.delete_table();
        self.messages.push(self.begin(NEWTABLE, CREATE));
    }

    /// Makes the table unless it is there.
    pub(crate) fn ensure_table(&mut self) {
        self.messages.push(self.begin(NEWTABLE, CREATE));
    }

    /// Deletes the table; no harm when there is none.
    pub(crate) fn delete_table(&mut self) {
        self.messages.push(self.begin(NEWTABLE, CREATE));
        self.messages.push(self.begin(DELTABLE, 0));
    }

    /// Adds a chain that is called by the kernel, or with `None` by a jump.
    pub(crate) fn chain(&mut self, name: &str, hook: Option<Hook>) {
        let message = self.begin(NEWCHAIN, CREATE).attr_str(3, name);
        self.messages.push(match hook {
            None => message,
            Some(hook) => message
                .attr_str(7, hook.kind)
                // Policy: accept. What others decide is theirs.
                .attr_be32(5, 1)
                .nest(4, |nest| {
                    nest.attr_be32(1, hook.number)
                        .attr_be32(2, hook.priority.cast_unsigned())
                }),
        });
    }

    /// Adds a rule at the end of a chain.
    pub(crate) fn rule(&mut self, chain: &str, fill: impl FnOnce(Expressions) -> Message) {
        let message = self
            .begin(NEWRULE, CREATE | APPEND)
            .attr_str(2, chain)
            .nest(4, |nest| fill(Expressions(nest)));
        self.messages.push(message);
    }

    /// Adds a set or a map without elements.
    pub(crate) fn set(&mut self, set: &Set) {
        self.sets += 1;
        let flags = match (set.value, set.lifetime) {
            (Some(_), _) => SET_IS_MAP,
            (None, Some(_)) => SET_TIMEOUT | SET_EVAL,
            (None, None) => 0,
        };
        let message = self
            .begin(NEWSET, CREATE)
            .attr_str(2, set.name)
            .attr_be32(3, flags)
            .attr_be32(4, concatenated(set.key))
            .attr_be32(5, set.key_length);
        let message = match set.value {
            Some((kinds, length)) => message
                .attr_be32(6, concatenated(kinds))
                .attr_be32(7, length),
            None => message,
        };
        let message = match set.lifetime {
            Some(milliseconds) => message
                .nest(9, |desc| desc.attr_be32(1, GROWING))
                .attr(11, &milliseconds.to_be_bytes()),
            None => message,
        };
        let message = message.attr_be32(10, self.sets);
        // nft prints names of interfaces right only when it is told their byte order.
        self.messages.push(match set.key {
            [kind::INTERFACE] => message.attr(13, &HOST_ORDER),
            _ => message,
        });
    }

    /// Adds elements; no harm when they are there with the same value.
    pub(crate) fn add(&mut self, set: &str, elements: &[Element]) {
        self.elements(NEWSETELEM, CREATE, set, elements);
    }

    /// Removes elements.
    pub(crate) fn remove(&mut self, set: &str, elements: &[Element]) {
        self.elements(DELSETELEM, 0, set, elements);
    }

    /// Removes every element.
    pub(crate) fn flush(&mut self, set: &str) {
        let message = self.begin(DELSETELEM, 0).attr_str(2, set);
        self.messages.push(message);
    }

    fn elements(&mut self, kind: u16, flags: u16, set: &str, elements: &[Element]) {
        for chunk in elements.chunks(ELEMENTS_A_MESSAGE) {
            let message = self
                .begin(kind, flags)
                .attr_str(2, set)
                .nest(3, |mut list| {
                    for element in chunk {
                        list = list.nest(NFTA_LIST_ELEM, |elem| write_element(elem, element));
                    }
                    list
                });
            self.messages.push(message);
        }
    }

    /// Carries the changes out.
    pub(crate) fn commit(mut self, socket: &mut Socket) -> io::Result<()> {
        self.messages.push(Message::new(BATCH_END, 0).raw(&BATCH));
        socket.request(self.messages)
    }
}

fn write_element(message: Message, element: &Element) -> Message {
    let message = message.nest(1, |key| key.attr(NFTA_DATA_VALUE, &element.key));
    if element.value.is_empty() {
        message
    } else {
        message.nest(2, |value| value.attr(NFTA_DATA_VALUE, &element.value))
    }
}

/// nft's number of a concatenation of kinds.
fn concatenated(kinds: &[u32]) -> u32 {
    kinds.iter().fold(0, |number, kind| (number << 6) | kind)
}

/// A chain of somebody else that drops forwarded packets unless a rule of its table lets them pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Obstacle {
    /// The family of the table, such as `ip` or `inet`.
    pub family: String,
    /// The table.
    pub table: String,
    /// The chain.
    pub chain: String,
}

/// Lists the chains at the forward hook whose policy is to drop, but for those of the table `own`.
pub(super) fn obstacles(socket: &mut Socket, own: &str) -> io::Result<Vec<Obstacle>> {
    let mut found = Vec::new();
    socket.dump(Message::new(GETCHAIN, 0).raw(&[0; 4]), |message| {
        found.extend(obstacle(message.payload).filter(|chain| chain.table != own));
    })?;
    Ok(found)
}

fn obstacle(payload: &[u8]) -> Option<Obstacle> {
    const FORWARD: [u8; 4] = 2_u32.to_be_bytes();
    const DROP: [u8; 4] = 0_u32.to_be_bytes();
    let attrs = payload.get(4..)?;
    let hook = attribute(attribute(attrs, 4)?, 1)?;
    if hook != FORWARD || attribute(attrs, 5)? != DROP {
        return None;
    }
    let family = match payload.first()? {
        1 => "inet",
        2 => "ip",
        10 => "ip6",
        _ => return None,
    };
    Some(Obstacle {
        family: family.to_owned(),
        table: text(attribute(attrs, 1)?),
        chain: text(attribute(attrs, 3)?),
    })
}

/// Whether the table is there and has a rule.
pub(super) fn has_rules(socket: &mut Socket, table: &str) -> io::Result<bool> {
    let mut found = false;
    let request = Message::new(GETRULE, 0).raw(&INET).attr_str(1, table);
    socket.dump(request, |message| {
        found |= concerns(message.payload, table);
    })?;
    Ok(found)
}

/// Whether a notification is about the table.
pub(crate) fn concerns(payload: &[u8], table: &str) -> bool {
    let attrs = payload.get(4..).unwrap_or_default();
    payload.first() == INET.first() && attribute(attrs, 1).is_some_and(|name| text(name) == table)
}

/// Whether the table is there.
#[cfg(test)]
pub(crate) fn exists(socket: &mut Socket, table: &str) -> io::Result<bool> {
    let request = Message::new(SUBSYSTEM | 1, 0).raw(&INET).attr_str(1, table);
    match socket.get_one(request, |_| {}) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        other => other.map(|()| true),
    }
}
