//! What a registry has under a name, without pulling it (`DistributionInspect`).

use arca_registry::{Auth, Descriptor, DescriptorPlatform};
use arca_types::Reference;

use crate::config::ImageConfig;
use crate::error::Error;
use crate::images::Images;
use crate::manifest::{Document, parse};

/// Configurations up to this many bytes are read.
const CONFIG_LIMIT: u64 = 8 * 1024 * 1024;

/// What a registry has under a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Distribution {
    /// The manifest or index.
    pub descriptor: Descriptor,
    /// The platforms there are images for.
    pub platforms: Vec<DescriptorPlatform>,
}

impl Images {
    /// Asks a registry what it has under `name`.
    ///
    /// # Errors
    /// [`Error::Reference`]; what the registry says, in dockerd's words.
    pub async fn distribution(&self, name: &str, auth: Auth) -> Result<Distribution, Error> {
        let reference: Reference = name.parse()?;
        let (name, repository) = (reference.familiar(), reference.repository().familiar());
        let worded = |error| Error::pull(error, &name, &repository);
        let remote = self
            .inner
            .backends
            .registry
            .remote(reference.repository(), auth);
        let resolved = remote.resolve(&reference).await.map_err(worded)?;
        let manifest = match resolved.manifest {
            Some(manifest) => manifest,
            None => remote
                .manifest(&resolved.descriptor.digest)
                .await
                .map_err(worded)?,
        };
        let descriptor = manifest.descriptor;
        let platforms = match parse(&manifest.bytes, &descriptor.media_type, &name)? {
            Document::Index(entries) => entries
                .into_iter()
                .filter_map(|entry| entry.platform)
                .collect(),
            Document::Image(image) => {
                let config = remote.small_blob(&image.config, CONFIG_LIMIT).await;
                vec![platform(ImageConfig::parse(
                    &config.map_err(Error::Registry)?,
                )?)]
            }
        };
        Ok(Distribution {
            descriptor,
            platforms,
        })
    }
}

fn platform(config: ImageConfig) -> DescriptorPlatform {
    let some = |text: String| (!text.is_empty()).then_some(text);
    DescriptorPlatform {
        architecture: config.architecture,
        os: config.os,
        os_version: some(config.os_version),
        os_features: None,
        variant: some(config.variant),
    }
}
