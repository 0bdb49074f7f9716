//! What went wrong, in the words that clients of Docker's API look for.

use serde::{Deserialize, Serialize};

/// What a failure means for the exit code that a client shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// The command, or something that it needs, does not exist: exit code 127.
    NotFound,
    /// The command may not be executed: exit code 126.
    PermissionDenied,
    /// Anything else: exit code 128 of the container, 125 of `docker run`.
    Other,
}

impl FailureKind {
    /// Returns the exit code of a container or an exec that failed in this way.
    #[must_use]
    pub const fn exit_code(self) -> i32 {
        match self {
            Self::NotFound => 127,
            Self::PermissionDenied => 126,
            Self::Other => 128,
        }
    }
}

/// A failure of the executor. It crosses processes, so it is the finished text with its kind.
///
/// The text is the one that dockerd shows after `failed to create task for container: failed to
/// create shim task: ` (for [`run`](crate::run)) or as it is (for [`exec`](crate::exec)).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct ExecError {
    /// What the failure means.
    pub kind: FailureKind,
    /// The text for people.
    pub message: String,
}
