//! The sets and maps of the table.

use super::table::{Set, kind};

/// A set of names of interfaces.
const fn interfaces(name: &'static str) -> Set {
    Set {
        name,
        key: &[kind::INTERFACE],
        key_length: 16,
        value: None,
        lifetime: None,
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
    lifetime: None,
};
pub(super) const TARGETS4: Set = Set {
    name: "targets4",
    key: &[kind::PROTOCOL, kind::IPV4, kind::PORT],
    key_length: 12,
    value: None,
    lifetime: None,
};
pub(super) const TARGETS6: Set = Set {
    name: "targets6",
    key: &[kind::PROTOCOL, kind::IPV6, kind::PORT],
    key_length: 24,
    value: None,
    lifetime: None,
};
pub(super) const TALK: Set = Set {
    name: "talk",
    key: &[kind::INTERFACE, kind::INTERFACE],
    key_length: 32,
    value: None,
    lifetime: None,
};
pub(super) const V4: Set = Set {
    name: "published4",
    key: &[kind::PROTOCOL, kind::IPV4, kind::PORT],
    key_length: 12,
    value: Some((&[kind::IPV4, kind::PORT], 8)),
    lifetime: None,
};
pub(super) const V4_ANY: Set = Set {
    name: "published4_any",
    key: &[kind::PROTOCOL, kind::PORT],
    key_length: 8,
    value: Some((&[kind::IPV4, kind::PORT], 8)),
    lifetime: None,
};
pub(super) const V6: Set = Set {
    name: "published6",
    key: &[kind::PROTOCOL, kind::IPV6, kind::PORT],
    key_length: 24,
    value: Some((&[kind::IPV6, kind::PORT], 20)),
    lifetime: None,
};
pub(super) const V6_ANY: Set = Set {
    name: "published6_any",
    key: &[kind::PROTOCOL, kind::PORT],
    key_length: 8,
    value: Some((&[kind::IPV6, kind::PORT], 20)),
    lifetime: None,
};
/// The ports of the host that only those reach whom the host's own rules let in.
pub(super) const CHECKED4: Set = Set {
    name: "checked4",
    value: None,
    ..V4
};
pub(super) const CHECKED4_ANY: Set = Set {
    name: "checked4_any",
    value: None,
    ..V4_ANY
};
pub(super) const CHECKED6: Set = Set {
    name: "checked6",
    value: None,
    ..V6
};
pub(super) const CHECKED6_ANY: Set = Set {
    name: "checked6_any",
    value: None,
    ..V6_ANY
};
/// Who was let in a while ago: source address, protocol and port.
pub(super) const ADMITTED4: Set = Set {
    name: "admitted4",
    key: &[kind::IPV4, kind::PROTOCOL, kind::PORT],
    key_length: 12,
    value: None,
    lifetime: Some(ADMISSION),
};
pub(super) const ADMITTED6: Set = Set {
    name: "admitted6",
    key: &[kind::IPV6, kind::PROTOCOL, kind::PORT],
    key_length: 24,
    value: None,
    lifetime: Some(ADMISSION),
};
/// How long an admission lasts, milliseconds; any change of the firewall ends it, too.
const ADMISSION: u64 = 300_000;
