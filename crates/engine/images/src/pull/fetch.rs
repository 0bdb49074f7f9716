//! From a name's target to an image whose content is here.

use std::sync::Arc;

use arca_registry::{Descriptor, Manifest, Remote, Resolved, media_type};
use arca_storage::Lease;
use arca_types::{Platform, Reference};
use bytes::Bytes;
use futures_util::future::try_join_all;

use crate::add::{Prepared, layer_record};
use crate::config::ImageConfig;
use crate::error::Error;
use crate::images::Images;
use crate::manifest::{Document, ImageManifest, choose, digest_of, parse};
use crate::progress::{Progress, ProgressSink, tell};
use crate::pull::in_flight::LayerTask;
use crate::record::LayerRecord;

/// Configurations up to this many bytes are read.
const CONFIG_LIMIT: u64 = 8 * 1024 * 1024;

/// What a name stands for, read.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) name: String,
    pub(super) manifest: Manifest,
    pub(super) document: Document,
}

/// An image whose content is here; dropped when its records hold the content.
#[derive(Debug)]
pub(super) struct Fetched {
    pub(super) prepared: Prepared,
    _lease: Lease,
    /// Each holds the lease of its layer.
    _tasks: Vec<Arc<LayerTask>>,
}

impl Images {
    /// Reads the manifest or index that a name stands for: from storage when it is there.
    pub(super) async fn read_target(
        &self,
        remote: &Remote,
        resolved: Resolved,
        reference: &Reference,
    ) -> Result<Target, Error> {
        let (name, repository) = (reference.familiar(), reference.repository().familiar());
        let manifest = match resolved.manifest {
            Some(manifest) => manifest,
            None => self
                .manifest(remote, &resolved.descriptor)
                .await?
                .map_err(|error| Error::pull(error, &name, &repository))?,
        };
        let document = parse(&manifest.bytes, &manifest.descriptor.media_type, &name)?;
        Ok(Target {
            name,
            manifest,
            document,
        })
    }

    /// Reads a manifest from storage, else from the registry.
    pub(super) async fn manifest(
        &self,
        remote: &Remote,
        descriptor: &Descriptor,
    ) -> Result<Result<Manifest, arca_registry::Error>, Error> {
        if self.storage().blob(&descriptor.digest).is_some() {
            let bytes = Bytes::from(self.blob(&descriptor.digest).await?);
            return Ok(Ok(Manifest {
                descriptor: descriptor.clone(),
                bytes,
            }));
        }
        Ok(remote.manifest(&descriptor.digest).await)
    }

    /// Fetches what is missing of the image for `platform`.
    pub(super) async fn fetch(
        &self,
        remote: &Remote,
        target: Target,
        platform: Option<&Platform>,
        sink: &ProgressSink,
    ) -> Result<Fetched, Error> {
        let lease = self.storage().lease();
        let host = Platform::host();
        let wanted = platform.unwrap_or(&host);
        let (manifest, image) = match target.document {
            Document::Image(image) => (target.manifest, image),
            Document::Index(entries) => {
                let chosen = choose(&entries, wanted)?;
                let manifest = self
                    .manifest(remote, chosen)
                    .await?
                    .map_err(Error::Registry)?;
                let kind = pick(&chosen.media_type, &manifest.descriptor.media_type);
                let Document::Image(image) = parse(&manifest.bytes, &kind, &target.name)? else {
                    return Err(Error::ManifestContent("an index in an index"));
                };
                let index = &target.manifest;
                self.storage()
                    .put_blob(&lease, Some(&index.descriptor.digest), &index.bytes)
                    .await
                    .map_err(Error::Storage)?;
                (manifest, image)
            }
        };
        self.fetch_image(remote, (manifest, &image), lease, sink)
            .await
    }

    async fn fetch_image(
        &self,
        remote: &Remote,
        (manifest, image): (Manifest, &ImageManifest),
        lease: Lease,
        sink: &ProgressSink,
    ) -> Result<Fetched, Error> {
        let config = self.fetch_config(remote, &image.config).await?;
        let parsed = ImageConfig::parse(&config)?;
        if parsed.diff_ids.len() != image.layers.len() {
            return Err(Error::LayerCount {
                layers: image.layers.len(),
                diff_ids: parsed.diff_ids.len(),
            });
        }
        let (layers, tasks) = self
            .fetch_layers(remote, (image, &parsed), &lease, sink)
            .await?;
        let kind = pick(&manifest.descriptor.media_type, &image.media_type);
        let descriptor = Descriptor {
            media_type: kind,
            ..manifest.descriptor
        };
        let manifest = Some((descriptor, manifest.bytes.as_ref()));
        let prepared = self.prepare(&config, layers, manifest, &lease).await?;
        Ok(Fetched {
            prepared,
            _lease: lease,
            _tasks: tasks,
        })
    }

    pub(super) async fn fetch_config(
        &self,
        remote: &Remote,
        config: &Descriptor,
    ) -> Result<Bytes, Error> {
        if self.storage().blob(&config.digest).is_some() {
            return Ok(Bytes::from(self.blob(&config.digest).await?));
        }
        let bytes = remote
            .small_blob(config, CONFIG_LIMIT)
            .await
            .map_err(Error::Registry)?;
        if digest_of(&bytes) != config.digest {
            return Err(Error::ConfigDigest(config.digest.clone()));
        }
        Ok(bytes)
    }

    /// Fetches the layers that are not here, at the same time.
    async fn fetch_layers(
        &self,
        remote: &Remote,
        (image, config): (&ImageManifest, &ImageConfig),
        lease: &Lease,
        sink: &ProgressSink,
    ) -> Result<(Vec<LayerRecord>, Vec<Arc<LayerTask>>), Error> {
        let mut steps = Vec::new();
        let mut tasks = Vec::new();
        for (position, (layer, diff_id)) in image.layers.iter().zip(&config.diff_ids).enumerate() {
            let id = layer.digest.short();
            if let Some(here) = layer_here(lease, layer, diff_id) {
                tell(sink, Progress::step(id, "Already exists", None)).await;
                steps.push(Step::Here(here));
                continue;
            }
            let task = self.inner.in_flight.join(self.storage(), remote, layer);
            tell(sink, Progress::step(id, "Pulling fs layer", None)).await;
            tasks.push(Arc::clone(&task));
            steps.push(Step::Coming {
                position,
                task,
                layer: layer.clone(),
                diff_id: diff_id.clone(),
            });
        }
        let layers = try_join_all(steps.into_iter().map(|step| step.finish(sink))).await?;
        Ok((layers, tasks))
    }
}

/// The record of a layer that is unpacked here. The blob has to be here as well, for push and save.
fn layer_here(
    lease: &Lease,
    layer: &Descriptor,
    diff_id: &arca_types::DiffId,
) -> Option<LayerRecord> {
    lease.blob(&layer.digest)?;
    let size = lease.layer(diff_id)?.size;
    Some(LayerRecord {
        diff_id: diff_id.clone(),
        size,
        blob: layer.clone(),
    })
}

/// One layer of the image that is being fetched.
enum Step {
    Here(LayerRecord),
    Coming {
        position: usize,
        task: Arc<LayerTask>,
        layer: Descriptor,
        diff_id: arca_types::DiffId,
    },
}

impl Step {
    async fn finish(self, sink: &ProgressSink) -> Result<LayerRecord, Error> {
        let (position, task, layer, expected) = match self {
            Self::Here(record) => return Ok(record),
            Self::Coming {
                position,
                task,
                layer,
                diff_id,
            } => (position, task, layer, diff_id),
        };
        let done = task.follow(layer.digest.short(), sink).await?;
        if done.diff_id != expected {
            return Err(Error::DiffId {
                position,
                expected: expected.to_string(),
                got: done.diff_id.to_string(),
            });
        }
        Ok(layer_record(&done, Some(&layer)))
    }
}

/// The more telling of two media types.
fn pick(first: &str, second: &str) -> String {
    let known = |kind: &str| media_type::is_manifest(kind) || media_type::is_index(kind);
    if known(first) || second.is_empty() {
        first.to_owned()
    } else {
        second.to_owned()
    }
}
