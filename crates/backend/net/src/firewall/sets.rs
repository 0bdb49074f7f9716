//! The sets and maps of the table.

use super::table::{Set, kind};

/// A set of names of interfaces.
const fn interfaces(name: &'static str) -> Set {
    Set {
        name,
        key: &[kind::INTERFACE],
        key_length: 16,
        value: None,
    }
}

pub(super) const BRIDGES: Set = interfaces("bridges");
pub(super) const INTERNAL: Set = interfaces("internal");
pub(super) const OPEN4: Set = interfaces("open4");
pub(super) const OPEN6: Set = interfaces("open6");
pub(super) const ROUTED4: Set = interfaces("routed4");
pub(super) const ROUTED6: Set = interfaces("routed6");
pub(super) const TRUSTED: Set = Set {
    name: "trusted",
    key: &[kind::INTERFACE, kind::INTERFACE],
    key_length: 32,
    value: None,
};
pub(super) const TARGETS4: Set = Set {
    name: "targets4",
    key: &[kind::PROTOCOL, kind::IPV4, kind::PORT],
    key_length: 12,
    value: None,
};
pub(super) const TARGETS6: Set = Set {
    name: "targets6",
    key: &[kind::PROTOCOL, kind::IPV6, kind::PORT],
    key_length: 24,
    value: None,
};
pub(super) const TALK: Set = Set {
    name: "talk",
    key: &[kind::INTERFACE, kind::INTERFACE],
    key_length: 32,
    value: None,
};
pub(super) const V4: Set = Set {
    name: "published4",
    key: &[kind::PROTOCOL, kind::IPV4, kind::PORT],
    key_length: 12,
    value: Some((&[kind::IPV4, kind::PORT], 8)),
};
pub(super) const V4_ANY: Set = Set {
    name: "published4_any",
    key: &[kind::PROTOCOL, kind::PORT],
    key_length: 8,
    value: Some((&[kind::IPV4, kind::PORT], 8)),
};
pub(super) const V6: Set = Set {
    name: "published6",
    key: &[kind::PROTOCOL, kind::IPV6, kind::PORT],
    key_length: 24,
    value: Some((&[kind::IPV6, kind::PORT], 20)),
};
pub(super) const V6_ANY: Set = Set {
    name: "published6_any",
    key: &[kind::PROTOCOL, kind::PORT],
    key_length: 8,
    value: Some((&[kind::IPV6, kind::PORT], 20)),
};
