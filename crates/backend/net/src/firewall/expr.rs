//! Expressions of nf_tables: what a rule is made of.
//!
//! A rule is a list of expressions that run on registers: 1 to 4 have 16 bytes each, and each of those
//! is also four registers of 4 bytes, numbered from 8.

use ipnet::IpNet;

use crate::netlink::Message;
use crate::netlink::address::octets;

const NFTA_LIST_ELEM: u16 = 1;
const NFTA_EXPR_NAME: u16 = 1;
const NFTA_EXPR_DATA: u16 = 2;
const NFTA_DATA_VALUE: u16 = 1;
const NFTA_DATA_VERDICT: u16 = 2;
const NFTA_VERDICT_CODE: u16 = 1;
const NFTA_VERDICT_CHAIN: u16 = 2;

/// The number of IPv4 where nf_tables asks for a family.
pub(crate) const IPV4: u8 = 2;
/// The number of IPv6.
pub(crate) const IPV6: u8 = 10;

/// Connection tracking states: a reply or more of something known.
const STATE_ESTABLISHED_RELATED: u32 = 0x6;
/// Connection tracking status: the destination was changed.
const STATUS_DNAT: u32 = 0x20;
/// `RTN_LOCAL`: an address of this host.
const ADDRESS_LOCAL: u32 = 2;

/// Which interface of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// The one it came by.
    In,
    /// The one it leaves by.
    Out,
}

/// What happens to a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict<'a> {
    /// It goes on to the next table.
    Accept,
    /// It ends here.
    Drop,
    /// It goes back to the chain that jumped here.
    Return,
    /// It goes through another chain and, if that has no verdict, comes back.
    Jump(&'a str),
}

/// A rule that is being written: adds expressions to the message of the rule.
#[derive(Debug)]
pub(crate) struct Expressions(pub(crate) Message);

impl Expressions {
    fn add(self, name: &str, data: impl FnOnce(Message) -> Message) -> Self {
        Self(self.0.nest(NFTA_LIST_ELEM, |elem| {
            elem.attr_str(NFTA_EXPR_NAME, name)
                .nest(NFTA_EXPR_DATA, data)
        }))
    }

    fn meta(self, key: u32, register: u32) -> Self {
        self.add("meta", |data| data.attr_be32(1, register).attr_be32(2, key))
    }

    fn payload(self, base: u32, offset: u32, length: u32, register: u32) -> Self {
        self.add("payload", |data| {
            data.attr_be32(1, register)
                .attr_be32(2, base)
                .attr_be32(3, offset)
                .attr_be32(4, length)
        })
    }

    fn compare(self, equal: bool, value: &[u8]) -> Self {
        self.add("cmp", |data| {
            data.attr_be32(1, 1)
                .attr_be32(2, u32::from(!equal))
                .nest(3, |value_of| value_of.attr(NFTA_DATA_VALUE, value))
        })
    }

    fn mask(self, mask: &[u8]) -> Self {
        let length = u32::try_from(mask.len()).unwrap_or(0);
        self.add("bitwise", |data| {
            data.attr_be32(1, 1)
                .attr_be32(2, 1)
                .attr_be32(3, length)
                .nest(4, |value| value.attr(NFTA_DATA_VALUE, mask))
                .nest(5, |value| value.attr(NFTA_DATA_VALUE, &vec![0; mask.len()]))
        })
    }

    fn lookup(self, set: &str, inverted: bool, to: Option<u32>) -> Self {
        self.add("lookup", |data| {
            let data = data.attr_str(1, set).attr_be32(2, 1);
            let data = match to {
                Some(register) => data.attr_be32(3, register),
                None => data,
            };
            if inverted { data.attr_be32(5, 1) } else { data }
        })
    }

    fn interface(self, side: Side, register: u32) -> Self {
        self.meta(if side == Side::In { 6 } else { 7 }, register)
    }

    /// Goes on when the packet is of the family.
    pub(crate) fn family(self, family: u8) -> Self {
        self.meta(15, 1).compare(true, &[family])
    }

    /// Goes on when the interface's name is in the set, or with `inside` false when it is not.
    pub(crate) fn interface_in(self, side: Side, set: &str, inside: bool) -> Self {
        self.interface(side, 1).lookup(set, !inside, None)
    }

    /// Goes on when the interface has, or has not, the name.
    pub(crate) fn interface_is(self, side: Side, name: &str, equal: bool) -> Self {
        self.interface(side, 1)
            .compare(equal, &interface_name(name))
    }

    /// Goes on when the pair of the names of both interfaces is in the set.
    pub(crate) fn interfaces_in(self, set: &str) -> Self {
        self.interface(Side::In, 1)
            .interface(Side::Out, 2)
            .lookup(set, false, None)
    }

    /// Goes on when the source address is in the subnet.
    pub(crate) fn source(self, subnet: IpNet) -> Self {
        self.address(subnet, true)
    }

    /// Goes on when the destination address is in the subnet.
    pub(crate) fn destination(self, subnet: IpNet) -> Self {
        self.address(subnet, false)
    }

    fn address(self, subnet: IpNet, source: bool) -> Self {
        let (family, offset, length) = match (subnet.addr().is_ipv4(), source) {
            (true, true) => (IPV4, 12, 4),
            (true, false) => (IPV4, 16, 4),
            (false, true) => (IPV6, 8, 16),
            (false, false) => (IPV6, 24, 16),
        };
        let loaded = self.family(family).payload(1, offset, length, 1);
        let masked = if subnet.prefix_len() == subnet.max_prefix_len() {
            loaded
        } else {
            loaded.mask(&octets(subnet.netmask()))
        };
        masked.compare(true, &octets(subnet.network()))
    }

    /// Goes on when the destination is an address of this host.
    pub(crate) fn for_this_host(self) -> Self {
        self.add("fib", |data| {
            // Result: the type of the address; flags: of the destination.
            data.attr_be32(1, 1).attr_be32(2, 3).attr_be32(3, 2)
        })
        .compare(true, &ADDRESS_LOCAL.to_ne_bytes())
    }

    /// Goes on when the packet belongs to something that was allowed before.
    pub(crate) fn established(self) -> Self {
        self.tracking(0, STATE_ESTABLISHED_RELATED)
    }

    /// Goes on when the packet's destination was changed.
    pub(crate) fn redirected(self) -> Self {
        self.tracking(2, STATUS_DNAT)
    }

    fn tracking(self, key: u32, bits: u32) -> Self {
        self.add("ct", |data| data.attr_be32(1, 1).attr_be32(2, key))
            .mask(&bits.to_ne_bytes())
            .compare(false, &0_u32.to_ne_bytes())
    }

    /// Looks protocol, destination address (unless `any`) and port up in a map and leads the packet there.
    pub(crate) fn redirect(self, family: u8, map: &str, any: bool) -> Self {
        let address = if family == IPV4 { 4 } else { 16 };
        let offset = if family == IPV4 { 16 } else { 24 };
        let keyed = self.family(family).meta(16, 1);
        let keyed = if any {
            keyed.payload(2, 2, 2, 9)
        } else {
            keyed
                .payload(1, offset, address, 9)
                .payload(2, 2, 2, 9 + address / 4)
        };
        keyed.lookup(map, false, Some(1)).add("nat", |data| {
            data.attr_be32(1, 1)
                .attr_be32(2, u32::from(family))
                .attr_be32(3, 1)
                .attr_be32(5, 8 + address / 4)
        })
    }

    /// Goes on when protocol, destination address and port are in the set. Says the family itself.
    pub(crate) fn for_target(self, family: u8, set: &str) -> Self {
        let address = if family == IPV4 { 4 } else { 16 };
        let offset = if family == IPV4 { 16 } else { 24 };
        self.family(family)
            .meta(16, 1)
            .payload(1, offset, address, 9)
            .payload(2, 2, 2, 9 + address / 4)
            .lookup(set, false, None)
    }

    /// The same for a set without addresses, with `any`.
    pub(crate) fn for_checked(self, family: u8, set: &str, any: bool) -> Self {
        if !any {
            return self.for_target(family, set);
        }
        self.family(family)
            .meta(16, 1)
            .payload(2, 2, 2, 9)
            .lookup(set, false, None)
    }

    /// Goes on when source address, protocol and port are in the set, or with `inside` false when they are
    /// not. The family is known by now.
    pub(crate) fn admitted(self, family: u8, set: &str, inside: bool) -> Self {
        self.client(family).lookup(set, !inside, None)
    }

    /// Puts source address, protocol and port into the set, or renews them there.
    pub(crate) fn admit(self, family: u8, set: &str) -> Self {
        const UPDATE: u32 = 1;
        self.client(family).add("dynset", |data| {
            data.attr_str(1, set).attr_be32(3, UPDATE).attr_be32(4, 1)
        })
    }

    fn client(self, family: u8) -> Self {
        let (offset, length) = if family == IPV4 { (12, 4) } else { (8, 16) };
        self.payload(1, offset, length, 1)
            .meta(16, 8 + length / 4)
            .payload(2, 2, 2, 9 + length / 4)
    }

    /// Goes on when the packet is of ICMP, or of ICMPv6.
    pub(crate) fn ping(self, family: u8) -> Self {
        let protocol = if family == IPV4 { 1 } else { 58 };
        self.meta(16, 1).compare(true, &[protocol])
    }

    /// Goes on when the packet is for a port. The family is known by now.
    pub(crate) fn port(self, protocol: u8, port: u16) -> Self {
        self.meta(16, 1)
            .compare(true, &[protocol])
            .payload(2, 2, 2, 1)
            .compare(true, &port.to_be_bytes())
    }

    /// Leads the packet, which is of IPv4, to another port of its destination. Ends the rule.
    pub(crate) fn redirect_to(self, port: u16) -> Message {
        self.add("immediate", |data| {
            data.attr_be32(1, 1)
                .nest(2, |value| value.attr(NFTA_DATA_VALUE, &port.to_be_bytes()))
        })
        .add("nat", |data| {
            data.attr_be32(1, 1)
                .attr_be32(2, u32::from(IPV4))
                .attr_be32(5, 1)
        })
        .0
    }

    /// Hides the source behind the address of the interface the packet leaves by. Ends the rule.
    pub(crate) fn masquerade(self) -> Message {
        self.add("masq", |data| data).0
    }

    /// Goes on when the packet opens a TCP connection, in either direction.
    pub(crate) fn opens_tcp(self) -> Self {
        const TCP: u8 = 6;
        // Of the flags, SYN and RST: SYN alone.
        self.meta(16, 1)
            .compare(true, &[TCP])
            .payload(2, 13, 1, 1)
            .mask(&[0x06])
            .compare(true, &[0x02])
    }

    /// Lowers the largest segment that the packet announces to what its route takes. Ends the rule.
    pub(crate) fn clamp_segment(self) -> Message {
        self.add("rt", |data| data.attr_be32(1, 1).attr_be32(2, 3))
            .add("byteorder", |data| {
                data.attr_be32(1, 1)
                    .attr_be32(2, 1)
                    .attr_be32(3, 1)
                    .attr_be32(4, 2)
                    .attr_be32(5, 2)
            })
            .add("exthdr", |data| {
                // Option 2 of TCP, its two bytes after kind and length.
                data.attr_be32(7, 1)
                    .attr(2, &[2])
                    .attr_be32(3, 2)
                    .attr_be32(4, 2)
                    .attr_be32(6, 1)
            })
            .0
    }

    /// Counts the packets that come this far.
    pub(crate) fn counted(self) -> Self {
        self.add("counter", |data| data)
    }

    /// Decides. Ends the rule.
    pub(crate) fn verdict(self, verdict: Verdict<'_>) -> Message {
        let code = match verdict {
            Verdict::Drop => 0,
            Verdict::Accept => 1,
            Verdict::Jump(_) => (-3_i32).cast_unsigned(),
            Verdict::Return => (-5_i32).cast_unsigned(),
        };
        self.add("immediate", |data| {
            data.attr_be32(1, 0).nest(2, |value| {
                value.nest(NFTA_DATA_VERDICT, |message| {
                    let message = message.attr_be32(NFTA_VERDICT_CODE, code);
                    match verdict {
                        Verdict::Jump(chain) => message.attr_str(NFTA_VERDICT_CHAIN, chain),
                        _ => message,
                    }
                })
            })
        })
        .0
    }
}

/// An interface's name as nf_tables compares it: 16 bytes.
pub(crate) fn interface_name(name: &str) -> [u8; 16] {
    let mut bytes = [0; 16];
    for (place, byte) in bytes.iter_mut().take(15).zip(name.bytes()) {
        *place = byte;
    }
    bytes
}
