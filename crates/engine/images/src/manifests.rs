//! The manifests behind an image (`manifests` of `ImageList` and `ImageInspect`): those of its index, or its
//! only one.

use std::sync::Arc;

use arca_registry::{Descriptor, DescriptorPlatform, media_type};
use arca_types::{ContainerId, Digest, ImageId};

use crate::error::Error;
use crate::images::Images;
use crate::index::{Entry, Index};
use crate::manifest::{Document, parse};

/// The annotations by which BuildKit marks what it says about an image.
const REFERENCE_TYPE: &str = "vnd.docker.reference.type";
const REFERENCE_DIGEST: &str = "vnd.docker.reference.digest";

/// What an image's name stands for, and the manifests in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifests {
    /// The index, or the only manifest.
    pub target: Descriptor,
    /// The manifests, in the order of the index.
    pub manifests: Vec<ManifestSummary>,
}

/// One manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestSummary {
    /// Where it is.
    pub descriptor: Descriptor,
    /// Bytes of its content that are here, as they came: documents and layers.
    pub content_size: u64,
    /// What it is.
    pub kind: ManifestKind,
}

/// What a manifest is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ManifestKind {
    /// An image.
    Image {
        /// The platform that it is for.
        platform: Option<DescriptorPlatform>,
        /// The image when it is here.
        here: Option<ImageHere>,
    },
    /// What a builder says about an image.
    Attestation {
        /// The digest of that image's manifest.
        of: String,
    },
    /// Something else.
    Unknown,
}

/// An image that is here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageHere {
    /// The containers that use it.
    pub containers: Vec<ContainerId>,
    /// Bytes of its layers when unpacked.
    pub unpacked_size: u64,
}

impl Images {
    /// Returns the manifests behind an image: those of the index that it was pulled from, or its own.
    ///
    /// # Errors
    /// [`Error::NotFound`]; failures of storage.
    pub async fn manifests(&self, id: &ImageId) -> Result<Manifests, Error> {
        let index = self.index();
        let entry = index.images.get(id);
        let entry = entry.ok_or_else(|| Error::NotFound(id.to_string()))?;
        let names = index.names_of(id);
        let mut targets = names.iter().map(|name| &name.record.target);
        let of_index = targets.find(|target| media_type::is_index(&target.media_type));
        let Some(target) = of_index else {
            let own = entry.record.manifest.clone();
            return Ok(Manifests {
                manifests: vec![self.manifest_summary(&index, own.clone()).await?],
                target: own,
            });
        };
        let bytes = self.blob(&target.digest).await?;
        let Document::Index(descriptors) = parse(&bytes, &target.media_type, id.as_str())? else {
            return Err(Error::ManifestContent("it is not an index"));
        };
        let mut manifests = Vec::new();
        for descriptor in descriptors {
            manifests.push(self.manifest_summary(&index, descriptor).await?);
        }
        Ok(Manifests {
            target: target.clone(),
            manifests,
        })
    }

    async fn manifest_summary(
        &self,
        index: &Index,
        descriptor: Descriptor,
    ) -> Result<ManifestSummary, Error> {
        let mut entries = index.images.values();
        let entry = entries.find(|entry| entry.record.manifest.digest == descriptor.digest);
        let attestation = descriptor.annotations.get(REFERENCE_TYPE);
        let (content_size, kind) = match (entry, attestation.map(String::as_str)) {
            (Some(entry), _) => (
                self.content_size(entry),
                self.image_kind(entry, &descriptor),
            ),
            (None, Some("attestation-manifest")) => {
                let of = descriptor.annotations.get(REFERENCE_DIGEST);
                let of = of.cloned().unwrap_or_default();
                (0, ManifestKind::Attestation { of })
            }
            (None, None) if media_type::is_manifest(&descriptor.media_type) => {
                let platform = descriptor.platform.clone();
                (
                    0,
                    ManifestKind::Image {
                        platform,
                        here: None,
                    },
                )
            }
            (None, _) => (0, ManifestKind::Unknown),
        };
        Ok(ManifestSummary {
            descriptor,
            content_size,
            kind,
        })
    }

    /// Each blob counts once.
    fn content_size(&self, entry: &Arc<Entry>) -> u64 {
        let layers = &entry.record.layers;
        let mut digests: Vec<&Digest> = layers.iter().map(|layer| &layer.blob.digest).collect();
        digests.extend([entry.id.digest(), &entry.record.manifest.digest]);
        digests.sort();
        digests.dedup();
        let sizes = digests
            .into_iter()
            .filter_map(|digest| self.storage().blob(digest));
        sizes.map(|blob| blob.size).sum()
    }

    fn image_kind(&self, entry: &Entry, descriptor: &Descriptor) -> ManifestKind {
        let own = &entry.record.platform;
        let platform = descriptor
            .platform
            .clone()
            .unwrap_or_else(|| DescriptorPlatform {
                architecture: own.architecture.clone(),
                os: own.os.clone(),
                os_version: None,
                os_features: None,
                variant: own.variant.clone(),
            });
        let uses = self.uses().into_iter();
        let containers = uses
            .filter(|(_, used)| used.image == entry.id)
            .map(|(container, _)| container);
        ManifestKind::Image {
            platform: Some(platform),
            here: Some(ImageHere {
                containers: containers.collect(),
                unpacked_size: entry.record.size(),
            }),
        }
    }
}
