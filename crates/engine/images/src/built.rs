//! Images that a build has made: a configuration as it is, and layers that storage has.

use std::collections::BTreeMap;
use std::fs::File;

use arca_events::{Event, Type};
use arca_registry::{Descriptor, DescriptorPlatform, media_type};
use arca_storage::Lease;
use arca_types::{DiffId, Digest, ImageId, Reference};

use futures_util::{StreamExt as _, TryStreamExt as _};

use crate::add::Prepared;
use crate::compress::LayerCompression;
use crate::error::Error;
use crate::images::{Change, Images};
use crate::index::Index;
use crate::manifest::{digest_of, make};
use crate::record::{LayerRecord, NameRecord};
use crate::tag::check_name;
use crate::tarstream::ByteStream;

/// Layers that are compressed at the same time.
const AT_ONCE: usize = 4;

/// An image that a build has made.
#[derive(Debug)]
pub struct BuiltImage {
    /// Its configuration, which names the layers.
    pub config: Vec<u8>,
    /// Its layers, the lowest first; storage has them.
    pub layers: Vec<DiffId>,
    /// The image that it was made from, for the classic builder.
    pub parent: Option<ImageId>,
    /// Annotations of its manifest.
    pub annotations: BTreeMap<String, String>,
    /// Annotations of layers where the manifest names them.
    pub layer_annotations: BTreeMap<DiffId, BTreeMap<String, String>>,
    /// How its layers are to be written; `None` for as they are here.
    pub compression: Option<LayerCompression>,
    /// Its names.
    pub names: Vec<Reference>,
    /// Whether an event (`create`) tells of it.
    pub told: bool,
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
        let prepared = self.prepare_built(&built).await?;
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
            if built.told {
                let event = Self::event_of_new(&prepared, "create");
                change = change.event(&images.inner.backends.events, event)?;
            }
            Ok((change, ()))
        })
        .await?;
        drop(built.lease);
        Ok(Built { id, manifest })
    }

    /// Returns an archive of an image that a build has made, without adding it to the images here: an OCI
    /// layout, with the documents that Docker's `load` reads if `docker` says so. `annotations` are those
    /// of the image in the layout's index.
    ///
    /// # Errors
    /// As [`Images::add_built`].
    pub async fn archive_built(
        &self,
        built: &BuiltImage,
        docker: bool,
        annotations: BTreeMap<String, String>,
    ) -> Result<(Built, ByteStream), Error> {
        let mut prepared = self.prepare_built(built).await?;
        let made = Built {
            id: prepared.id.clone(),
            manifest: prepared.record.manifest.clone(),
        };
        let host = prepared.record.platform.clone();
        prepared.record.manifest.platform = Some(DescriptorPlatform {
            architecture: host.architecture.clone(),
            os: host.os.clone(),
            os_version: None,
            os_features: None,
            variant: host.variant.clone(),
        });
        prepared.record.manifest.annotations = annotations;
        let mut index = Index::default();
        index.put_image(prepared.id.clone(), prepared.record);
        let found = index.images.get(&prepared.id).cloned();
        let entry = found.ok_or_else(|| Error::NotFound(prepared.id.to_string()))?;
        let archive = self.archive(entry, built.names.clone(), docker)?;
        Ok((made, archive))
    }

    /// Opens what an image that a build has made consists of, without adding it to the images here: layers,
    /// configuration and manifest, each with its digest and its bytes.
    ///
    /// # Errors
    /// As [`Images::add_built`].
    pub async fn open_built(
        &self,
        built: &BuiltImage,
    ) -> Result<(Built, Vec<(Digest, u64, File)>), Error> {
        let prepared = self.prepare_built(built).await?;
        let manifest = prepared.record.manifest.clone();
        let layers = prepared.record.layers.iter();
        let layers = layers.map(|layer| layer.blob.digest.clone());
        let mut blobs = Vec::new();
        for digest in layers.chain([prepared.id.digest().clone(), manifest.digest.clone()]) {
            let (size, file) = self.open_content(&digest)?;
            blobs.push((digest, size, file));
        }
        let id = prepared.id.clone();
        Ok((Built { id, manifest }, blobs))
    }

    async fn prepare_built(&self, built: &BuiltImage) -> Result<Prepared, Error> {
        let mut layers = self.records_of(&built.layers)?;
        if let Some(wanted) = built.compression {
            let written = layers.into_iter();
            let written = written.map(|layer| self.in_form(layer, wanted, &built.lease));
            let written = futures_util::stream::iter(written).buffered(AT_ONCE);
            layers = written.try_collect().await?;
        }
        for layer in &mut layers {
            let annotations = built.layer_annotations.get(&layer.diff_id);
            let annotations = annotations.cloned().unwrap_or_default();
            layer.blob.annotations.extend(annotations);
        }
        let size = built.config.len() as u64;
        let config = Descriptor::new(media_type::OCI_CONFIG, digest_of(&built.config), size);
        let blobs = layers.iter().map(|layer| layer.blob.clone()).collect();
        let (bytes, manifest) = make(config, blobs, built.annotations.clone())?;
        let manifest = Some((manifest, bytes.as_slice()));
        self.prepare(&built.config, layers, manifest, &built.lease)
            .await
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
