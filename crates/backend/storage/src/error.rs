//! What can go wrong with storage.

use std::path::{Path, PathBuf};

use arca_types::{Classify, ContainerId, DiffId, Digest, ErrorKind};

/// Any failure of storage. The text is part of the API.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum Error {
    #[error("failed to {action} {}", path.display())]
    Io {
        action: &'static str,
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("failed to record a change of storage")]
    Store(#[source] arca_store::Error),
    #[error("failed to register layer")]
    Layer(#[source] arca_archive::Error),
    #[error("failed to read a snapshot")]
    Tree(#[source] arca_archive::Error),
    #[error("filesystem layer verification failed for digest {0}")]
    Verification(Digest),
    #[error("the layer's size is not {expected} bytes, as announced")]
    Size { expected: u64 },
    #[error("content verification failed: expected {expected}, got {actual}")]
    Content { expected: Digest, actual: Digest },
    #[error("invalid diffID: expected {expected:?}, got {actual:?}")]
    DiffId { expected: String, actual: String },
    #[error("failed to decompress layer")]
    Decompress(#[source] std::io::Error),
    #[error("unsupported compression of a layer: {0}")]
    Compression(&'static str),
    #[error("the layer's data ended before it was complete")]
    Abandoned,
    #[error("content digest {0}: not found")]
    NoBlob(Digest),
    #[error("layer does not exist: {0}")]
    NoLayer(DiffId),
    #[error("no snapshot of container {0}")]
    NoSnapshot(ContainerId),
    #[error("container {0} has a snapshot already")]
    SnapshotExists(ContainerId),
    #[error("{action}: overlay")]
    Mount {
        action: &'static str,
        #[source]
        source: std::io::Error,
    },
    #[error("--storage-opt is supported only for overlay over xfs with 'pquota' mount option")]
    NoSize,
    #[error(
        "Storage option overlay2.size not supported. Filesystem does not support Project Quota"
    )]
    NoDefaultSize,
    #[error("storage-driver {0} is not supported")]
    Driver(String),
    #[error("making a layer of what was written needs the storage driver overlay2")]
    NotOverlay,
    #[error("a task of storage has panicked")]
    Panicked,
}

impl Classify for Error {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NoBlob(_) | Self::NoLayer(_) | Self::NoSnapshot(_) => ErrorKind::NotFound,
            Self::SnapshotExists(_) => ErrorKind::Conflict,
            Self::Driver(_) | Self::Compression(_) => ErrorKind::InvalidParameter,
            Self::Store(cause) => cause.kind(),
            Self::Io { .. }
            | Self::Layer(_)
            | Self::Tree(_)
            | Self::Verification(_)
            | Self::Size { .. }
            | Self::Content { .. }
            | Self::DiffId { .. }
            | Self::Decompress(_)
            | Self::Abandoned
            | Self::Mount { .. }
            | Self::NotOverlay
            | Self::NoSize
            | Self::NoDefaultSize
            | Self::Panicked => ErrorKind::Internal,
        }
    }
}

impl Error {
    /// Is the content not what its digest or its size says?
    #[must_use]
    pub fn is_verification(&self) -> bool {
        matches!(
            self,
            Self::Verification(_) | Self::Size { .. } | Self::Content { .. }
        )
    }

    /// For `map_err`: names the file and what was done with it.
    pub(crate) fn io<E: Into<std::io::Error>>(
        action: &'static str,
        path: &Path,
    ) -> impl FnOnce(E) -> Self {
        let path = path.to_owned();
        move |source| Self::Io {
            action,
            path,
            source: source.into(),
        }
    }

    /// For `map_err`: names the step of a mount.
    pub(crate) fn mount<E: Into<std::io::Error>>(action: &'static str) -> impl FnOnce(E) -> Self {
        move |source| Self::Mount {
            action,
            source: source.into(),
        }
    }
}
