//! A file system as an image (`ImageCreate` with `fromSrc`).

use arca_registry::{Descriptor, media_type};
use arca_storage::LayerSource;
use arca_types::{ImageId, Platform, Reference};
use futures_util::TryStreamExt as _;

use crate::add::layer_record;
use crate::config::{HistoryEntry, ImageConfig, RunConfig};
use crate::decompress::{Compression, detect, plain};
use crate::error::Error;
use crate::images::{Change, Images};
use crate::leftovers::Leftovers;
use crate::progress::{Detail, Progress, ProgressSink, tell};
use crate::record::NameRecord;
use crate::tag::{check_name, target};
use crate::tarstream::{ByteStream, Source};

/// Bytes between two lines of progress.
const PERIOD: u64 = 512 * 1024;

/// What is to be imported, checked.
#[derive(Debug, Clone)]
pub struct ImportRequest {
    name: Option<Reference>,
    message: String,
    config: RunConfig,
    platform: Platform,
}

impl ImportRequest {
    /// Joins the parameters of a request. `source` is where the content comes from, for the comment.
    ///
    /// # Errors
    /// [`Error::Reference`], [`Error::Tag`], [`Error::DigestReference`] for the name;
    /// [`Error::ChangeCommand`], [`Error::Change`]; [`Error::OperatingSystem`].
    pub fn new(
        source: &str,
        (repo, tag): (&str, &str),
        message: &str,
        changes: &[String],
        platform: Option<Platform>,
    ) -> Result<Self, Error> {
        let name = target(repo, tag)?;
        name.iter().try_for_each(check_name)?;
        let platform = platform.unwrap_or_else(Platform::host);
        if platform.os != Platform::host().os {
            return Err(Error::OperatingSystem);
        }
        let mut config = RunConfig::default();
        config.apply(changes)?;
        let message = if message.is_empty() {
            format!("Imported from {source}")
        } else {
            message.to_owned()
        };
        Ok(Self {
            name,
            message,
            config,
            platform,
        })
    }
}

impl Images {
    /// As [`import`](Self::import), with the archive that is at `address`.
    ///
    /// # Errors
    /// [`Error::Registry`] when it cannot be fetched.
    pub async fn import_from(
        &self,
        request: &ImportRequest,
        address: &str,
        sink: &ProgressSink,
    ) -> Result<ImageId, Error> {
        let fetched = self
            .inner
            .backends
            .registry
            .fetch(address)
            .await
            .map_err(Error::Registry)?;
        tell(
            sink,
            Progress::status(format!("Downloading from {address}")),
        )
        .await;
        let total = fetched.size.unwrap_or(0);
        let told = sink.clone();
        let mut current = 0;
        let mut due = 0;
        let content = fetched.content.inspect_ok(move |chunk| {
            current += chunk.len() as u64;
            if current >= due || current == total {
                due = current + PERIOD;
                let line = Progress::step("", "Importing", Some(Detail { current, total }));
                // A line that nobody has room for is not worth waiting for.
                if told.try_send(line).is_err() {
                    tracing::trace!("a line of progress was left out");
                }
            }
        });
        self.import(request, Box::pin(content), sink).await
    }

    /// Makes an image of one layer from an archive of a file system, plain or compressed.
    ///
    /// # Errors
    /// [`Error::Layer`] for what is no such archive; failures of storage.
    pub async fn import(
        &self,
        request: &ImportRequest,
        archive: ByteStream,
        sink: &ProgressSink,
    ) -> Result<ImageId, Error> {
        let leftovers = Leftovers::of(self);
        let id = leftovers
            .settle(self.import_archive(request, archive).await)
            .await?;
        tell(sink, Progress::status(id.to_string())).await;
        Ok(id)
    }

    async fn import_archive(
        &self,
        request: &ImportRequest,
        archive: ByteStream,
    ) -> Result<ImageId, Error> {
        let lease = self.storage().lease();
        let mut source = Source::new(archive);
        let mut compression = detect(&source.peek(6).await?)?;
        if matches!(compression, Compression::Bzip2 | Compression::Xz) {
            // No layer may be compressed so.
            source = plain(source.into_stream()).await?;
            compression = Compression::None;
        }
        let mut ingest = self.storage().ingest_layer(&lease, LayerSource::default());
        while let Some(chunk) = source.next(usize::MAX).await? {
            ingest.write(chunk).await.map_err(Error::Layer)?;
        }
        let layer = ingest.finish().await.map_err(Error::Layer)?;
        let kind = match compression {
            Compression::None | Compression::Bzip2 | Compression::Xz => media_type::OCI_LAYER,
            Compression::Gzip => media_type::OCI_LAYER_GZIP,
            Compression::Zstd => media_type::OCI_LAYER_ZSTD,
        };
        let blob = Descriptor::new(kind, layer.blob.clone(), layer.blob_size);
        let config = self.imported_config(request, &layer).to_bytes()?;
        let layers = vec![layer_record(&layer, Some(&blob))];
        let prepared = self.prepare(&config, layers, None, &lease).await?;
        self.storage().sync().await.map_err(Error::Storage)?;
        let id = prepared.id.clone();
        self.change(|images, index| {
            let event = Self::event_of_new(&prepared, "import");
            let mut record = prepared.over(index);
            record.last_tagged = request
                .name
                .as_ref()
                .map(|_| images.inner.backends.clock.now());
            let name = NameRecord {
                target: record.manifest.clone(),
                images: vec![id.clone()],
            };
            let mut change = Change::on(index).put_image(&id, record)?;
            if let Some(reference) = &request.name {
                change = change.put_name(reference, name)?;
            }
            Ok((change.event(&images.inner.backends.events, event)?, ()))
        })
        .await?;
        drop(lease);
        Ok(id)
    }

    fn imported_config(&self, request: &ImportRequest, layer: &arca_storage::Layer) -> ImageConfig {
        let now = self.inner.backends.clock.now();
        ImageConfig {
            platform: request.platform.clone(),
            architecture: request.platform.architecture.clone(),
            os: request.platform.os.clone(),
            variant: request.platform.variant.clone().unwrap_or_default(),
            os_version: String::new(),
            created: Some(now),
            author: String::new(),
            comment: request.message.clone(),
            docker_version: String::new(),
            container: String::new(),
            config: request.config.clone(),
            diff_ids: vec![layer.diff_id.clone()],
            history: vec![HistoryEntry {
                created: Some(now),
                comment: request.message.clone(),
                ..HistoryEntry::default()
            }],
        }
    }
}
