//! Images from archives (`ImageLoad`): Docker's and OCI's, read in one pass.
//!
//! The list of what is in an archive comes last, so each member is taken for what it looks like: a layer
//! is unpacked while its bytes arrive, a document is kept. What the list does not name goes with the lease.

mod listing;

use arca_registry::Descriptor;
use arca_storage::{Layer, LayerSource, Lease};
use arca_types::{Digest, ImageId, Platform, Reference};

use crate::add::{Prepared, layer_record};
use crate::config::ImageConfig;
use crate::decompress::{Compression, detect, plain};
use crate::error::Error;
use crate::images::{Change, Images};
use crate::layout::blob_digest;
use crate::leftovers::Leftovers;
use crate::manifest::digest_of;
use crate::progress::{Detail, Progress, ProgressSink, tell};
use crate::record::{LayerRecord, NameRecord};
use crate::tarstream::{ByteStream, Kind, Member, TarStream, checksum_is_right};
use listing::{Contents, Found, images_in, layers_of};

/// Documents up to this many bytes are kept.
const DOCUMENT_LIMIT: u64 = 8 * 1024 * 1024;
/// All documents of an archive together.
const DOCUMENTS_LIMIT: u64 = 64 * 1024 * 1024;

/// What is asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LoadRequest {
    /// Only the images of this platform.
    pub platform: Option<Platform>,
    /// No progress of single layers.
    pub quiet: bool,
}

/// A load while it runs.
struct Load<'a> {
    images: &'a Images,
    request: &'a LoadRequest,
    sink: &'a ProgressSink,
    lease: Lease,
    contents: Contents,
}

impl Images {
    /// Reads an archive of images and makes them known by the names in it.
    ///
    /// # Errors
    /// [`Error::Archive`] and the like for an archive that is not one of images, or whose content is not
    /// what it says; nothing of it stays then, but images that were told of.
    pub async fn load(
        &self,
        request: &LoadRequest,
        archive: ByteStream,
        sink: &ProgressSink,
    ) -> Result<(), Error> {
        let leftovers = Leftovers::of(self);
        leftovers
            .settle(self.load_archive(request, archive, sink).await)
            .await
    }

    async fn load_archive(
        &self,
        request: &LoadRequest,
        archive: ByteStream,
        sink: &ProgressSink,
    ) -> Result<(), Error> {
        let lease = self.storage().lease();
        let contents = Contents::default();
        let mut load = Load {
            images: self,
            request,
            sink,
            lease,
            contents,
        };
        let mut tar = TarStream::new(plain(archive).await?);
        while let Some(member) = tar.next().await? {
            load.member(&mut tar, member).await?;
        }
        for found in images_in(&load.contents)? {
            load.image(found).await?;
        }
        Ok(())
    }

    /// A layer that an image here has already, by its blob.
    fn layer_of_blob(&self, digest: &Digest, lease: &Lease) -> Option<LayerRecord> {
        let index = self.index();
        let layers = || index.images.values().flat_map(|entry| &entry.record.layers);
        let found = layers().find(|layer| layer.blob.digest == *digest)?;
        lease.blob(digest)?;
        lease.layer(&found.diff_id)?;
        Some(found.clone())
    }

    /// Makes a loaded image known. Returns what is to be told.
    async fn commit_loaded(
        &self,
        prepared: Prepared,
        names: &[Reference],
    ) -> Result<Vec<String>, Error> {
        self.change(|images, index| {
            let id = prepared.id.clone();
            let event = Self::event_of_new(&prepared, "load");
            let mut record = prepared.over(index);
            if !names.is_empty() {
                record.last_tagged = Some(images.inner.backends.clock.now());
            }
            let target = record.manifest.clone();
            let mut change = Change::on(index).put_image(&id, record)?;
            let mut told = Vec::new();
            for name in names {
                told.extend(renamed(index, name, &id));
                told.push(format!("Loaded image: {}\n", name.familiar()));
                let record = NameRecord {
                    target: target.clone(),
                    images: vec![id.clone()],
                };
                change = change.put_name(name, record)?;
            }
            if names.is_empty() {
                told.push(format!("Loaded image ID: {id}\n"));
            }
            let change = change.event(&images.inner.backends.events, event)?;
            Ok((change, told))
        })
        .await
    }
}

impl Load<'_> {
    async fn member(&mut self, tar: &mut TarStream, member: Member) -> Result<(), Error> {
        match member.kind {
            Kind::Link(target) => {
                self.contents.links.insert(member.path, target);
                return Ok(());
            }
            Kind::File => {}
            Kind::Directory | Kind::Other => return Ok(()),
        }
        let first = tar.peek(512).await?;
        let digest = blob_digest(&member.path);
        if looks_like_layer(&member.path, &first, digest.is_some()) {
            let known = digest
                .as_ref()
                .and_then(|digest| self.images.layer_of_blob(digest, &self.lease));
            let layer = match known {
                Some(layer) => layer,
                None => self.layer(tar, &member, digest).await?,
            };
            self.contents.layers.insert(member.path, layer);
        } else if member.size <= DOCUMENT_LIMIT {
            self.document(tar, member, digest).await?;
        }
        Ok(())
    }

    async fn document(
        &mut self,
        tar: &mut TarStream,
        member: Member,
        digest: Option<Digest>,
    ) -> Result<(), Error> {
        self.contents.size_of_documents += member.size;
        if self.contents.size_of_documents > DOCUMENTS_LIMIT {
            return Err(Error::Archive("its documents are too large".to_owned()));
        }
        let content = tar.content(DOCUMENT_LIMIT).await?;
        if digest.is_some_and(|digest| digest_of(&content) != digest) {
            return Err(Error::Archive(format!(
                "{} has another digest",
                member.path
            )));
        }
        self.contents.documents.insert(member.path, content);
        Ok(())
    }

    async fn layer(
        &self,
        tar: &mut TarStream,
        member: &Member,
        digest: Option<Digest>,
    ) -> Result<LayerRecord, Error> {
        let compression = detect(&tar.peek(6).await?)?;
        let id = short_id(&member.path, digest.as_ref());
        let size = Some(member.size);
        let source = LayerSource {
            digest,
            size,
            ..LayerSource::default()
        };
        let mut ingest = self.images.storage().ingest_layer(&self.lease, source);
        let failed = |error: arca_storage::Error| match &error {
            arca_storage::Error::Verification(digest) => Error::LayerDigest(digest.clone()),
            _ => Error::Layer(error),
        };
        let mut told = 0;
        while let Some(chunk) = tar.chunk().await? {
            ingest.write(chunk).await.map_err(failed)?;
            let received = ingest.received();
            // A line for each hundredth, as far as that is more than a page of bytes.
            let due = received - told >= (member.size / 100).max(512 * 1024);
            if !self.request.quiet && (due || received == member.size) {
                told = received;
                let detail = Detail {
                    current: received,
                    total: member.size,
                };
                tell(
                    self.sink,
                    Progress::step(&id, "Loading layer", Some(detail)),
                )
                .await;
            }
        }
        let layer = ingest.finish().await.map_err(failed)?;
        Ok(record_of(&layer, compression))
    }

    async fn image(&self, found: Found) -> Result<(), Error> {
        let config = ImageConfig::parse(&found.config)?;
        let wanted = self.request.platform.as_ref();
        if wanted.is_some_and(|wanted| !wanted.runs(&config.platform)) {
            return Ok(());
        }
        let layers = layers_of(&found, &config, &self.contents)?;
        let manifest = found.manifest.as_ref();
        let manifest = manifest.map(|(descriptor, bytes)| (descriptor.clone(), bytes.as_ref()));
        let images = self.images;
        let prepared = images
            .prepare(&found.config, layers, manifest, &self.lease)
            .await?;
        images.storage().sync().await.map_err(Error::Storage)?;
        for text in images.commit_loaded(prepared, &found.names).await? {
            tell(self.sink, Progress::Stream(text)).await;
        }
        Ok(())
    }
}

/// A name that another image had is taken from it, and that is said.
fn renamed(index: &crate::index::Index, name: &Reference, id: &ImageId) -> Option<String> {
    let old = index.name(name)?.record.images.first()?;
    (old != id).then(|| {
        format!(
            "The image {} already exists, renaming the old one with ID {old} to empty string\n",
            name.familiar()
        )
    })
}

/// How a layer is called in progress: by its digest, else by its directory.
fn short_id(path: &str, digest: Option<&Digest>) -> String {
    match digest {
        Some(digest) => digest.short().to_owned(),
        None => path
            .split('/')
            .next()
            .unwrap_or(path)
            .chars()
            .take(12)
            .collect(),
    }
}

fn record_of(layer: &Layer, compression: Compression) -> LayerRecord {
    use arca_registry::media_type as kind;
    let kind = match compression {
        // Storage takes no layer that is compressed otherwise.
        Compression::None | Compression::Bzip2 | Compression::Xz => kind::OCI_LAYER,
        Compression::Gzip => kind::OCI_LAYER_GZIP,
        Compression::Zstd => kind::OCI_LAYER_ZSTD,
    };
    let blob = Descriptor::new(kind, layer.blob.clone(), layer.blob_size);
    layer_record(layer, Some(&blob))
}

/// A layer is what is called one, or a blob that begins like an archive.
fn looks_like_layer(path: &str, first: &[u8], is_blob: bool) -> bool {
    let named = path.ends_with("/layer.tar") || (path.ends_with(".tar") && !path.contains('/'));
    let archive = || {
        detect(first).is_ok_and(|compression| compression != Compression::None)
            || checksum_is_right(first)
            || (first.len() == 512 && first.iter().all(|byte| *byte == 0))
    };
    named || (is_blob && archive())
}
