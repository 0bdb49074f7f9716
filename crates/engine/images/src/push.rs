//! Images to registries (`ImagePush`).
//!
//! What came from a registry goes back byte for byte. Where an image has layers that are not compressed,
//! because it was loaded or imported as such, they are compressed on their way, and the image gets a
//! manifest that says so; that one is kept, so that the next push knows what the registry has.

mod content;
mod known;
mod layers;
mod select;

use arca_events::{Event, Type};
use arca_registry::{Auth, Descriptor, Remote, media_type};
use arca_storage::Lease;
use arca_types::{Platform, Reference, Repository};
use bytes::Bytes;

use crate::compress::LayerForm;
use crate::error::Error;
use crate::images::{Change, Images};
use crate::index::{Entry, Index};
use crate::manifest::{Document, ImageManifest, digest_of, parse};
use crate::progress::{Progress, ProgressSink, tell};
use crate::record::NameRecord;
use crate::tag::with_tag;
use layers::LayerPush;
use select::Selected;

/// What is to be pushed.
#[derive(Debug, Clone)]
pub struct PushRequest {
    repository: Repository,
    /// One name; all tags when there is none.
    reference: Option<Reference>,
    platform: Option<Platform>,
    auth: Auth,
}

impl PushRequest {
    /// Joins the parameters of a request: `tag` replaces what `name` ends in; all tags are meant when
    /// neither says one. With a platform, its image alone is pushed.
    ///
    /// # Errors
    /// [`Error::Reference`], [`Error::Tag`]; [`Error::DigestReference`] for a digest with a tag.
    pub fn new(
        name: &str,
        tag: &str,
        platform: Option<Platform>,
        auth: Auth,
    ) -> Result<Self, Error> {
        let named: Reference = name.parse()?;
        let repository = named.repository().clone();
        let reference = if tag.is_empty() {
            let bare = name.parse::<Repository>().is_ok();
            (!bare).then_some(named)
        } else if named.digest().is_some() {
            return Err(Error::DigestReference);
        } else {
            Some(with_tag(repository.clone(), tag)?)
        };
        Ok(Self {
            repository,
            reference,
            platform,
            auth,
        })
    }

    fn familiar(&self) -> String {
        match &self.reference {
            Some(reference) => reference.familiar(),
            None => self.repository.familiar(),
        }
    }
}

/// One push: what its steps share.
pub(crate) struct Push<'a> {
    pub(crate) images: &'a Images,
    pub(crate) remote: Remote,
    pub(crate) sink: &'a ProgressSink,
    /// Keeps the content while it is read, and what is made of it until a record does.
    pub(crate) lease: Lease,
    pub(crate) layers: layers::Layers,
}

impl Images {
    /// Pushes an image, or all tags of a repository. An error before the first line of progress is one of
    /// the request; a later one is for the last line of the stream.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::WrongPlatform`] before the first line; [`Error::PushDigest`],
    /// [`Error::NothingToPush`], [`Error::TagUnknown`]; what the registry says.
    pub async fn push(&self, request: &PushRequest, sink: &ProgressSink) -> Result<(), Error> {
        if let Some(platform) = &request.platform {
            self.index().find(&request.familiar(), Some(platform))?;
        }
        let status = format!("The push refers to repository [{}]", request.repository);
        tell(sink, Progress::status(status)).await;
        let references = self.references_to_push(request)?;
        let registry = &self.inner.backends.registry;
        let push = Push {
            images: self,
            remote: registry.remote_to_push(&request.repository, request.auth.clone()),
            sink,
            lease: self.storage().lease(),
            layers: layers::Layers::default(),
        };
        push.remote.ping().await.map_err(Error::push)?;
        for reference in &references {
            push.reference(reference, request.platform.as_ref()).await?;
        }
        let event = self.push_event(request);
        self.inner.backends.events.publish(event).await;
        Ok(())
    }

    fn references_to_push(&self, request: &PushRequest) -> Result<Vec<Reference>, Error> {
        let index = self.index();
        let tags = || {
            index
                .names
                .values()
                .filter(|name| *name.reference.repository() == request.repository)
        };
        let familiar = request.familiar();
        match &request.reference {
            Some(reference) if reference.digest().is_some() => Err(Error::PushDigest),
            _ if tags().next().is_none() => {
                Err(Error::NothingToPush(request.repository.familiar()))
            }
            Some(reference) if index.name(reference).is_none() => Err(Error::TagUnknown(familiar)),
            Some(reference) => Ok(vec![reference.clone()]),
            None => Ok(tags()
                .filter(|name| !name.is_digest())
                .map(|name| name.reference.clone())
                .collect()),
        }
    }

    fn push_event(&self, request: &PushRequest) -> Event {
        let familiar = request.familiar();
        let found = self.index().find(&familiar, request.platform.as_ref());
        let labels = found.ok().and_then(|entry| entry.record.labels.clone());
        Event::new(Type::Image, "push", familiar)
            .with_all(labels.unwrap_or_default())
            .with("name", request.repository.familiar())
    }
}

impl Push<'_> {
    /// Pushes what one tag stands for.
    async fn reference(
        &self,
        reference: &Reference,
        platform: Option<&Platform>,
    ) -> Result<(), Error> {
        let index = self.images.index();
        let selected = self
            .images
            .select_to_push(&index, reference, platform)
            .await?;
        let tag = reference.manifest_selector();
        let (target, images, whole) = match selected {
            Selected::Index(target, entries) => {
                let ids = entries.iter().map(|entry| entry.id.clone()).collect();
                for entry in &entries {
                    let kept = entry.record.manifest.clone();
                    self.image(&index, entry, kept.digest.as_str(), true)
                        .await?;
                }
                self.kept_manifest(tag, &target).await?;
                (target, ids, None)
            }
            Selected::Image(entry, whole) => {
                let received = select::came_from_a_registry(&index, &entry);
                let target = self.image(&index, &entry, tag, received).await?;
                (target, vec![entry.id.clone()], whole)
            }
        };
        let status = format!("{tag}: digest: {} size: {}", target.digest, target.size);
        tell(self.sink, Progress::status(status)).await;
        let pushed = Progress::Pushed {
            tag: tag.to_owned(),
            target: target.clone(),
        };
        tell(self.sink, pushed).await;
        if let Some(index) = whole {
            let manifest = target.clone();
            tell(self.sink, Progress::PushedOneOfIndex { index, manifest }).await;
        }
        self.images
            .remember_pushed(reference.repository(), target, images)
            .await
    }

    /// Pushes one image and its manifest under `selector`. Returns what was pushed: as it came when it
    /// `received` its manifest, or has no layer to be compressed.
    async fn image(
        &self,
        index: &Index,
        entry: &Entry,
        selector: &str,
        received: bool,
    ) -> Result<Descriptor, Error> {
        let as_it_is = received
            || !entry
                .record
                .layers
                .iter()
                .any(|layer| is_plain(&layer.blob));
        let known = self.images.known_blobs(index).await;
        let layers = entry
            .record
            .layers
            .iter()
            .map(|layer| LayerPush::new(layer, as_it_is, &known, self.remote.repository()))
            .collect();
        let pushed = self.layers(layers).await?;
        let manifest = &entry.record.manifest;
        let bytes = self.images.blob(&manifest.digest).await?;
        let Document::Image(document) = parse(&bytes, &manifest.media_type, selector)? else {
            return Err(Error::ManifestContent("it is not the manifest of an image"));
        };
        self.config(&document.config).await?;
        let (descriptor, bytes) = if as_it_is {
            (manifest.clone(), bytes)
        } else {
            compressed_manifest(*document, pushed)?
        };
        if !as_it_is {
            let digest = Some(&descriptor.digest);
            let stored = self.images.storage().put_blob(&self.lease, digest, &bytes);
            stored.await.map_err(Error::Storage)?;
        }
        self.manifest(selector, &descriptor, bytes).await?;
        Ok(descriptor)
    }

    async fn config(&self, config: &Descriptor) -> Result<(), Error> {
        let there = self.remote.has_blob(&config.digest).await;
        if there.map_err(Error::push)? {
            return Ok(());
        }
        let bytes = Bytes::from(self.images.blob(&config.digest).await?);
        let content = futures_util::stream::iter([Ok(bytes)]);
        let pushed = self.remote.push_blob(config, content).await;
        pushed.map_err(Error::push)
    }

    async fn kept_manifest(&self, selector: &str, target: &Descriptor) -> Result<(), Error> {
        let bytes = self.images.blob(&target.digest).await?;
        self.manifest(selector, target, bytes).await
    }

    async fn manifest(
        &self,
        selector: &str,
        descriptor: &Descriptor,
        bytes: Vec<u8>,
    ) -> Result<(), Error> {
        let pushed = self
            .remote
            .push_manifest(selector, descriptor, bytes.into());
        pushed.await.map_err(Error::push)
    }
}

impl Images {
    /// Notes that the registry has this content: the image gets a name with its digest.
    async fn remember_pushed(
        &self,
        repository: &Repository,
        target: Descriptor,
        pushed: Vec<arca_types::ImageId>,
    ) -> Result<(), Error> {
        let name = Reference::digested(repository.clone(), target.digest.clone());
        let added = |index: &Index| {
            let here = pushed.iter().filter(|id| index.images.contains_key(*id));
            let mut images: Vec<_> = here.cloned().collect();
            if let Some(old) = index.name(&name) {
                let others = old.record.images.iter();
                let others = others.filter(|id| !images.contains(id)).cloned();
                images.extend(others.collect::<Vec<_>>());
                if images.len() == old.record.images.len() {
                    images.clear();
                }
            }
            images
        };
        if added(&self.index()).is_empty() {
            return Ok(());
        }
        self.storage().sync().await.map_err(Error::Storage)?;
        self.change(|_, index| {
            let images = added(index);
            let change = Change::on(index);
            if images.is_empty() {
                return Ok((change, ()));
            }
            let record = NameRecord {
                target: target.clone(),
                images,
            };
            Ok((change.put_name(&name, record)?, ()))
        })
        .await
    }
}

/// Is this a layer as an archive that is not compressed?
fn is_plain(blob: &Descriptor) -> bool {
    LayerForm::of(blob) == LayerForm::Plain
}

/// The manifest with the layers as they were pushed: OCI's, whatever the layers were called before.
fn compressed_manifest(
    document: ImageManifest,
    layers: Vec<Descriptor>,
) -> Result<(Descriptor, Vec<u8>), Error> {
    let named = |(layer, kept): (Descriptor, Descriptor)| Descriptor {
        media_type: match layer.media_type.as_str() {
            media_type::DOCKER_LAYER_GZIP => media_type::OCI_LAYER_GZIP.to_owned(),
            _ => layer.media_type.clone(),
        },
        annotations: kept.annotations,
        ..layer
    };
    let layers = layers.into_iter().zip(document.layers);
    let manifest = ImageManifest {
        media_type: media_type::OCI_MANIFEST.to_owned(),
        config: Descriptor {
            media_type: media_type::OCI_CONFIG.to_owned(),
            ..document.config
        },
        layers: layers.map(named).collect(),
        schema_version: document.schema_version,
        annotations: document.annotations,
    };
    let bytes = serde_json::to_vec(&manifest).map_err(Error::Manifest)?;
    let size = bytes.len() as u64;
    Ok((
        Descriptor::new(media_type::OCI_MANIFEST, digest_of(&bytes), size),
        bytes,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(name: &str, tag: &str) -> Result<Option<String>, String> {
        PushRequest::new(name, tag, None, Auth::Anonymous)
            .map(|request| request.reference.map(|reference| reference.familiar()))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn parameters_are_joined() {
        assert_eq!(request("r:5000/a", ""), Ok(None));
        assert_eq!(request("r:5000/a:b", ""), Ok(Some("r:5000/a:b".to_owned())));
        assert_eq!(
            request("r:5000/a:b", "c"),
            Ok(Some("r:5000/a:c".to_owned()))
        );
        assert_eq!(request("a", "b c"), Err("invalid tag format".to_owned()));
        let digest = format!("a@sha256:{}", "0".repeat(64));
        assert_eq!(request(&digest, ""), Ok(Some(digest.clone())));
        assert_eq!(
            request(&digest, "x"),
            Err("cannot import digest reference".to_owned())
        );
    }
}
