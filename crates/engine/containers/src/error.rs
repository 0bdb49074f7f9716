//! Errors of the container service, in the words that clients expect.

use std::path::PathBuf;

use arca_types::{Classify, ErrorKind};

/// Any failure of a container operation. The text is part of the API.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum Error {
    #[error("No such container: {0}")]
    NotFound(String),
    #[error("multiple IDs found with provided prefix: {0}")]
    Ambiguous(String),
    #[error("Could not find the file {path} in container {container}")]
    NoSuchFile { path: String, container: String },
    #[error("cannot access path {path}: lstat {path}: {}", go_text(cause))]
    NoSubpath { path: String, cause: std::io::Error },
    #[error("No such exec instance: {0}")]
    NoSuchExec(String),
    /// A request that cannot be, in full words.
    #[error("{0}")]
    Invalid(String),
    /// Something that is refused in the present state, in full words.
    #[error("{0}")]
    Conflict(String),
    /// Something that is not allowed, in full words.
    #[error("{0}")]
    Forbidden(String),
    /// A failure that dockerd reports with status 500, in full words.
    #[error("{0}")]
    Failed(String),
    /// Something that the API offers and arca does not.
    #[error("{0}")]
    Unsupported(String),
    #[error(
        "Conflict. The container name \"/{name}\" is already in use by container \"{id}\". You have to remove (or rename) that container to be able to reuse that name."
    )]
    NameInUse { name: String, id: String },
    #[error("container {0} is not running")]
    NotRunning(String),
    #[error("Container {0} is paused, unpause the container before exec")]
    ExecPaused(String),
    #[error("Container {0} is restarting, wait until the container is running")]
    Restarting(String),
    #[error("container is marked for removal and cannot be {0}")]
    MarkedForRemoval(&'static str),
    #[error("removal of container {0} is already in progress")]
    RemovalInProgress(String),
    #[error("{what}")]
    Context {
        what: String,
        #[source]
        cause: Box<Error>,
    },
    #[error(transparent)]
    Seccomp(crate::seccomp::SeccompError),
    #[error("AppArmor enabled on system but the docker-default profile could not be loaded")]
    AppArmor(#[source] arca_apparmor::Error),
    #[error("CDI device injection failed")]
    Cdi(#[source] arca_cdi::Error),
    #[error("the daemon is shutting down")]
    ShuttingDown,
    #[error(transparent)]
    Image(Box<arca_images::Error>),
    #[error(transparent)]
    Volume(#[from] arca_volumes::Error),
    #[error("endpoint {0} not found")]
    NoEndpoint(String),
    #[error("failed to set up container networking")]
    Network(#[source] Box<arca_networks::Error>),
    #[error(transparent)]
    Networking(Box<arca_networks::Error>),
    #[error("failed to create task for container")]
    Task(#[source] arca_runtime::Error),
    #[error(transparent)]
    Runtime(arca_runtime::Error),
    #[error("failed to prepare the root filesystem")]
    Storage(#[source] arca_storage::Error),
    #[error("failed to save the container")]
    Store(#[source] arca_store::Error),
    #[error(transparent)]
    Archive(arca_archive::Error),
    #[error("failed to read the log")]
    Log(#[source] arca_logging::Error),
    #[error("failed to {what} {path}")]
    File {
        what: &'static str,
        path: PathBuf,
        #[source]
        cause: std::io::Error,
    },
}

/// An error of the operating system in the words of Go.
fn go_text(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "no such file or directory".to_owned(),
        std::io::ErrorKind::NotADirectory => "not a directory".to_owned(),
        std::io::ErrorKind::CrossesDevices => "path escapes from parent".to_owned(),
        _ => error.to_string(),
    }
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

    /// Says what was being done when an operation failed.
    pub(crate) fn context(what: String, cause: Self) -> Self {
        Self::Context {
            what,
            cause: Box::new(cause),
        }
    }

    /// The same for a request that dockerd answers with status 500 where it is just wrong.
    pub(crate) fn into_failure(self) -> Self {
        match self {
            Self::Invalid(text) => Self::Failed(text),
            other => other,
        }
    }

    /// The same for something named in a request that does not exist: the request is wrong then, not
    /// its subject.
    pub(crate) fn into_invalid(self) -> Self {
        match self {
            Self::NotFound(_) => Self::Invalid(self.to_string()),
            other => other,
        }
    }

    /// The exit code that a container gets whose start failed so (docker/cli makes the same of the
    /// text): 127 for a missing program, 126 for one that cannot be run, 128 otherwise.
    #[must_use]
    pub fn exit_code(&self) -> i32 {
        match self {
            Self::Task(cause) | Self::Runtime(cause) => cause.exit_code().unwrap_or(128),
            Self::Context { cause, .. } => cause.exit_code(),
            _ => 128,
        }
    }
}

impl From<arca_images::Error> for Error {
    fn from(cause: arca_images::Error) -> Self {
        Self::Image(Box::new(cause))
    }
}

impl From<arca_networks::Error> for Error {
    fn from(cause: arca_networks::Error) -> Self {
        Self::Network(Box::new(cause))
    }
}

impl Classify for Error {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NotFound(_)
            | Self::NoSuchFile { .. }
            | Self::NoSubpath { .. }
            | Self::NoEndpoint(_)
            | Self::NoSuchExec(_) => ErrorKind::NotFound,
            Self::Forbidden(_) => ErrorKind::Forbidden,
            Self::Invalid(_) | Self::Ambiguous(_) | Self::Seccomp(_) => ErrorKind::InvalidParameter,
            Self::Conflict(_)
            | Self::NameInUse { .. }
            | Self::NotRunning(_)
            | Self::ExecPaused(_)
            | Self::Restarting(_)
            | Self::MarkedForRemoval(_)
            | Self::RemovalInProgress(_) => ErrorKind::Conflict,
            Self::Unsupported(_) => ErrorKind::NotImplemented,
            Self::ShuttingDown => ErrorKind::Unavailable,
            Self::Context { cause, .. } => cause.kind(),
            Self::Image(cause) => cause.kind(),
            Self::Volume(cause) => cause.kind(),
            Self::Archive(cause) => cause.kind(),
            Self::Network(cause) | Self::Networking(cause) => cause.kind(),
            Self::Task(cause) | Self::Runtime(cause) => cause.kind(),
            Self::Failed(_)
            | Self::AppArmor(_)
            | Self::Cdi(_)
            | Self::Storage(_)
            | Self::Store(_)
            | Self::Log(_)
            | Self::File { .. } => ErrorKind::Internal,
        }
    }
}
