//! Everything the firewall should hold, and its translation into one transaction.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::admission;
use super::expr::{Expressions, IPV4, IPV6, Side, Verdict, interface_name};
use super::published::publish;
use super::sets::{
    BRIDGES, INTERNAL, OPEN4, OPEN6, ROUTED4, ROUTED6, TALK, TARGETS4, TARGETS6, TRUSTED, V4,
    V4_ANY, V6, V6_ANY,
};
use super::table::{Element, Hook, Set, Transaction};
use crate::types::Protocol;

/// A bridge and what may pass it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BridgeRules {
    /// Its subnets, with whether their addresses are hidden behind the host's on the way out.
    pub(crate) subnets: Vec<(IpNet, bool)>,
    /// Whether its ports may talk to each other where the bridge's packets pass the firewall.
    pub(crate) icc: bool,
    /// Whether nothing of it leaves to elsewhere.
    pub(crate) internal: bool,
    /// For IPv4 and for IPv6: whether packets that come from elsewhere without being redirected are let in.
    pub(crate) open: (bool, bool),
    /// For IPv4 and for IPv6: whether published ports are reached at the containers' own addresses.
    pub(crate) routed: (bool, bool),
    /// Interfaces from which they are, too.
    pub(crate) trusted: Vec<String>,
}

/// A redirection: what arrives at a port of the host goes to a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Forward {
    /// The protocol.
    pub(crate) protocol: Protocol,
    /// The host's address; `0.0.0.0` and `::` are all of the family.
    pub(crate) host_ip: IpAddr,
    /// The host's port; 0 is none: the target is opened, and nothing is led there.
    pub(crate) host_port: u16,
    /// Where to, of the same family.
    pub(crate) target: SocketAddr,
    /// Whether only those get through whom the host's own rules let in.
    pub(crate) checked: bool,
}

/// Families of which the host did not forward packets before.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Guard {
    pub(crate) ipv4: bool,
    pub(crate) ipv6: bool,
}

/// What the table should hold.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ruleset {
    /// The bridges, by name.
    pub(crate) bridges: BTreeMap<String, BridgeRules>,
    /// The published ports.
    pub(crate) forwards: BTreeSet<Forward>,
    /// Which families' packets between interfaces that are not ours are stopped: forwarding was off before.
    pub(crate) guard: Guard,
}

/// `127.0.0.0/8`.
fn loopback4() -> IpNet {
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8))
}

/// `::1/128`.
fn loopback6() -> IpNet {
    IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::LOCALHOST, 128))
}

/// The table of the administrator, with an empty chain that forwarded packets pass before ours; nothing
/// changes when they are there. It is never emptied by us, and removed only when the engine goes for good and it
/// has no rules.
pub(crate) fn administrators(table: &str) -> Transaction<'_> {
    let mut change = Transaction::new(table);
    change.ensure_table();
    let hook = Hook {
        kind: "filter",
        number: 2,
        priority: -10,
    };
    change.chain("forward", Some(hook));
    change
}

impl Ruleset {
    /// Writes the whole table anew.
    pub(crate) fn replace<'a>(&self, table: &'a str) -> Transaction<'a> {
        let mut change = Transaction::new(table);
        change.recreate_table();
        for set in [
            &BRIDGES, &INTERNAL, &OPEN4, &OPEN6, &ROUTED4, &ROUTED6, &TRUSTED, &TALK, &TARGETS4,
            &TARGETS6, &V4, &V4_ANY, &V6, &V6_ANY,
        ] {
            change.set(set);
        }
        admission::sets(&mut change);
        self.chains(&mut change);
        admission::rules(&mut change);
        published(&mut change);
        self.source_nat(&mut change);
        self.forwarding(&mut change);
        self.bridge_elements(&mut change);
        let forwards: Vec<Forward> = self.forwards.iter().copied().collect();
        publish(&mut change, &forwards);
        change
    }

    fn chains(&self, change: &mut Transaction<'_>) {
        let hook = |kind, number, priority| {
            Some(Hook {
                kind,
                number,
                priority,
            })
        };
        change.chain("published", None);
        change.chain("into", None);
        change.chain("loopback", hook("filter", 0, -300));
        change.chain("prerouting", hook("nat", 0, -100));
        change.chain("output", hook("nat", 3, -100));
        change.chain("postrouting", hook("nat", 4, 100));
        change.chain("segments", hook("filter", 2, -150));
        change.chain("forward", hook("filter", 2, 0));
        // A tunnel on the way may take less than a bridge does, and the answer that says so is often lost.
        for side in [Side::In, Side::Out] {
            change.rule("segments", |rule| {
                rule.interface_in(side, BRIDGES.name, true)
                    .opens_tcp()
                    .clamp_segment()
            });
        }
        // The bridges route 127.0.0.0/8, for published ports: nobody behind them may use that.
        change.rule("loopback", |rule| {
            rule.interface_in(Side::In, BRIDGES.name, true)
                .destination(loopback4())
                .verdict(Verdict::Drop)
        });
    }

    fn source_nat(&self, change: &mut Transaction<'_>) {
        let chain = "postrouting";
        change.rule(chain, |rule| {
            rule.interface_in(Side::Out, BRIDGES.name, true)
                .source(loopback4())
                .masquerade()
        });
        for (bridge, rules) in &self.bridges {
            for (subnet, _) in &rules.subnets {
                // To its own network by a published port: the answer has to come back this way.
                change.rule(chain, |rule| {
                    rule.interface_is(Side::Out, bridge, true)
                        .source(*subnet)
                        .redirected()
                        .masquerade()
                });
            }
        }
        // To another network of ours: by a published port, with its own address.
        change.rule(chain, |rule| {
            rule.interface_in(Side::Out, BRIDGES.name, true)
                .verdict(Verdict::Return)
        });
        for rules in self.bridges.values().filter(|rules| !rules.internal) {
            for (subnet, _) in rules.subnets.iter().filter(|(_, masquerade)| *masquerade) {
                change.rule(chain, |rule| rule.source(*subnet).masquerade());
            }
        }
    }

    fn forwarding(&self, change: &mut Transaction<'_>) {
        // Whoever is on an internal network reaches that network.
        change.rule("forward", |rule| {
            rule.interfaces_in(TALK.name).verdict(Verdict::Jump("into"))
        });
        change.rule("forward", |rule| {
            rule.interface_in(Side::In, INTERNAL.name, true)
                .counted()
                .verdict(Verdict::Drop)
        });
        change.rule("forward", |rule| {
            rule.interface_in(Side::Out, BRIDGES.name, true)
                .verdict(Verdict::Jump("into"))
        });
        let guarded = [(self.guard.ipv4, IPV4), (self.guard.ipv6, IPV6)];
        for (_, family) in guarded.into_iter().filter(|(guarded, _)| *guarded) {
            change.rule("forward", |rule| {
                rule.family(family)
                    .interface_in(Side::In, BRIDGES.name, false)
                    .counted()
                    .verdict(Verdict::Drop)
            });
        }
        change.rule("into", |rule| rule.established().verdict(Verdict::Accept));
        change.rule("into", |rule| rule.redirected().verdict(Verdict::Accept));
        change.rule("into", |rule| {
            rule.interfaces_in(TALK.name).verdict(Verdict::Accept)
        });
        for (family, open, routed, targets) in [
            (IPV4, &OPEN4, &ROUTED4, &TARGETS4),
            (IPV6, &OPEN6, &ROUTED6, &TARGETS6),
        ] {
            change.rule("into", |rule| {
                rule.family(family)
                    .interface_in(Side::Out, open.name, true)
                    .interface_in(Side::In, BRIDGES.name, false)
                    .verdict(Verdict::Accept)
            });
            change.rule("into", |rule| {
                rule.family(family)
                    .interface_in(Side::Out, routed.name, true)
                    .ping(family)
                    .verdict(Verdict::Accept)
            });
            change.rule("into", |rule| {
                rule.interface_in(Side::Out, routed.name, true)
                    .for_target(family, targets.name)
                    .verdict(Verdict::Accept)
            });
            change.rule("into", |rule| {
                rule.interfaces_in(TRUSTED.name)
                    .for_target(family, targets.name)
                    .verdict(Verdict::Accept)
            });
        }
        change.rule("into", |rule| rule.counted().verdict(Verdict::Drop));
    }

    fn bridge_elements(&self, change: &mut Transaction<'_>) {
        let named = |wanted: &dyn Fn(&BridgeRules) -> bool| -> Vec<Element> {
            let chosen = self.bridges.iter().filter(|(_, rules)| wanted(rules));
            chosen
                .map(|(bridge, _)| Element {
                    key: interface_name(bridge).to_vec(),
                    value: Vec::new(),
                })
                .collect()
        };
        change.add(BRIDGES.name, &named(&|_| true));
        change.add(INTERNAL.name, &named(&|rules| rules.internal));
        change.add(OPEN4.name, &named(&|rules| rules.open.0 && !rules.internal));
        change.add(OPEN6.name, &named(&|rules| rules.open.1 && !rules.internal));
        change.add(
            ROUTED4.name,
            &named(&|rules| rules.routed.0 && !rules.internal),
        );
        change.add(
            ROUTED6.name,
            &named(&|rules| rules.routed.1 && !rules.internal),
        );
        let trusted = self.bridges.iter().flat_map(|(bridge, rules)| {
            rules.trusted.iter().map(|link| Element {
                key: [interface_name(link), interface_name(bridge)].concat(),
                value: Vec::new(),
            })
        });
        change.add(TRUSTED.name, &trusted.collect::<Vec<_>>());
        let mut pairs = named(&|rules| rules.icc);
        for pair in &mut pairs {
            pair.key = pair.key.repeat(2);
        }
        change.add(TALK.name, &pairs);
    }
}

/// The chains that look published ports up.
fn published(change: &mut Transaction<'_>) {
    for chain in ["prerouting", "output"] {
        // From elsewhere these are never meant for us, and IPv6 cannot be led away from loopback.
        if chain == "prerouting" {
            change.rule(chain, |rule| {
                rule.destination(loopback4()).verdict(Verdict::Return)
            });
        }
        change.rule(chain, |rule| {
            rule.destination(loopback6()).verdict(Verdict::Return)
        });
        change.rule(chain, |rule| {
            rule.for_this_host().verdict(Verdict::Jump("published"))
        });
    }
    let redirect = |family, map: &'static Set, any| {
        move |rule: Expressions| rule.redirect(family, map.name, any).0
    };
    change.rule("published", redirect(IPV4, &V4, false));
    change.rule("published", redirect(IPV4, &V4_ANY, true));
    change.rule("published", redirect(IPV6, &V6, false));
    change.rule("published", redirect(IPV6, &V6_ANY, true));
}
