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
    #[error("create {name}: error looking up volume plugin {driver}")]
    Driver {
        name: String,
        driver: String,
        #[source]
        source: arca_plugin_client::Error,
    },
    #[error(
        "create {name}: driver '{driver}' already has volume '{name}': volume name must be unique"
    )]
    OtherDriver { name: String, driver: String },
    #[error("{action} {name}")]
    Plugin {
        action: &'static str,
        name: String,
        #[source]
        source: arca_plugin_client::Error,
    },
    #[error(
        "the driver {driver} has mounted the volume {name} at {path:?}, which is no absolute path"
    )]
    Mountpoint {
        driver: String,
        name: String,
        path: String,
    },
    #[error("error while mounting volume '{}': {text}", path.display())]
    Mount { path: PathBuf, text: String },
    #[error(
        "the volume {name} is in use by the container {container}: one container at a time can have a \
         volume of the driver {driver}"
    )]
    Exclusive {
        name: String,
        driver: String,
        container: arca_types::ContainerId,
    },
    #[error("create {name}: missing required option: \"{option}\"")]
    MissingOption { name: String, option: &'static str },
    #[error("create {name}: invalid size: '{size}'")]
    InvalidSize { name: String, size: String },
    #[error("create {0}: quota size requested but no quota support")]
    NoQuota(String),
    #[error("create {name}: a block volume is ext4 or xfs, not {kind:?}")]
    UnknownFilesystem { name: String, kind: String },
    #[error("the program {program}, which the block volume {name} needs, is not installed")]
    NoTool { name: String, program: String },
    #[error("{program} of the block volume {name} failed ({status}): {said}")]
    Tool {
        name: String,
        program: String,
        status: String,
        said: String,
    },
    #[error("remove {0}: volume is in use by a copy of its files")]
    Busy(String),
    #[error("create {name}: invalid option: \"{option}\"")]
    InvalidOption { name: String, option: String },
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
            Self::NotFound(_) => ErrorKind::NotFound,
            Self::Driver { source, .. } | Self::Plugin { source, .. } => source.kind(),
            Self::InUse { .. }
            | Self::PruneRunning
            | Self::Busy(_)
            | Self::OtherDriver { .. }
            | Self::Exclusive { .. } => ErrorKind::Conflict,
            Self::NameTooShort(_)
            | Self::NameInvalid(_)
            | Self::InvalidOption { .. }
            | Self::MissingOption { .. }
            | Self::InvalidSize { .. }
            | Self::NoQuota(_)
            | Self::UnknownFilesystem { .. }
            | Self::InvalidFilter(_)
            | Self::InvalidFilterValue { .. }
            | Self::InvalidAll(_) => ErrorKind::InvalidParameter,
            Self::Mount { .. }
            | Self::Mountpoint { .. }
            | Self::NoTool { .. }
            | Self::Tool { .. }
            | Self::File { .. }
            | Self::CopyUp { .. }
            | Self::Store(_)
            | Self::Event(_) => ErrorKind::Internal,
            Self::ShuttingDown => ErrorKind::Unavailable,
        }
    }
}
