//! Images from archives (`ImageLoad`): Docker's and OCI's, read in one pass.
//!
//! The list of what is in an archive comes last, so each member is taken for what it looks like: a layer
//! is unpacked while its bytes arrive, a document is kept. What the list does not name goes with the lease.

use std::collections::BTreeMap;

use arca_registry::Descriptor;
use arca_storage::{Layer, LayerSource, Lease};
use arca_types::{Digest, ImageId, Platform, Reference};
use bytes::Bytes;

use crate::add::{Prepared, layer_record};
use crate::config::ImageConfig;
use crate::decompress::{Compression, detect, plain};
use crate::error::Error;
use crate::images::{Change, Images};
use crate::layout::{
    ArchivedImage, INDEX_FILE, LayoutIndex, MANIFEST_FILE, NAME_ANNOTATION, REF_ANNOTATION,
    blob_digest, blob_path,
};
use crate::manifest::{Document, digest_of, parse};
use crate::progress::{Detail, Progress, ProgressSink, tell};
use crate::record::{LayerRecord, NameRecord};
use crate::tarstream::{ByteStream, Kind, Member, TarStream, checksum_is_right};

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

/// What an archive held.
#[derive(Default)]
struct Contents {
    documents: BTreeMap<String, Bytes>,
    layers: BTreeMap<String, LayerRecord>,
    links: BTreeMap<String, String>,
    size_of_documents: u64,
}

/// One image of an archive.
struct Found {
    config: Bytes,
    layers: Vec<String>,
    names: Vec<Reference>,
    manifest: Option<(Descriptor, Bytes)>,
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
        let lease = self.storage().lease();
        let mut tar = TarStream::new(plain(archive).await?);
        let mut contents = Contents::default();
        while let Some(member) = tar.next().await? {
            self.load_member(&mut tar, member, &mut contents, &lease, request, sink)
                .await?;
        }
        for found in images_in(&contents)? {
            self.load_image(found, &contents, &lease, request, sink)
                .await?;
        }
        Ok(())
    }

    async fn load_member(
        &self,
        tar: &mut TarStream,
        member: Member,
        contents: &mut Contents,
        lease: &Lease,
        request: &LoadRequest,
        sink: &ProgressSink,
    ) -> Result<(), Error> {
        match member.kind {
            Kind::Link(target) => {
                contents.links.insert(member.path, target);
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
                .and_then(|digest| self.layer_of_blob(digest, lease));
            let layer = match known {
                Some(layer) => layer,
                None => {
                    let sink = (!request.quiet).then_some(sink);
                    self.load_layer(tar, &member, digest, lease, sink).await?
                }
            };
            contents.layers.insert(member.path, layer);
        } else if member.size <= DOCUMENT_LIMIT {
            contents.size_of_documents += member.size;
            if contents.size_of_documents > DOCUMENTS_LIMIT {
                return Err(Error::Archive("its documents are too large".to_owned()));
            }
            let content = tar.content(DOCUMENT_LIMIT).await?;
            if digest.is_some_and(|digest| digest_of(&content) != digest) {
                return Err(Error::Archive(format!(
                    "{} has another digest",
                    member.path
                )));
            }
            contents.documents.insert(member.path, content);
        }
        Ok(())
    }

    async fn load_layer(
        &self,
        tar: &mut TarStream,
        member: &Member,
        digest: Option<Digest>,
        lease: &Lease,
        sink: Option<&ProgressSink>,
    ) -> Result<LayerRecord, Error> {
        let compression = detect(&tar.peek(6).await?)?;
        let id = short_id(&member.path, digest.as_ref());
        let source = LayerSource {
            digest: digest.clone(),
            size: Some(member.size),
            ..LayerSource::default()
        };
        let mut ingest = self.storage().ingest_layer(lease, source);
        let failed = |error: arca_storage::Error| match &error {
            arca_storage::Error::Verification(digest) => Error::LayerDigest(digest.clone()),
            _ => Error::Layer(error),
        };
        let mut told = 0;
        while let Some(chunk) = tar.chunk().await? {
            ingest.write(chunk).await.map_err(failed)?;
            let received = ingest.received();
            // A line for each hundredth, as far as that is more than a page of bytes.
            if received - told >= (member.size / 100).max(512 * 1024) || received == member.size {
                told = received;
                loading(sink, &id, received, member.size).await;
            }
        }
        let layer = ingest.finish().await.map_err(failed)?;
        Ok(record_of(&layer, compression))
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

    async fn load_image(
        &self,
        found: Found,
        contents: &Contents,
        lease: &Lease,
        request: &LoadRequest,
        sink: &ProgressSink,
    ) -> Result<(), Error> {
        let config = ImageConfig::parse(&found.config)?;
        if request
            .platform
            .as_ref()
            .is_some_and(|wanted| !wanted.runs(&config.platform))
        {
            return Ok(());
        }
        let layers = layers_of(&found, &config, contents)?;
        let manifest = found.manifest.as_ref();
        let manifest = manifest.map(|(descriptor, bytes)| (descriptor.clone(), bytes.as_ref()));
        let prepared = self.prepare(&found.config, layers, manifest, lease).await?;
        self.storage().sync().await.map_err(Error::Storage)?;
        for text in self.commit_loaded(prepared, &found.names).await? {
            tell(sink, Progress::Stream(text)).await;
        }
        Ok(())
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

async fn loading(sink: Option<&ProgressSink>, id: &str, current: u64, total: u64) {
    if let Some(sink) = sink {
        tell(
            sink,
            Progress::step(id, "Loading layer", Some(Detail { current, total })),
        )
        .await;
    }
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
        Compression::None => kind::OCI_LAYER,
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

/// The layers of an image, in the order of its configuration.
fn layers_of(
    found: &Found,
    config: &ImageConfig,
    contents: &Contents,
) -> Result<Vec<LayerRecord>, Error> {
    if found.layers.len() != config.diff_ids.len() {
        return Err(Error::Archive(format!(
            "invalid manifest, layers length mismatch: expected {}, got {}",
            config.diff_ids.len(),
            found.layers.len()
        )));
    }
    let layer = |path: &String| {
        let path = contents.follow(path);
        contents
            .layers
            .get(&path)
            .cloned()
            .ok_or(Error::MissingInArchive(path))
    };
    found.layers.iter().map(layer).collect()
}

impl Contents {
    /// Follows links between members: an archive of old has a layer once and links to it.
    fn follow(&self, path: &str) -> String {
        let mut path = path.to_owned();
        for _step in 0..10 {
            let Some(target) = self.links.get(&path) else {
                break;
            };
            path = join(&path, target);
        }
        path
    }

    fn document(&self, path: &str) -> Result<&Bytes, Error> {
        let path = self.follow(path);
        self.documents
            .get(&path)
            .ok_or(Error::MissingInArchive(path))
    }
}

/// Resolves a link by names alone.
fn join(from: &str, target: &str) -> String {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            other => parts.push(other),
        }
    }
    parts.join("/")
}

/// Reads the list of an archive, Docker's before OCI's.
fn images_in(contents: &Contents) -> Result<Vec<Found>, Error> {
    let index = contents.documents.get(INDEX_FILE);
    let index: Option<LayoutIndex> = match index {
        Some(bytes) => Some(serde_json::from_slice(bytes).map_err(Error::Manifest)?),
        None => None,
    };
    if let Some(bytes) = contents.documents.get(MANIFEST_FILE) {
        let listed: Vec<ArchivedImage> = serde_json::from_slice(bytes).map_err(Error::Manifest)?;
        return listed
            .into_iter()
            .map(|image| dockers(image, index.as_ref(), contents))
            .collect();
    }
    let Some(index) = index else {
        return Err(Error::Archive(format!(
            "it has neither {MANIFEST_FILE} nor {INDEX_FILE}"
        )));
    };
    let mut found: Vec<Found> = Vec::new();
    for descriptor in &index.manifests {
        ocis(descriptor, &names_of(descriptor)?, contents, 0, &mut found)?;
    }
    Ok(found)
}

/// An image that Docker's list names. Its manifest, where there is one, is found by the configuration.
fn dockers(
    image: ArchivedImage,
    index: Option<&LayoutIndex>,
    contents: &Contents,
) -> Result<Found, Error> {
    let config = contents.document(&image.config)?.clone();
    let digest = digest_of(&config);
    let layers = image.layers.unwrap_or_default();
    let manifests = index
        .map(|index| index.manifests.as_slice())
        .unwrap_or_default();
    let manifest = manifests.iter().find_map(|descriptor| {
        let bytes = contents.document(&blob_path(&descriptor.digest)).ok()?;
        let Document::Image(image) = parse(bytes, &descriptor.media_type, "").ok()? else {
            return None;
        };
        let same = image.config.digest == digest
            && image
                .layers
                .iter()
                .map(|layer| blob_path(&layer.digest))
                .eq(layers.iter().cloned());
        let plain = Descriptor {
            annotations: BTreeMap::new(),
            ..descriptor.clone()
        };
        same.then(|| (plain, bytes.clone()))
    });
    let mut names = Vec::new();
    for tag in image.repo_tags.unwrap_or_default() {
        let name: Reference = tag.parse()?;
        if name.digest().is_some() {
            return Err(Error::Archive(format!("invalid tag {tag:?}")));
        }
        names.push(name);
    }
    Ok(Found {
        config,
        layers,
        names,
        manifest,
    })
}

/// The images of one entry of an OCI layout: those of an index, as far as their content is there.
fn ocis(
    descriptor: &Descriptor,
    names: &[Reference],
    contents: &Contents,
    depth: usize,
    found: &mut Vec<Found>,
) -> Result<(), Error> {
    let path = blob_path(&descriptor.digest);
    let Some(bytes) = contents.documents.get(&path) else {
        // An index may name platforms that its archive leaves out.
        return if depth > 0 {
            Ok(())
        } else {
            Err(Error::MissingInArchive(path))
        };
    };
    match parse(bytes, &descriptor.media_type, "")? {
        Document::Image(image) => {
            let Ok(config) = contents.document(&blob_path(&image.config.digest)) else {
                return if depth > 0 {
                    Ok(())
                } else {
                    Err(Error::MissingInArchive(path))
                };
            };
            let plain = Descriptor {
                annotations: BTreeMap::new(),
                platform: None,
                ..descriptor.clone()
            };
            found.push(Found {
                config: config.clone(),
                layers: image
                    .layers
                    .iter()
                    .map(|layer| blob_path(&layer.digest))
                    .collect(),
                names: names.to_vec(),
                manifest: Some((plain, bytes.clone())),
            });
        }
        Document::Index(_) if depth > 1 => {
            return Err(Error::Archive("indexes are nested too deeply".to_owned()));
        }
        Document::Index(entries) => {
            let images = entries.iter().filter(|entry| !is_attestation(entry));
            for entry in images {
                ocis(entry, names, contents, depth + 1, found)?;
            }
        }
    }
    Ok(())
}

fn is_attestation(descriptor: &Descriptor) -> bool {
    descriptor
        .platform
        .as_ref()
        .is_some_and(|platform| platform.os == "unknown")
}

/// The names that an entry of a layout has by its annotations.
fn names_of(descriptor: &Descriptor) -> Result<Vec<Reference>, Error> {
    if let Some(name) = descriptor.annotations.get(NAME_ANNOTATION) {
        return Ok(vec![name.parse()?]);
    }
    // Only a whole name is one: the annotation may also hold a mere tag.
    let name = descriptor
        .annotations
        .get(REF_ANNOTATION)
        .filter(|name| name.contains(['/', ':']));
    Ok(name
        .and_then(|name| name.parse().ok())
        .into_iter()
        .collect())
}
