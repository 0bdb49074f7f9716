//! An image as others see it.

use std::sync::Arc;

use arca_registry::Descriptor;
use arca_types::{DiffId, ImageId};

use crate::config::ImageConfig;

/// An image that a name or an ID stands for now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Its ID: the digest of its configuration.
    pub id: ImageId,
    /// Its configuration.
    pub config: Arc<ImageConfig>,
    /// Its layers, lowest first.
    pub layers: Vec<DiffId>,
    /// Its names with tags, short, in order.
    pub repo_tags: Vec<String>,
    /// Its names with digests, short, in order.
    pub repo_digests: Vec<String>,
    /// Its manifest.
    pub manifest: Descriptor,
    /// The image it was made from here.
    pub parent: Option<ImageId>,
}

/// How a container uses an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageUse {
    /// The image.
    pub image: ImageId,
    /// Does the container run?
    pub running: bool,
}
