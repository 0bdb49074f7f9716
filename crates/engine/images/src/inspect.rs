//! Everything about one image (`ImageInspect`).

use std::path::PathBuf;
use std::sync::Arc;

use arca_registry::Descriptor;
use arca_storage::Driver;
use arca_types::{DiffId, ImageId, Platform, Timestamp};

use crate::config::ImageConfig;
use crate::error::Error;
use crate::images::Images;

/// What is asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InspectOptions {
    /// The platform that is wanted; `None` for the host's, or what is there.
    pub platform: Option<Platform>,
}

/// Everything about one image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspected {
    /// Its ID.
    pub id: ImageId,
    /// Its short names with tags.
    pub repo_tags: Vec<String>,
    /// Its short names with digests.
    pub repo_digests: Vec<String>,
    /// The image it was made from here.
    pub parent: Option<ImageId>,
    /// Its configuration.
    pub config: Arc<ImageConfig>,
    /// Bytes of all layers when unpacked.
    pub size: u64,
    /// Its layers, lowest first.
    pub layers: Vec<DiffId>,
    /// When it was given a name here last; pulls do not count.
    pub last_tagged: Option<Timestamp>,
    /// Its manifest.
    pub descriptor: Descriptor,
    /// The name of the storage driver.
    pub driver: &'static str,
    /// The directories of its layers, the topmost first; none where layers are not used as directories.
    pub directories: Vec<PathBuf>,
}

impl Images {
    /// Returns everything about one image.
    ///
    /// # Errors
    /// As [`resolve`](Self::resolve).
    pub async fn inspect(&self, name: &str, options: &InspectOptions) -> Result<Inspected, Error> {
        let image = self.resolve(name, options.platform.as_ref()).await?;
        let index = self.index();
        let entry = index
            .images
            .get(&image.id)
            .ok_or_else(|| Error::NotFound(name.to_owned()))?;
        let driver = self.storage().driver();
        let directories = match driver {
            // What has lost a layer is shown all the same.
            Driver::Overlay => self.storage().layer_directories(&image.layers),
            Driver::Vfs => Ok(Vec::new()),
        };
        Ok(Inspected {
            driver: driver.as_str(),
            directories: directories.unwrap_or_default(),
            id: image.id,
            repo_tags: image.repo_tags,
            repo_digests: image.repo_digests,
            parent: image.parent,
            config: image.config,
            size: entry.record.size(),
            layers: image.layers,
            last_tagged: entry.record.last_tagged,
            descriptor: image.manifest,
        })
    }
}
