//! What can go wrong with a volume. The texts are part of the API.

use std::path::PathBuf;

use arca_types::{Classify, ErrorKind};

/// Any failure of a volume operation.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum Error {
    #[error("get {0}: no such volume")]
    NotFound(String),
    #[error("remove {name}: volume is in use - [{}]", containers.join(", "))]
    InUse {
        name: String,
        containers: Vec<String>,
    },
    #[error(
        "create {0}: volume name is too short, names should be at least two alphanumeric characters"
    )]
    NameTooShort(String),
    #[error(
        "create {0}: \"{0}\" includes invalid characters for a local volume name, only \
         \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to pass a host directory, use \
         absolute path"
    )]
    NameInvalid(String),
    #[error(
        "create {name}: error looking up volume plugin {driver}: plugin \"{driver}\" not found"
    )]
    NoDriver { name: String, driver: String },
    #[error("create {name}: invalid option: \"{option}\"")]
    InvalidOption { name: String, option: String },
    #[error("create {name}: the option \"{option}\" of the local driver is not supported")]
    UnsupportedOption { name: String, option: String },
    #[error("invalid filter '{0}'")]
    InvalidFilter(String),
    #[error("invalid filter '{name}=[{value}]'")]
    InvalidFilterValue { name: String, value: String },
    #[error("invalid filter 'all': strconv.ParseBool: parsing \"{0}\": invalid syntax")]
    InvalidAll(String),
    #[error("a prune operation is already running")]
    PruneRunning,
    #[error("failed to {action} {}", path.display())]
    File {
        action: &'static str,
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("failed to copy the image's {path} into the volume {name}")]
    CopyUp {
        name: String,
        path: String,
        #[source]
        source: arca_archive::Error,
    },
    #[error("failed to write the record of a volume")]
    Store(#[source] arca_store::Error),
    #[error("failed to write the event of a volume")]
    Event(#[source] arca_events::Error),
    #[error("the engine is shutting down")]
    ShuttingDown,
}

impl Classify for Error {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NotFound(_) | Self::NoDriver { .. } => ErrorKind::NotFound,
            Self::InUse { .. } | Self::PruneRunning => ErrorKind::Conflict,
            Self::NameTooShort(_)
            | Self::NameInvalid(_)
            | Self::InvalidOption { .. }
            | Self::InvalidFilter(_)
            | Self::InvalidFilterValue { .. }
            | Self::InvalidAll(_) => ErrorKind::InvalidParameter,
            Self::UnsupportedOption { .. } => ErrorKind::NotImplemented,
            Self::File { .. } | Self::CopyUp { .. } | Self::Store(_) | Self::Event(_) => {
                ErrorKind::Internal
            }
            Self::ShuttingDown => ErrorKind::Unavailable,
        }
    }
}
