//! What is known of the content of registries: names with digests say what they have.

use arca_registry::{Descriptor, media_type};
use arca_types::{DiffId, Repository};

use crate::images::Images;
use crate::index::{Index, Name};
use crate::manifest::{Document, parse};

/// A blob of a layer that a repository has, or had.
#[derive(Debug, Clone)]
pub(super) struct KnownBlob {
    pub(super) diff_id: DiffId,
    pub(super) blob: Descriptor,
    pub(super) repository: Repository,
}

impl Images {
    /// Returns what pulls and pushes have told of the layers in registries.
    pub(super) async fn known_blobs(&self, index: &Index) -> Vec<KnownBlob> {
        let mut known = Vec::new();
        for name in index.names.values().filter(|name| name.is_digest()) {
            for id in &name.record.images {
                let Some(entry) = index.images.get(id) else {
                    continue;
                };
                let layers = &entry.record.layers;
                let target = &name.record.target;
                let as_it_is = target.digest == entry.record.manifest.digest
                    || media_type::is_index(&target.media_type);
                let blobs: Vec<Descriptor> = if as_it_is {
                    layers.iter().map(|layer| layer.blob.clone()).collect()
                } else {
                    self.pushed_blobs(name).await
                };
                known.extend(layers.iter().zip(blobs).map(|(layer, blob)| KnownBlob {
                    diff_id: layer.diff_id.clone(),
                    blob,
                    repository: name.reference.repository().clone(),
                }));
            }
        }
        known
    }

    /// The layers of a manifest that was made by a push.
    async fn pushed_blobs(&self, name: &Name) -> Vec<Descriptor> {
        let target = &name.record.target;
        let Ok(bytes) = self.blob(&target.digest).await else {
            return Vec::new();
        };
        match parse(&bytes, &target.media_type, "") {
            Ok(Document::Image(image)) => image.layers,
            _ => Vec::new(),
        }
    }
}
