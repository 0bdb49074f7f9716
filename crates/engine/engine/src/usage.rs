//! `SystemDataUsage`: how much room everything takes.

use std::sync::Arc;

use arca_containers::{ListRequest, Listed};
use arca_images::Summary;
use arca_volumes::{Filter, Volume};

use crate::error::Error;
use crate::system::System;

/// What is asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Kinds {
    /// Containers.
    pub containers: bool,
    /// Images.
    pub images: bool,
    /// Volumes.
    pub volumes: bool,
    /// Leftovers of builds.
    pub build_cache: bool,
}

/// How much room everything takes; `None` was not asked for.
#[derive(Debug, Clone, Default)]
pub struct DiskUsage {
    /// Bytes of all layers when unpacked, each counted once.
    pub layers_size: u64,
    /// All images.
    pub images: Option<Vec<Summary>>,
    /// All containers, with their sizes.
    pub containers: Option<Vec<Listed>>,
    /// All volumes.
    pub volumes: Option<Vec<VolumeUsage>>,
}

/// A volume, and how much room it takes.
#[derive(Debug, Clone)]
pub struct VolumeUsage {
    /// The volume.
    pub volume: Arc<Volume>,
    /// How many containers have it.
    pub users: usize,
    /// Bytes; `None` when only its driver would know.
    pub size: Option<u64>,
}

impl System {
    /// Measures (`SystemDataUsage`).
    ///
    /// # Errors
    /// When something cannot be measured.
    pub async fn disk_usage(&self, kinds: Kinds) -> Result<DiskUsage, Error> {
        let services = self.services();
        let mut usage = DiskUsage::default();
        if kinds.images {
            let images = services
                .images
                .usage()
                .map_err(|cause| Error::Images(Box::new(cause)))?;
            usage.layers_size = images.layers_size;
            usage.images = Some(images.images);
        }
        if kinds.containers {
            let request = ListRequest {
                all: true,
                size: true,
                ..ListRequest::default()
            };
            let listed = services
                .containers
                .list(request)
                .await
                .map_err(|cause| Error::Containers(Box::new(cause)))?;
            usage.containers = Some(listed);
        }
        if kinds.volumes {
            usage.volumes = Some(self.volumes().await?);
        }
        Ok(usage)
    }

    async fn volumes(&self) -> Result<Vec<VolumeUsage>, Error> {
        let volumes = &self.services().volumes;
        let mut measured = Vec::new();
        for listed in volumes.list(&Filter::default()).map_err(Error::Volumes)? {
            let size = match volumes.size(&listed.volume.name).await {
                Ok(size) => size,
                // Removed in the meantime.
                Err(arca_volumes::Error::NotFound(_)) => continue,
                Err(error) => return Err(Error::Volumes(error)),
            };
            measured.push(VolumeUsage {
                volume: listed.volume,
                users: listed.users,
                size,
            });
        }
        Ok(measured)
    }
}
