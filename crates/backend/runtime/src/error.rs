//! What can go wrong between arcad and a shim.

use std::path::PathBuf;

use arca_shim_proto::{ChannelError, Failure, FailureKind, FrameError};
use arca_types::{Classify, ContainerId, ErrorKind};

/// Any failure of the runtime.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The container has no shim, or its process has ended.
    #[error("container {0} is not running")]
    NotRunning(ContainerId),
    /// A container of this ID runs already.
    #[error("container {0} is running already")]
    Running(ContainerId),
    /// The shim, or what it runs, says why not; the text is the one that clients expect.
    #[error(transparent)]
    Refused(Failure),
    /// The shim cannot be executed.
    #[error("failed to start shim {program}")]
    Spawn {
        /// The shim's program.
        program: PathBuf,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// A file or directory of the exec root cannot be used.
    #[error("failed to {what} {path}")]
    File {
        /// What was tried.
        what: &'static str,
        /// With what.
        path: PathBuf,
        /// Why not.
        #[source]
        cause: std::io::Error,
    },
    /// A file of a shim is not what it should be.
    #[error("failed to understand {path}")]
    Record {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        cause: serde_json::Error,
    },
    /// The connection failed.
    #[error("failed to talk to the shim of container {id}")]
    Channel {
        /// The container.
        id: ContainerId,
        /// Why.
        #[source]
        cause: ChannelError,
    },
    /// A message cannot be sent.
    #[error("failed to talk to the shim of container {id}")]
    Message {
        /// The container.
        id: ContainerId,
        /// Why not.
        #[source]
        cause: FrameError,
    },
    /// The shim ended without an answer.
    #[error("the shim of container {id} has died: {reason}")]
    ShimLost {
        /// The container.
        id: ContainerId,
        /// What is known of its end.
        reason: String,
    },
    /// The shim did not answer in time.
    #[error("the shim of container {id} did not answer to {what} in time")]
    Deadline {
        /// The container.
        id: ContainerId,
        /// What it was asked.
        what: &'static str,
    },
    /// The shim answered something that is no answer to the request.
    #[error("the shim of container {id} gave an answer that does not fit {what}")]
    Answer {
        /// The container.
        id: ContainerId,
        /// What it was asked.
        what: &'static str,
    },
    /// The runtime is being closed.
    #[error("the daemon is shutting down")]
    Closed,
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

    /// The exit code of a container or exec whose start failed so: 127 when the program does not
    /// exist, 126 when it cannot be executed; `None` when the failure is not the program's.
    #[must_use]
    pub fn exit_code(&self) -> Option<i32> {
        match self {
            Self::Refused(failure) => match failure.kind {
                FailureKind::CommandNotFound | FailureKind::BadMount => Some(127),
                FailureKind::CommandNotExecutable => Some(126),
                _ => None,
            },
            _ => None,
        }
    }
}

impl Classify for Error {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NotRunning(_) | Self::Running(_) => ErrorKind::Conflict,
            Self::Refused(failure) => match failure.kind {
                FailureKind::CommandNotFound
                | FailureKind::CommandNotExecutable
                | FailureKind::BadMount
                | FailureKind::InvalidConfig => ErrorKind::InvalidParameter,
                FailureKind::NotFound => ErrorKind::NotFound,
                FailureKind::Conflict => ErrorKind::Conflict,
                FailureKind::Unsupported => ErrorKind::NotImplemented,
                FailureKind::Internal => ErrorKind::Internal,
            },
            Self::Deadline { .. } => ErrorKind::Deadline,
            Self::Closed => ErrorKind::Unavailable,
            Self::Spawn { .. }
            | Self::File { .. }
            | Self::Record { .. }
            | Self::Channel { .. }
            | Self::Message { .. }
            | Self::ShimLost { .. }
            | Self::Answer { .. } => ErrorKind::Internal,
        }
    }
}
