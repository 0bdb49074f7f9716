//! Images that a build starts from: fetched like any other, but known by no name.

use arca_registry::Auth;
use arca_storage::Lease;
use arca_types::{DiffId, Digest, Platform, Reference};
use bytes::Bytes;

use super::fetch::{Fetched, Target};
use crate::config::ImageConfig;
use crate::error::Error;
use crate::images::Images;
use crate::manifest::{Document, choose, parse};
use crate::progress::ProgressSink;

/// An image at a registry: its configuration is known, its layers need not be here.
#[derive(Debug, Clone)]
pub struct Described {
    /// What the name stands for: a manifest or an index.
    pub digest: Digest,
    /// The manifest of the image itself.
    pub manifest: Digest,
    /// Its configuration, as it came.
    pub config: Bytes,
    /// Its platform.
    pub platform: Platform,
}

/// An image whose layers are here as long as this is.
#[derive(Debug)]
pub struct Base {
    /// Its layers, the lowest first.
    pub layers: Vec<DiffId>,
    /// Its configuration.
    pub config: ImageConfig,
    _fetched: Option<Fetched>,
    _lease: Lease,
}

impl Images {
    /// Asks a registry what a name stands for, without fetching layers.
    ///
    /// # Errors
    /// What the registry says, in dockerd's words; content that is not what its digest says.
    pub async fn describe(
        &self,
        reference: &Reference,
        platform: Option<&Platform>,
        auth: &Auth,
    ) -> Result<Described, Error> {
        let remote = self
            .inner
            .backends
            .registry
            .remote(reference.repository(), auth.clone());
        let target = self.target(&remote, reference).await?;
        let digest = target.manifest.descriptor.digest.clone();
        let host = Platform::host();
        let wanted = platform.unwrap_or(&host);
        let (manifest, image) = match target.document {
            Document::Image(image) => (target.manifest, image),
            Document::Index(entries) => {
                let chosen = choose(&entries, wanted)?;
                let manifest = self
                    .manifest(&remote, chosen)
                    .await?
                    .map_err(Error::Registry)?;
                let Document::Image(image) =
                    parse(&manifest.bytes, &chosen.media_type, &target.name)?
                else {
                    return Err(Error::ManifestContent("an index in an index"));
                };
                (manifest, image)
            }
        };
        let config = self.fetch_config(&remote, &image.config).await?;
        let parsed = ImageConfig::parse(&config)?;
        Ok(Described {
            digest,
            manifest: manifest.descriptor.digest,
            platform: parsed.platform,
            config,
        })
    }

    /// Fetches the layers of an image.
    ///
    /// # Errors
    /// As [`describe`](Self::describe).
    pub async fn fetch_base(
        &self,
        reference: &Reference,
        platform: Option<&Platform>,
        auth: &Auth,
        sink: &ProgressSink,
    ) -> Result<Base, Error> {
        let remote = self
            .inner
            .backends
            .registry
            .remote(reference.repository(), auth.clone());
        let target = self.target(&remote, reference).await?;
        let fetched = self.fetch(&remote, target, platform, sink).await?;
        let config = self.blob(fetched.prepared.id.digest()).await?;
        let layers = fetched.prepared.record.diff_ids();
        Ok(Base {
            _lease: self.hold(&layers),
            layers,
            config: ImageConfig::parse(&config)?,
            _fetched: Some(fetched),
        })
    }

    /// Holds the layers of an image that is here.
    ///
    /// # Errors
    /// As [`resolve`](Self::resolve).
    pub async fn local_base(&self, name: &str, platform: Option<&Platform>) -> Result<Base, Error> {
        let image = self.resolve(name, platform).await?;
        Ok(Base {
            _lease: self.hold(&image.layers),
            layers: image.layers,
            config: ImageConfig::clone(&image.config),
            _fetched: None,
        })
    }

    /// The layers of all images.
    #[must_use]
    pub fn all_layers(&self) -> std::collections::BTreeSet<DiffId> {
        let index = self.index();
        let records = index.images.values();
        records.flat_map(|entry| entry.record.diff_ids()).collect()
    }

    fn hold(&self, layers: &[DiffId]) -> Lease {
        let lease = self.storage().lease();
        for layer in layers {
            // It is here; only the hold counts.
            let _known = lease.layer(layer);
        }
        lease
    }

    async fn target(
        &self,
        remote: &arca_registry::Remote,
        reference: &Reference,
    ) -> Result<Target, Error> {
        let (name, repository) = (reference.familiar(), reference.repository().familiar());
        let resolved = remote
            .resolve(reference)
            .await
            .map_err(|error| Error::pull(error, &name, &repository))?;
        self.read_target(remote, resolved, reference).await
    }
}
