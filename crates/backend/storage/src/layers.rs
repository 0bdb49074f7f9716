//! Layers that are there.

use std::fs::File;
use std::io::{BufReader, Read};

use arca_types::{DiffId, Digest};

use crate::error::Error;
use crate::ingest::{Compression, decoder};
use crate::storage::{Inner, Storage};

/// An unpacked layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerInfo {
    /// The bytes in its files: dockerd's size of a layer.
    pub size: u64,
    /// The blob it was unpacked from.
    pub blob: Digest,
}

impl Storage {
    /// Looks for an unpacked layer. [`crate::Lease::layer`] also keeps it from being collected.
    #[must_use]
    pub fn layer(&self, diff_id: &DiffId) -> Option<LayerInfo> {
        self.inner.layer(diff_id)
    }

    /// The bytes in all layers together.
    #[must_use]
    pub fn layers_size(&self) -> u64 {
        self.inner
            .state()
            .layers
            .values()
            .map(|layer| layer.size)
            .sum()
    }

    /// The archive a layer was unpacked from, uncompressed. Reading it blocks.
    ///
    /// # Errors
    /// [`Error::NoLayer`], or [`Error::NoBlob`] when the blob is not kept.
    pub fn read_layer_tar(&self, diff_id: &DiffId) -> Result<Box<dyn Read + Send>, Error> {
        let layer = self
            .layer(diff_id)
            .ok_or_else(|| Error::NoLayer(diff_id.clone()))?;
        let blob = self.open_blob(&layer.blob)?;
        let input: BufReader<File> = BufReader::with_capacity(128 << 10, blob);
        decoder(input, Compression::Auto)
    }
}

impl Inner {
    pub(crate) fn layer(&self, diff_id: &DiffId) -> Option<LayerInfo> {
        let state = self.state();
        let record = state.layers.get(diff_id)?;
        Some(LayerInfo {
            size: record.size,
            blob: record.blob.clone(),
        })
    }
}
