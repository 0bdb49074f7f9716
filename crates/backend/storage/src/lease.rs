//! Holding on to what nothing refers to yet.

use std::collections::HashSet;
use std::sync::Arc;

use arca_types::{DiffId, Digest};

use crate::blobs::BlobInfo;
use crate::layers::LayerInfo;
use crate::storage::{Inner, Storage};

/// What one lease holds.
#[derive(Debug, Default)]
pub(crate) struct Held {
    pub(crate) blobs: HashSet<Digest>,
    pub(crate) layers: HashSet<DiffId>,
}

/// Keeps what is written or found under it from being collected, until it is dropped.
///
/// Hold one for as long as an image is being made: from before its first blob until its record is
/// written.
#[derive(Debug)]
pub struct Lease {
    inner: Arc<Inner>,
    number: u64,
}

impl Storage {
    /// Begins a lease that holds nothing yet.
    #[must_use]
    pub fn lease(&self) -> Lease {
        let mut state = self.inner.state();
        state.last_lease += 1;
        let number = state.last_lease;
        state.leases.insert(number, Held::default());
        drop(state);
        Lease {
            inner: Arc::clone(&self.inner),
            number,
        }
    }
}

impl Lease {
    /// Looks for a blob, and holds it, even when it is only to come.
    #[must_use]
    pub fn blob(&self, digest: &Digest) -> Option<BlobInfo> {
        self.hold(Some(digest), None);
        self.inner.blob(digest)
    }

    /// Looks for a layer, and holds it, even when it is only to come.
    #[must_use]
    pub fn layer(&self, diff_id: &DiffId) -> Option<LayerInfo> {
        self.hold(None, Some(diff_id));
        self.inner.layer(diff_id)
    }

    pub(crate) fn hold(&self, blob: Option<&Digest>, layer: Option<&DiffId>) {
        let mut state = self.inner.state();
        if let Some(held) = state.leases.get_mut(&self.number) {
            held.blobs.extend(blob.cloned());
            held.layers.extend(layer.cloned());
        }
    }

    /// The name of this lease for work that goes on when it has been dropped.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.inner.state().leases.remove(&self.number);
    }
}
