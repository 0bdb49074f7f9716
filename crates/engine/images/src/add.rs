//! Images that are made here: by a commit, an import, a load, a build.

use std::collections::BTreeMap;

use arca_events::Event;
use arca_registry::{Descriptor, media_type};
use arca_storage::Lease;
use arca_types::{ImageId, Reference};

use crate::config::ImageConfig;
use crate::error::Error;
use crate::images::{Change, Images};
use crate::index::{Entry, Index};
use crate::manifest::{digest_of, make};
use crate::record::{ImageRecord, LayerRecord, NameRecord};

/// An image to be made of layers that are here.
#[derive(Debug)]
pub struct NewImage {
    /// Its configuration. `diff_ids` names all layers.
    pub config: ImageConfig,
    /// The image whose layers are the lowest ones.
    pub base: Option<ImageId>,
    /// The layers on top of those of `base`, as storage ingested them.
    pub layers: Vec<arca_storage::Layer>,
    /// The image that it was made from, shown as its parent.
    pub parent: Option<ImageId>,
    /// The name it gets.
    pub name: Option<Reference>,
    /// Keeps the layers until the image does.
    pub lease: Lease,
}

impl Images {
    /// Adds an image and gives it a name.
    ///
    /// # Errors
    /// [`Error::NotFound`] when `base` is gone, [`Error::LayerCount`] when the configuration does not name
    /// the layers; failures of storage.
    pub async fn create(&self, new: NewImage) -> Result<ImageId, Error> {
        let mut layers = match &new.base {
            Some(base) => {
                let index = self.index();
                let entry = index.images.get(base);
                entry
                    .ok_or_else(|| Error::NotFound(base.to_string()))?
                    .record
                    .layers
                    .clone()
            }
            None => Vec::new(),
        };
        layers.extend(new.layers.iter().map(|layer| layer_record(layer, None)));
        let bytes = new.config.to_bytes()?;
        let prepared = self.prepare(&bytes, layers, None, &new.lease).await?;
        self.storage().sync().await.map_err(Error::Storage)?;
        let id = prepared.id.clone();
        let now = self.inner.backends.clock.now();
        self.change(|_, index| {
            let record = ImageRecord {
                parent: new.parent.clone(),
                ..prepared.record
            };
            let record = ImageRecord {
                last_tagged: new.name.as_ref().map(|_| now),
                ..record
            };
            let target = record.manifest.clone();
            let mut change = Change::on(index).put_image(&id, record)?;
            if let Some(name) = &new.name {
                let record = NameRecord {
                    target,
                    images: vec![id.clone()],
                };
                change = change.put_name(name, record)?;
            }
            Ok((change, ()))
        })
        .await?;
        // What the image is made of is held by its record from here on.
        drop(new.lease);
        Ok(id)
    }

    /// Stores the configuration and the manifest of an image, and makes its record. Nobody knows it yet.
    pub(crate) async fn prepare(
        &self,
        config: &[u8],
        layers: Vec<LayerRecord>,
        manifest: Option<(Descriptor, &[u8])>,
        lease: &Lease,
    ) -> Result<Prepared, Error> {
        let parsed = ImageConfig::parse(config)?;
        check_layers(&parsed, &layers)?;
        let id = ImageId(digest_of(config));
        let made;
        let (descriptor, bytes) = match manifest {
            Some((descriptor, bytes)) => (descriptor, bytes),
            None => {
                let size = config.len() as u64;
                let own = Descriptor::new(media_type::OCI_CONFIG, id.digest().clone(), size);
                let blobs = layers.iter().map(|layer| layer.blob.clone()).collect();
                let (bytes, descriptor) = make(own, blobs, BTreeMap::new())?;
                made = bytes;
                (descriptor, made.as_slice())
            }
        };
        let storage = self.storage();
        storage
            .put_blob(lease, Some(id.digest()), config)
            .await
            .map_err(Error::Storage)?;
        storage
            .put_blob(lease, Some(&descriptor.digest), bytes)
            .await
            .map_err(Error::Storage)?;
        let record = ImageRecord {
            manifest: descriptor,
            layers,
            platform: parsed.platform.clone(),
            created: parsed.created,
            labels: parsed.config.labels.clone(),
            parent: None,
            last_tagged: None,
        };
        Ok(Prepared { id, record })
    }

    /// An event of an image that is not known yet.
    pub(crate) fn event_of_new(prepared: &Prepared, action: &str) -> Event {
        let mut index = Index::default();
        index.put_image(prepared.id.clone(), prepared.record.clone());
        let entry = index.images.get(&prepared.id).map(AsRef::<Entry>::as_ref);
        entry.map_or_else(
            || Event::new(arca_events::Type::Image, action, prepared.id.as_str()),
            |entry| Self::event_of(entry, action),
        )
    }
}

/// An image whose content is here and whose record is not.
#[derive(Debug, Clone)]
pub(crate) struct Prepared {
    pub(crate) id: ImageId,
    pub(crate) record: ImageRecord,
}

impl Prepared {
    /// The record that replaces what is known of the image: what was learnt here stays.
    pub(crate) fn over(self, index: &Index) -> ImageRecord {
        match index.images.get(&self.id) {
            Some(old) => ImageRecord {
                parent: old.record.parent.clone(),
                last_tagged: old.record.last_tagged,
                ..self.record
            },
            None => self.record,
        }
    }
}

/// The record of a layer that storage has. `descriptor` is how its blob was announced.
pub(crate) fn layer_record(
    layer: &arca_storage::Layer,
    descriptor: Option<&Descriptor>,
) -> LayerRecord {
    let blob = descriptor.cloned().unwrap_or_else(|| {
        let plain = layer.blob == *layer.diff_id.digest();
        let kind = if plain {
            media_type::OCI_LAYER
        } else {
            media_type::OCI_LAYER_GZIP
        };
        Descriptor::new(kind, layer.blob.clone(), layer.blob_size)
    });
    LayerRecord {
        diff_id: layer.diff_id.clone(),
        size: layer.size,
        blob,
    }
}

fn check_layers(config: &ImageConfig, layers: &[LayerRecord]) -> Result<(), Error> {
    if config.diff_ids.len() != layers.len() {
        return Err(Error::LayerCount {
            layers: layers.len(),
            diff_ids: config.diff_ids.len(),
        });
    }
    let pairs = config.diff_ids.iter().zip(layers).enumerate();
    for (position, (expected, layer)) in pairs {
        if *expected != layer.diff_id {
            return Err(Error::DiffId {
                position,
                expected: expected.to_string(),
                got: layer.diff_id.to_string(),
            });
        }
    }
    Ok(())
}
