//! The layers of an image, pushed side by side: what the registry has is not sent.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arca_registry::{Descriptor, Mount, Upload};
use arca_types::{DiffId, Repository};
use futures_util::future::try_join_all;

use super::content::{Meter, plain};
use super::known::KnownBlob;
use super::{Push, is_plain};
use crate::compress::{LayerCompression, compressed};
use crate::error::Error;
use crate::progress::{Progress, tell};
use crate::record::LayerRecord;

/// How often the push of a layer is begun before it is given up.
const ATTEMPTS: u32 = 5;
/// Repositories that are asked for a blob.
const MOUNTS: usize = 4;

/// What this push has brought to the repository, or found there.
#[derive(Debug, Default)]
pub(crate) struct Layers(Mutex<BTreeMap<DiffId, Descriptor>>);

impl Layers {
    fn get(&self, layer: &LayerPush) -> Option<Descriptor> {
        let found = self.lock().get(&layer.diff_id).cloned();
        found.filter(|found| layer.compress || found.digest == layer.blob.digest)
    }

    fn put(&self, layer: &LayerPush, descriptor: Descriptor) {
        self.lock().insert(layer.diff_id.clone(), descriptor);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<DiffId, Descriptor>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A layer to be pushed.
#[derive(Debug)]
pub(super) struct LayerPush {
    diff_id: DiffId,
    /// As it is kept here.
    blob: Descriptor,
    compress: bool,
    /// What it may be in a registry: what is kept, or what was made of it before.
    forms: Vec<Descriptor>,
    /// Did the repository have it the last time?
    known_here: bool,
    /// Other repositories of the registry that have it.
    elsewhere: Vec<(Descriptor, Repository)>,
}

impl LayerPush {
    pub(super) fn new(
        layer: &LayerRecord,
        as_it_is: bool,
        known: &[KnownBlob],
        repository: &Repository,
    ) -> Self {
        let compress = !as_it_is && is_plain(&layer.blob);
        let fits = |known: &&KnownBlob| {
            if compress {
                known.diff_id == layer.diff_id && !is_plain(&known.blob)
            } else {
                known.blob.digest == layer.blob.digest
            }
        };
        let mut forms = if compress {
            Vec::new()
        } else {
            vec![layer.blob.clone()]
        };
        let mut elsewhere = Vec::new();
        let mut known_here = false;
        for known in known.iter().filter(fits) {
            if !forms.iter().any(|form| form.digest == known.blob.digest) {
                forms.push(known.blob.clone());
            }
            if known.repository == *repository {
                known_here = true;
            } else if known.repository.domain() == repository.domain() {
                elsewhere.push((known.blob.clone(), known.repository.clone()));
            }
        }
        elsewhere.truncate(MOUNTS);
        Self {
            diff_id: layer.diff_id.clone(),
            blob: layer.blob.clone(),
            compress,
            forms,
            known_here,
            elsewhere,
        }
    }

    fn id(&self) -> &str {
        self.diff_id.digest().short()
    }
}

impl Push<'_> {
    /// Pushes layers, lowest first as they come; each one once. Returns what the registry has.
    pub(super) async fn layers(&self, layers: Vec<LayerPush>) -> Result<Vec<Descriptor>, Error> {
        let mut distinct: Vec<&LayerPush> = Vec::new();
        for layer in layers.iter().rev() {
            if distinct.iter().all(|other| other.diff_id != layer.diff_id) {
                self.step(layer, "Preparing").await;
                distinct.push(layer);
            }
        }
        try_join_all(distinct.into_iter().map(|layer| self.layer(layer))).await?;
        let descriptors = layers.iter().map(|layer| self.layers.get(layer));
        let all: Option<Vec<_>> = descriptors.collect();
        all.ok_or(Error::Interrupted)
    }

    async fn step(&self, layer: &LayerPush, status: &str) {
        tell(self.sink, Progress::step(layer.id(), status, None)).await;
    }

    /// Pushes one layer, with patience.
    async fn layer(&self, layer: &LayerPush) -> Result<(), Error> {
        let registry = self.remote.registry();
        let _slot = match registry.try_upload_slot() {
            Some(slot) => slot,
            None => {
                self.step(layer, "Waiting").await;
                registry.upload_slot().await.map_err(Error::Registry)?
            }
        };
        if self.layers.get(layer).is_some() {
            self.step(layer, "Layer already exists").await;
            return Ok(());
        }
        let mut attempt = 1;
        loop {
            let error = match self.attempt(layer).await {
                Ok(descriptor) => {
                    self.layers.put(layer, descriptor);
                    return Ok(());
                }
                Err(error) => error,
            };
            let again = matches!(&error, Error::Registry(cause) if cause.is_temporary());
            if !again || attempt == ATTEMPTS {
                return Err(error);
            }
            self.pause(layer, registry.config().retry_pause * attempt)
                .await;
            attempt += 1;
        }
    }

    /// Counts the seconds down.
    async fn pause(&self, layer: &LayerPush, mut left: Duration) {
        while !left.is_zero() {
            let seconds = left.as_secs().max(1);
            let plural = if seconds == 1 { "" } else { "s" };
            let status = format!("Retrying in {seconds} second{plural}");
            self.step(layer, &status).await;
            let part = left.min(Duration::from_secs(1));
            tokio::time::sleep(part).await;
            left -= part;
        }
    }

    /// Finds the layer in the repository, has it mounted from another, or uploads it.
    async fn attempt(&self, layer: &LayerPush) -> Result<Descriptor, Error> {
        if (layer.known_here || layer.elsewhere.is_empty())
            && let Some(found) = self.existing(layer).await?
        {
            return Ok(found);
        }
        let mut upload = None;
        for (blob, from) in &layer.elsewhere {
            match self.remote.mount_blob(&blob.digest, from).await {
                Ok(Mount::Mounted) => {
                    let status = format!("Mounted from {}", from.path());
                    self.step(layer, &status).await;
                    return Ok(blob.clone());
                }
                Ok(Mount::Begun(begun)) => upload = Some(begun),
                // The other repository may be somebody else's: no reason to fail.
                Err(error) => tracing::debug!(%error, %from, "cannot mount a blob"),
            }
        }
        if !layer.known_here
            && !layer.elsewhere.is_empty()
            && let Some(found) = self.existing(layer).await?
        {
            return Ok(found);
        }
        let upload = match upload {
            Some(upload) => upload,
            None => self.remote.begin_upload().await.map_err(Error::push)?,
        };
        let pushed = self.upload(layer, upload).await?;
        self.step(layer, "Pushed").await;
        Ok(pushed)
    }

    async fn existing(&self, layer: &LayerPush) -> Result<Option<Descriptor>, Error> {
        for form in &layer.forms {
            let there = self.remote.has_blob(&form.digest).await;
            if there.map_err(Error::push)? {
                self.step(layer, "Layer already exists").await;
                return Ok(Some(form.clone()));
            }
        }
        Ok(None)
    }

    async fn upload(&self, layer: &LayerPush, upload: Upload) -> Result<Descriptor, Error> {
        let digest = &layer.blob.digest;
        if self.lease.blob(digest).is_none() {
            return Err(Error::Content(digest.to_string()));
        }
        let file = self.images.storage().open_blob(digest);
        let file = file.map_err(Error::Storage)?;
        let read = Arc::new(AtomicU64::new(0));
        let meter = || Meter {
            id: layer.id().to_owned(),
            total: layer.blob.size,
            read: Arc::clone(&read),
            sink: self.sink.clone(),
        };
        let pushed = if layer.compress {
            let (portions, made) = compressed(file, LayerCompression::default(), Arc::clone(&read));
            let content = meter().watch(portions);
            let sent = self.remote.upload_stream(upload, content).await;
            let upload = sent.map_err(Error::push)?;
            let made = made.await.ok().ok_or(Error::Interrupted)?;
            let ended = self.remote.end_upload(upload, &made.digest).await;
            ended.map_err(Error::push)?;
            made
        } else {
            let content = meter().watch(plain(file, Arc::clone(&read)));
            let sent = self.remote.upload_whole(upload, &layer.blob, content).await;
            sent.map_err(Error::push)?;
            layer.blob.clone()
        };
        tell(self.sink, meter().line()).await;
        Ok(pushed)
    }
}
