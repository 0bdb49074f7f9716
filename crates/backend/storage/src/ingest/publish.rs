//! From a verified layer to a registered one.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use arca_store::Batch;

use super::{Layer, LayerSource};
use crate::error::Error;
use crate::record::LayerRecord;
use crate::storage::Inner;

/// A layer that may become one. What is left of it when it is dropped goes away.
pub(crate) struct Candidate<'a> {
    inner: &'a Inner,
    /// Where what arrives is written to.
    pub(crate) file: PathBuf,
    /// Where it is unpacked to; none when the layer is known to be there.
    pub(crate) tree: Option<PathBuf>,
}

impl Drop for Candidate<'_> {
    fn drop(&mut self) {
        self.inner.discard(&self.file);
        if let Some(tree) = &self.tree {
            self.inner.discard(tree);
        }
    }
}

impl<'a> Candidate<'a> {
    /// One whose tree is there.
    pub(crate) fn of(inner: &'a Inner, tree: PathBuf) -> Self {
        Self {
            inner,
            file: inner.tmp(),
            tree: Some(tree),
        }
    }

    pub(super) fn begin(inner: &'a Inner, source: &LayerSource) -> Result<Self, Error> {
        let known = source
            .diff_id
            .as_ref()
            .is_some_and(|diff_id| inner.layer(diff_id).is_some());
        let tree = (!known).then(|| inner.tmp());
        if let Some(tree) = &tree {
            fs::create_dir(tree)
                .and_then(|()| fs::set_permissions(tree, fs::Permissions::from_mode(0o755)))
                .map_err(Error::io("create", tree))?;
        }
        Ok(Self {
            inner,
            file: inner.tmp(),
            tree,
        })
    }

    /// Moves blob and directory to their places and registers them, unless somebody else has.
    pub(crate) fn publish(
        self,
        inner: &Inner,
        lease: u64,
        source: &LayerSource,
        mut layer: Layer,
    ) -> Result<Layer, Error> {
        if let Some(expected) = source.diff_id.as_ref().filter(|id| **id != layer.diff_id) {
            let (expected, actual) = (expected.to_string(), layer.diff_id.to_string());
            return Err(Error::DiffId { expected, actual });
        }
        let _changing = inner.changing();
        // Who gave the layer up has collected already: nobody would find it.
        if !inner.hold(lease, &layer) {
            return Err(Error::Abandoned);
        }
        let mut batch = Batch::new();
        let new_blob = inner.blob(&layer.blob).is_none();
        if new_blob {
            batch = inner.place_blob(batch, &self.file, &layer.blob, layer.blob_size)?;
        }
        let new_layer = match (&self.tree, inner.layer(&layer.diff_id)) {
            (_, Some(known)) => {
                layer.size = known.size;
                None
            }
            (Some(tree), None) => {
                let number = inner.state().next_number();
                let target = inner.paths.layer(number);
                fs::rename(tree, &target).map_err(Error::io("rename", tree))?;
                let unsynced = Some(inner.boot.clone());
                let (size, blob) = (layer.size, layer.blob.clone());
                Some(LayerRecord {
                    number,
                    size,
                    blob,
                    unsynced,
                })
            }
            // It was there when this began, and nobody held it: that is what leases are for.
            (None, None) => return Err(Error::NoLayer(layer.diff_id)),
        };
        if let Some(record) = &new_layer {
            batch = batch
                .put(layer.diff_id.as_str(), record)
                .map_err(Error::Store)?;
        }
        inner.commit(batch)?;
        if new_blob {
            inner.note_blob(&layer.blob, layer.blob_size);
        }
        if let Some(record) = new_layer {
            inner.state().layers.insert(layer.diff_id.clone(), record);
        }
        Ok(layer)
    }
}

impl Inner {
    /// Lets a lease hold a layer. Returns whether it still exists.
    fn hold(&self, lease: u64, layer: &Layer) -> bool {
        let mut state = self.state();
        let Some(held) = state.leases.get_mut(&lease) else {
            return false;
        };
        held.blobs.insert(layer.blob.clone());
        held.layers.insert(layer.diff_id.clone());
        true
    }
}
