//! What keeps the engine from being opened or read.

use std::path::PathBuf;

use arca_types::{Classify, ErrorKind};

/// Any failure of the engine as a whole.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum Error {
    #[error("failed to {what} {path}")]
    File {
        what: &'static str,
        path: PathBuf,
        #[source]
        cause: std::io::Error,
    },
    #[error("failed to open the state database")]
    Store(#[source] arca_store::Error),
    #[error("failed to open the storage")]
    Storage(#[source] arca_storage::Error),
    #[error("failed to open the runtime")]
    Runtime(#[source] arca_runtime::Error),
    #[error("failed to open the journal of events")]
    Events(#[source] arca_events::Error),
    #[error(transparent)]
    Images(Box<arca_images::Error>),
    #[error(transparent)]
    Volumes(arca_volumes::Error),
    #[error(transparent)]
    Networks(Box<arca_networks::Error>),
    #[error(transparent)]
    Containers(Box<arca_containers::Error>),
    #[error(transparent)]
    Builds(Box<arca_build::Error>),
    #[error("containers run: {0}; stop them first")]
    StillRuns(usize),
    #[error("the daemon is shutting down")]
    ShuttingDown,
}

impl Error {
    /// Wraps a failed operation on a file.
    pub(crate) fn file(
        what: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |cause| Self::File { what, path, cause }
    }
}

impl Classify for Error {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Images(cause) => cause.kind(),
            Self::Volumes(cause) => cause.kind(),
            Self::Networks(cause) => cause.kind(),
            Self::Containers(cause) => cause.kind(),
            Self::Builds(cause) => cause.kind(),
            Self::ShuttingDown => ErrorKind::Unavailable,
            _ => ErrorKind::Internal,
        }
    }
}
