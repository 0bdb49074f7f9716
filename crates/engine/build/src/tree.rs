//! The result of a step: files.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arca_storage::Lease;
use arca_types::DiffId;

/// Files that a step has made. They stay as long as anybody has a clone of it.
#[derive(Debug, Clone)]
pub struct Tree(Arc<Kind>);

#[derive(Debug)]
enum Kind {
    /// Layers, the lowest first.
    Layers {
        layers: Vec<DiffId>,
        /// What keeps them from being collected.
        _lease: Lease,
    },
    /// A directory that somebody keeps for us.
    Directory {
        path: PathBuf,
        /// What keeps it as it is.
        _guard: Box<dyn std::any::Any + Send + Sync>,
    },
}

impl Tree {
    /// Layers, the lowest first, which `lease` holds.
    #[must_use]
    pub fn of_layers(layers: Vec<DiffId>, lease: Lease) -> Self {
        Self(Arc::new(Kind::Layers {
            layers,
            _lease: lease,
        }))
    }

    /// A directory, which stays as it is until `guard` is dropped.
    #[must_use]
    pub fn of_directory(path: PathBuf, guard: impl std::any::Any + Send + Sync) -> Self {
        Self(Arc::new(Kind::Directory {
            path,
            _guard: Box::new(guard),
        }))
    }

    /// Its layers, unless it is a directory.
    #[must_use]
    pub fn layers(&self) -> Option<&[DiffId]> {
        match &*self.0 {
            Kind::Layers { layers, .. } => Some(layers),
            Kind::Directory { .. } => None,
        }
    }

    /// Its directory, unless it is of layers.
    #[must_use]
    pub fn directory(&self) -> Option<&Path> {
        match &*self.0 {
            Kind::Layers { .. } => None,
            Kind::Directory { path, .. } => Some(path),
        }
    }
}

/// What is known of a file, a link's own (`fsutil.Stat` of BuildKit).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FileStat {
    /// Path as asked for; in a list the name.
    pub path: String,
    /// Type and permissions as in `st_mode`.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Bytes.
    pub size: u64,
    /// Nanoseconds since 1970.
    pub modified: i64,
    /// What a symbolic link says.
    pub link: String,
    /// Major number of a device.
    pub device_major: u32,
    /// Minor number of a device.
    pub device_minor: u32,
}
