//! What can go wrong with a log.

use std::path::PathBuf;

use arca_types::{Classify, ErrorKind};

/// Any failure of a log driver. The texts of the options' errors are dockerd's.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum Error {
    #[error("error looking up logging plugin {0}: plugin \"{0}\" not found")]
    UnknownDriver(String),
    #[error("unknown log opt '{option}' for json-file log driver")]
    UnknownJsonFileOption { option: String },
    #[error("unknown log opt '{option}' for log driver local")]
    UnknownLocalOption { option: String },
    #[error("logger: logging mode not supported: {0}")]
    Mode(String),
    #[error("logger: max-buffer-size option is only supported with 'mode=non-blocking'")]
    BufferSizeWithoutMode,
    #[error("error parsing option max-buffer-size: {0}")]
    BufferSize(String),
    /// An option of a driver that sends entries elsewhere, in full words.
    #[error("{0}")]
    Option(String),
    #[error("failed to initialize logging driver: {0}")]
    Initialize(String),
    #[error("configured logging driver does not support reading")]
    NoReading,
    #[error("failed to {what} {path}")]
    File {
        what: &'static str,
        path: PathBuf,
        #[source]
        cause: std::io::Error,
    },
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
            Self::UnknownDriver(_) | Self::Initialize(_) | Self::File { .. } => ErrorKind::Internal,
            Self::UnknownJsonFileOption { .. }
            | Self::UnknownLocalOption { .. }
            | Self::Mode(_)
            | Self::Option(_)
            | Self::BufferSizeWithoutMode
            | Self::BufferSize(_) => ErrorKind::InvalidParameter,
            Self::NoReading => ErrorKind::NotImplemented,
        }
    }
}
