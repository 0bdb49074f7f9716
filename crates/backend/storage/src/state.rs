//! What the rows say, in memory.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use arca_types::{DiffId, Digest};

use crate::lease::Held;
use crate::record::{BlobRecord, LayerRecord, SnapshotRecord};

/// The index of everything there is. Rows are written before this is changed.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) blobs: HashMap<Digest, BlobRecord>,
    pub(crate) layers: HashMap<DiffId, LayerRecord>,
    /// By container ID.
    pub(crate) snapshots: BTreeMap<String, SnapshotRecord>,
    /// Merged views that were made by copying.
    pub(crate) copies: Vec<PathBuf>,
    pub(crate) leases: HashMap<u64, Held>,
    /// The last number given to a lease.
    pub(crate) last_lease: u64,
    /// The last number given to a directory.
    pub(crate) last_number: u32,
}

impl State {
    /// A number that no directory of layers or snapshots has.
    pub(crate) fn next_number(&mut self) -> u32 {
        self.last_number += 1;
        self.last_number
    }
}
