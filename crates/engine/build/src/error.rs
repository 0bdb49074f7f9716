//! What can go wrong in a build. Texts are what clients show.

use std::path::PathBuf;

use arca_types::{Classify, Digest, ErrorKind, chain};

use crate::graph::SourceLocation;
use crate::progress::Range;

/// A build, or a request about builds, that failed.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum Error {
    #[error("{0}")]
    Invalid(String),
    #[error("{0}")]
    NotFound(String),
    #[error("{0}")]
    Unsupported(String),
    #[error("{0}")]
    Forbidden(String),
    #[error("{0}")]
    Failed(String),
    #[error("process {command:?} did not complete successfully: exit code: {code}")]
    Exit { command: String, code: i32 },
    #[error("The command '{command}' returned a non-zero code: {code}")]
    Command { command: String, code: i32 },
    #[error("context canceled")]
    Cancelled,
    #[error("{}", arca_types::chain(&**cause))]
    Vertex {
        /// The vertex that failed.
        digest: Box<Digest>,
        /// Why.
        cause: std::sync::Arc<Error>,
        /// The lines of a source file that it comes from.
        location: Option<Box<SourceLocation>>,
    },
    #[error("{0}")]
    Context(String, #[source] Box<Error>),
    #[error("{}{}", chain(&**.0), .1)]
    Suffixed(Box<Error>, String),
    #[error("{}", chain(&**cause))]
    Located {
        cause: Box<Error>,
        /// The lines of a source file that it is about.
        location: Box<SourceLocation>,
    },
    #[error("{what} {}", path.display())]
    File {
        what: &'static str,
        path: PathBuf,
        #[source]
        cause: std::io::Error,
    },
    #[error(transparent)]
    Archive(arca_archive::Error),
    #[error(transparent)]
    Containers(Box<arca_containers::Error>),
    #[error(transparent)]
    Images(Box<arca_images::Error>),
    #[error(transparent)]
    Storage(arca_storage::Error),
    #[error(transparent)]
    Store(arca_store::Error),
    #[error("{what}")]
    Http {
        what: String,
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl Error {
    /// Says which call on which file failed.
    pub fn file(
        what: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |cause| Self::File { what, path, cause }
    }

    /// As [`Error::file`], for calls that return an error number.
    pub fn errno(
        what: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(rustix::io::Errno) -> Self {
        let path = path.into();
        move |cause| Self::File {
            what,
            path,
            cause: cause.into(),
        }
    }

    /// The lines of a source file that it is about; empty when it is about none.
    #[must_use]
    pub fn ranges(&self) -> &[Range] {
        match self {
            Self::Located { location, .. } => &location.ranges,
            Self::Context(_, cause) | Self::Suffixed(cause, _) => cause.ranges(),
            _ => &[],
        }
    }

    /// The lines of a source file that it is about, with the file.
    #[must_use]
    pub fn location(&self) -> Option<&SourceLocation> {
        match self {
            Self::Located { location, .. } => Some(location),
            Self::Vertex {
                cause, location, ..
            } => cause.location().or(location.as_deref()),
            Self::Context(_, cause) | Self::Suffixed(cause, _) => cause.location(),
            _ => None,
        }
    }

    /// Puts words in front.
    #[must_use]
    pub fn context(self, text: impl Into<String>) -> Self {
        Self::Context(text.into(), Box::new(self))
    }
}

impl Classify for Error {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Invalid(_) => ErrorKind::InvalidParameter,
            Self::NotFound(_) => ErrorKind::NotFound,
            Self::Unsupported(_) => ErrorKind::NotImplemented,
            Self::Forbidden(_) => ErrorKind::Forbidden,
            Self::Vertex { cause, .. } => cause.kind(),
            Self::Context(_, cause) | Self::Suffixed(cause, _) | Self::Located { cause, .. } => {
                cause.kind()
            }
            Self::Containers(cause) => cause.kind(),
            Self::Images(cause) => cause.kind(),
            Self::Storage(cause) => cause.kind(),
            Self::Failed(_)
            | Self::Exit { .. }
            | Self::Command { .. }
            | Self::Cancelled
            | Self::File { .. }
            | Self::Archive(_)
            | Self::Store(_)
            | Self::Http { .. } => ErrorKind::Internal,
        }
    }
}
