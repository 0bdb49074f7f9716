//! The result of a step: files.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arca_storage::{Lease, Storage};
use arca_types::{DiffId, Digest};
use sha2::Digest as _;

use crate::Error;
use crate::fs::digest::Known;

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
        /// Checksums of its files.
        known: Arc<Known>,
        /// Changes with every transfer.
        identity: Digest,
        /// What keeps it as it is.
        _guard: Box<dyn std::any::Any + Send + Sync>,
    },
}

impl Tree {
    /// Layers, the lowest first. They are held from here on; who calls has held them so far.
    #[must_use]
    pub fn of_layers(storage: &Storage, layers: Vec<DiffId>) -> Self {
        let lease = storage.lease();
        for layer in &layers {
            // It is here; only the hold counts.
            let _known = lease.layer(layer);
        }
        Self(Arc::new(Kind::Layers {
            layers,
            _lease: lease,
        }))
    }

    /// A directory, which stays as it is until `guard` is dropped.
    pub(crate) fn of_directory(
        path: PathBuf,
        known: Arc<Known>,
        guard: impl std::any::Any + Send + Sync,
    ) -> Self {
        let random = arca_types::random_hex(32);
        Self(Arc::new(Kind::Directory {
            path,
            known,
            identity: Digest::sha256(&sha2::Sha256::digest(random.as_bytes()).into()),
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

    /// What stands for its exact contents, times included.
    pub(crate) fn identity(&self) -> Digest {
        match &*self.0 {
            Kind::Layers { layers, .. } => chain(layers),
            Kind::Directory { identity, .. } => identity.clone(),
        }
    }

    pub(crate) fn known(&self) -> Option<Arc<Known>> {
        match &*self.0 {
            Kind::Layers { .. } => None,
            Kind::Directory { known, .. } => Some(Arc::clone(known)),
        }
    }

    /// Opens its root, to read only.
    ///
    /// # Errors
    /// When it cannot be mounted or opened.
    pub async fn open(&self, storage: &Storage) -> Result<OwnedFd, Error> {
        match &*self.0 {
            Kind::Layers { layers, .. } => {
                storage.open_layers(layers).await.map_err(Error::Storage)
            }
            Kind::Directory { path, .. } => {
                arca_archive::open_root(path).map_err(Error::errno("open", path))
            }
        }
    }
}

/// What stands for layers on top of each other.
pub(crate) fn chain(layers: &[DiffId]) -> Digest {
    let mut hasher = sha2::Sha256::new();
    for layer in layers {
        hasher.update(layer.as_str().as_bytes());
        hasher.update(b"\n");
    }
    Digest::sha256(&hasher.finalize().into())
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
