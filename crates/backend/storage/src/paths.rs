//! Where things are.

use std::path::{Path, PathBuf};

use arca_types::Digest;

/// The directories of storage, all of them on one file system.
#[derive(Debug, Clone)]
pub(crate) struct Paths {
    root: PathBuf,
}

impl Paths {
    pub(crate) fn new(root: PathBuf) -> Self {
        Self { root }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn blobs(&self, algorithm: &str) -> PathBuf {
        self.root.join("blobs").join(algorithm)
    }

    pub(crate) fn blob(&self, digest: &Digest) -> PathBuf {
        self.blobs(digest.algorithm().as_str()).join(digest.hex())
    }

    pub(crate) fn layers(&self) -> PathBuf {
        self.root.join("layers")
    }

    pub(crate) fn layer(&self, number: u32) -> PathBuf {
        self.layers().join(number.to_string())
    }

    /// The directory below all layers, with what every container has.
    pub(crate) fn init(&self) -> PathBuf {
        self.layers().join("init")
    }

    /// A directory with nothing in it: an overlay that cannot be written to needs two.
    pub(crate) fn empty(&self) -> PathBuf {
        self.layers().join("empty")
    }

    pub(crate) fn snapshots(&self) -> PathBuf {
        self.root.join("snapshots")
    }

    pub(crate) fn snapshot(&self, number: u32) -> PathBuf {
        self.snapshots().join(number.to_string())
    }

    /// A directory that stays empty.
    pub(crate) fn nothing(&self) -> PathBuf {
        self.root.join("nothing")
    }

    /// What is being written.
    pub(crate) fn tmp(&self) -> PathBuf {
        self.root.join("tmp")
    }

    /// What is being deleted.
    pub(crate) fn trash(&self) -> PathBuf {
        self.root.join("trash")
    }
}
