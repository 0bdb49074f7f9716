//! Published ports that only those reach whom the host's own firewall lets in.
//!
//! What is published is forwarded, and so passes none of the rules for what the host itself receives. For
//! these ports the first packet of a client is left alone: it goes where it would go to a program of the
//! host, through every rule of everybody. When it has passed all of them, the client is remembered and the
//! packet dropped; the client sends it again, and that one is led to the container. No process takes part,
//! and the container sees the client's own address.

use super::expr::{IPV4, IPV6, Side, Verdict};
use super::sets::{ADMITTED4, ADMITTED6, BRIDGES, CHECKED4, CHECKED4_ANY, CHECKED6, CHECKED6_ANY};
use super::table::{Hook, Set, Transaction};

/// After the rules of everybody else: those of iptables and firewalld are at 0 and 10, security at 50.
const LATE: i32 = 200;
/// The families: checked ports of one address, of all of them, and who was let in.
const FAMILIES: [(u8, &Set, &Set, &Set); 2] = [
    (IPV4, &CHECKED4, &CHECKED4_ANY, &ADMITTED4),
    (IPV6, &CHECKED6, &CHECKED6_ANY, &ADMITTED6),
];

/// Makes the sets.
pub(super) fn sets(change: &mut Transaction<'_>) {
    for (_, one, any, admitted) in FAMILIES {
        [one, any, admitted]
            .into_iter()
            .for_each(|set| change.set(set));
    }
}

/// Forgets who was let in: the rules may have changed.
pub(super) fn forget(change: &mut Transaction<'_>) {
    for (_, _, _, admitted) in FAMILIES {
        change.flush(admitted.name);
    }
}

/// Adds the rules; those of the chain `prerouting` have to come before its redirections.
pub(super) fn rules(change: &mut Transaction<'_>) {
    let hook = Hook {
        kind: "filter",
        number: 1,
        priority: LATE,
    };
    change.chain("admission", Some(hook));
    change.rule("admission", |rule| {
        rule.interface_is(Side::In, "lo", true)
            .verdict(Verdict::Return)
    });
    for (family, one, any, admitted) in FAMILIES {
        for (set, is_any) in [(one, false), (any, true)] {
            change.rule("prerouting", |rule| {
                rule.interface_in(Side::In, BRIDGES.name, false)
                    .for_checked(family, set.name, is_any)
                    .admitted(family, admitted.name, false)
                    .verdict(Verdict::Return)
            });
            change.rule("admission", |rule| {
                rule.interface_in(Side::In, BRIDGES.name, false)
                    .for_checked(family, set.name, is_any)
                    .admit(family, admitted.name)
                    .verdict(Verdict::Drop)
            });
        }
    }
}
