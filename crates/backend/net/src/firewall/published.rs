//! Published ports as elements of maps and sets.

use std::collections::{BTreeMap, BTreeSet};

use super::ruleset::Forward;
use super::sets::{
    CHECKED4, CHECKED4_ANY, CHECKED6, CHECKED6_ANY, TARGETS4, TARGETS6, V4, V4_ANY, V6, V6_ANY,
};
use super::table::{Element, Transaction};
use crate::netlink::address::octets;

/// Adds redirections to the maps.
pub(crate) fn publish(change: &mut Transaction<'_>, forwards: &[Forward]) {
    for (map, elements) in by_map(forwards) {
        change.add(map, &elements);
    }
    for (set, elements) in by_target(forwards) {
        change.add(set, &elements);
    }
}

/// Removes redirections from the maps, and their targets but for those that one of `others` has, too.
pub(crate) fn withdraw(
    change: &mut Transaction<'_>,
    forwards: &[Forward],
    others: &BTreeSet<Forward>,
) {
    for (map, elements) in by_map(forwards) {
        change.remove(map, &elements);
    }
    let same = |one: &Forward, other: &Forward| {
        (one.protocol, one.target) == (other.protocol, other.target)
    };
    let gone: Vec<Forward> = forwards
        .iter()
        .filter(|forward| !others.iter().any(|other| same(forward, other)))
        .copied()
        .collect();
    for (set, elements) in by_target(&gone) {
        change.remove(set, &elements);
    }
}

fn by_target(forwards: &[Forward]) -> BTreeMap<&'static str, Vec<Element>> {
    let mut sets: BTreeMap<&'static str, Vec<Element>> = BTreeMap::new();
    for forward in forwards {
        let set = if forward.target.is_ipv4() {
            &TARGETS4
        } else {
            &TARGETS6
        };
        let mut key = vec![forward.protocol.number(), 0, 0, 0];
        key.extend(octets(forward.target.ip()));
        key.extend(padded(forward.target.port()));
        let elements = sets.entry(set.name).or_default();
        let element = Element {
            key,
            value: Vec::new(),
        };
        // Twice in one message is an error.
        if !elements.contains(&element) {
            elements.push(element);
        }
    }
    sets
}

fn by_map(forwards: &[Forward]) -> BTreeMap<&'static str, Vec<Element>> {
    let mut maps: BTreeMap<&'static str, Vec<Element>> = BTreeMap::new();
    for forward in forwards.iter().filter(|forward| forward.host_port != 0) {
        let any = forward.host_ip.is_unspecified();
        let (map, checked) = match (forward.host_ip.is_ipv4(), any) {
            (true, true) => (&V4_ANY, &CHECKED4_ANY),
            (true, false) => (&V4, &CHECKED4),
            (false, true) => (&V6_ANY, &CHECKED6_ANY),
            (false, false) => (&V6, &CHECKED6),
        };
        let mut key = vec![forward.protocol.number(), 0, 0, 0];
        if !any {
            key.extend(octets(forward.host_ip));
        }
        key.extend(padded(forward.host_port));
        if forward.checked {
            let element = Element {
                key: key.clone(),
                value: Vec::new(),
            };
            maps.entry(checked.name).or_default().push(element);
        }
        let mut value = octets(forward.target.ip());
        value.extend(padded(forward.target.port()));
        maps.entry(map.name)
            .or_default()
            .push(Element { key, value });
    }
    maps
}

/// A port in network order, padded to four bytes.
fn padded(port: u16) -> [u8; 4] {
    let [high, low] = port.to_be_bytes();
    [high, low, 0, 0]
}
