//! What the cache may keep.

use std::collections::BTreeMap;
use std::time::Duration;

/// A rule of the garbage collection (`builder.gc.policy`); rules are applied in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GcPolicy {
    /// What it is about, as filters of prune; empty for everything.
    pub filters: BTreeMap<String, Vec<String>>,
    /// Also what nothing but the internals needs.
    pub all: bool,
    /// Used within this time: kept.
    pub keep_duration: Option<Duration>,
    /// So many bytes are always kept.
    pub reserved_space: u64,
    /// More bytes than this are never kept; 0 for no limit.
    pub max_used_space: u64,
    /// So many bytes of the disk are to be free; 0 for no limit.
    pub min_free_space: u64,
}
