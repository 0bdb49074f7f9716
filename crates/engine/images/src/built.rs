//! Images that a build has made: a configuration as it is, and layers that storage has.

use arca_events::{Event, Type};
use arca_registry::{Descriptor, media_type};
use arca_storage::Lease;
use arca_types::{DiffId, Digest, ImageId, Reference};

use crate::error::Error;
use crate::images::{Change, Images};
use crate::index::Index;
use crate::record::{LayerRecord, NameRecord};
use crate::tag::check_name;

/// An image that a build has made.
#[derive(Debug)]
pub struct BuiltImage {
    /// Its configuration, which names the layers.
    pub config: Vec<u8>,
    /// Its layers, the lowest first; storage has them.
    pub layers: Vec<DiffId>,
    /// The image that it was made from, for the classic builder.
    pub parent: Option<ImageId>,
    /// Its names.
    pub names: Vec<Reference>,
    /// Keeps the layers until the image does.
    pub lease: Lease,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Built {
    /// Its ID.
    pub id: ImageId,
    /// Its manifest.
    pub manifest: Descriptor,
}

impl Images {
    /// Adds an image. It takes its names from whatever had them.
    ///
    /// # Errors
    /// [`Error::LayerCount`], [`Error::DiffId`] when the configuration does not name the layers;
    /// [`Error::AmbiguousTag`]; failures of storage.
    pub async fn add_built(&self, built: BuiltImage) -> Result<Built, Error> {
        built.names.iter().try_for_each(check_name)?;
        let layers = self.records_of(&built.layers)?;
        let prepared = self
            .prepare(&built.config, layers, None, &built.lease)
            .await?;
        self.storage().sync().await.map_err(Error::Storage)?;
        let id = prepared.id.clone();
        let manifest = prepared.record.manifest.clone();
        let now = self.inner.backends.clock.now();
        self.change(|images, index| {
            let mut record = prepared.clone().over(index);
            record.parent = built.parent.clone().or(record.parent);
            if !built.names.is_empty() {
                record.last_tagged = Some(now);
            }
            let labels = record.labels.clone();
            let target = record.manifest.clone();
            let mut change = Change::on(index).put_image(&id, record)?;
            for name in &built.names {
                let record = NameRecord {
                    target: target.clone(),
                    images: vec![id.clone()],
                };
                change = change.put_name(name, record)?;
                let event = Event::new(Type::Image, "tag", id.as_str())
                    .with_all(labels.clone().unwrap_or_default())
                    .with("name", name.familiar());
                change = change.event(&images.inner.backends.events, event)?;
            }
            Ok((change, ()))
        })
        .await?;
        drop(built.lease);
        Ok(Built { id, manifest })
    }

    /// How layers are announced: as their image was pulled, or as they are.
    fn records_of(&self, layers: &[DiffId]) -> Result<Vec<LayerRecord>, Error> {
        let index = self.index();
        layers
            .iter()
            .map(|layer| self.record_of(&index, layer))
            .collect()
    }

    fn record_of(&self, index: &Index, diff_id: &DiffId) -> Result<LayerRecord, Error> {
        let missing = || arca_storage::Error::NoLayer(diff_id.clone());
        let found = self.storage().layer(diff_id);
        let layer = found.ok_or_else(missing).map_err(Error::Storage)?;
        let known = index
            .images
            .values()
            .flat_map(|entry| &entry.record.layers)
            .find(|known| known.diff_id == *diff_id && known.blob.digest == layer.blob);
        let blob = match known {
            Some(known) => known.blob.clone(),
            None => self.announced(diff_id, &layer.blob)?,
        };
        Ok(LayerRecord {
            diff_id: diff_id.clone(),
            size: layer.size,
            blob,
        })
    }

    fn announced(&self, diff_id: &DiffId, blob: &Digest) -> Result<Descriptor, Error> {
        let missing = || arca_storage::Error::NoBlob(blob.clone());
        let found = self.storage().blob(blob);
        let size = found.ok_or_else(missing).map_err(Error::Storage)?.size;
        let kind = if blob == diff_id.digest() {
            media_type::OCI_LAYER
        } else {
            media_type::OCI_LAYER_GZIP
        };
        Ok(Descriptor::new(kind, blob.clone(), size))
    }
}
