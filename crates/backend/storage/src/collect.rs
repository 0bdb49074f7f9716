//! Garbage collection.

use std::collections::{BTreeSet, HashSet};

use arca_store::Batch;
use arca_types::{DiffId, Digest};

use crate::error::Error;
use crate::record::{BlobRecord, LayerRecord};
use crate::storage::{Inner, Storage};

/// What somebody refers to.
#[derive(Debug, Clone, Default)]
pub struct Roots {
    /// Manifests, configurations and compressed layers.
    pub blobs: BTreeSet<Digest>,
    /// Unpacked layers.
    pub layers: BTreeSet<DiffId>,
}

/// What was collected.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Collected {
    /// The layers that are gone.
    pub layers: Vec<DiffId>,
    /// The blobs that are gone.
    pub blobs: Vec<Digest>,
    /// The bytes in the files of these layers: what dockerd calls reclaimed.
    pub layer_bytes: u64,
    /// The bytes of these blobs.
    pub blob_bytes: u64,
}

impl Storage {
    /// Removes blobs and layers that neither `roots` nor a lease nor a snapshot holds. A layer holds the
    /// blob it was unpacked from. The space is freed in the background.
    ///
    /// # Errors
    /// [`Error::Store`] when the rows cannot be written; nothing is removed then.
    pub async fn collect(&self, roots: &Roots) -> Result<Collected, Error> {
        let roots = roots.clone();
        self.blocking(move |inner| inner.collect(&roots)).await
    }

    /// Waits until what was removed is deleted.
    ///
    /// # Errors
    /// [`Error::Panicked`].
    pub async fn reclaimed(&self) -> Result<(), Error> {
        self.blocking(|inner| {
            inner.reaper.wait();
            Ok(())
        })
        .await
    }
}

impl Inner {
    fn collect(&self, roots: &Roots) -> Result<Collected, Error> {
        self.discard_copies();
        let _changing = self.changing();
        let victims = self.unreferenced(roots);
        let mut batch = Batch::new();
        for (diff_id, _) in &victims.layers {
            batch = batch.delete::<LayerRecord>(diff_id.as_str());
        }
        for (digest, _) in &victims.blobs {
            batch = batch.delete::<BlobRecord>(digest.as_str());
        }
        if batch.is_empty() {
            return Ok(Collected::default());
        }
        if let Err(error) = self.commit(batch) {
            let mut state = self.state();
            state.layers.extend(victims.layers);
            state.blobs.extend(victims.blobs);
            return Err(error);
        }
        let mut collected = Collected::default();
        for (diff_id, record) in victims.layers {
            self.discard(&self.paths.layer(record.number));
            collected.layer_bytes += record.size;
            collected.layers.push(diff_id);
        }
        for (digest, record) in victims.blobs {
            self.discard(&self.paths.blob(&digest));
            collected.blob_bytes += record.size;
            collected.blobs.push(digest);
        }
        Ok(collected)
    }

    /// Takes what nobody holds out of the state, so that no lease finds it any more.
    fn unreferenced(&self, roots: &Roots) -> Victims {
        let mut state = self.state();
        let mut layers: HashSet<DiffId> = roots.layers.iter().cloned().collect();
        let mut blobs: HashSet<Digest> = roots.blobs.iter().cloned().collect();
        for held in state.leases.values() {
            layers.extend(held.layers.iter().cloned());
            blobs.extend(held.blobs.iter().cloned());
        }
        layers.extend(
            state
                .snapshots
                .values()
                .flat_map(|record| record.layers.iter().cloned()),
        );
        let kept = state
            .layers
            .iter()
            .filter(|(diff_id, _)| layers.contains(*diff_id));
        blobs.extend(kept.map(|(_, record)| record.blob.clone()));
        let gone = |diff_id: &DiffId, _: &mut LayerRecord| !layers.contains(diff_id);
        let gone_layers = state.layers.extract_if(gone).collect();
        let gone = |digest: &Digest, _: &mut BlobRecord| !blobs.contains(digest);
        let gone_blobs = state.blobs.extract_if(gone).collect();
        drop(state);
        Victims {
            layers: gone_layers,
            blobs: gone_blobs,
        }
    }
}

/// What is to be removed.
struct Victims {
    layers: Vec<(DiffId, LayerRecord)>,
    blobs: Vec<(Digest, BlobRecord)>,
}
