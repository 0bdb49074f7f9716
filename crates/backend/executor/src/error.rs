//! What went wrong, in the words that clients of Docker's API look for.

use std::fmt;
use std::io;

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

impl ExecError {
    /// A failure that is neither "not found" nor "permission denied".
    pub(crate) fn other(message: impl Into<String>) -> Self {
        Self {
            kind: FailureKind::Other,
            message: message.into(),
        }
    }

    /// What the operating system says about `what`, in Go's spelling: `what: no such file or
    /// directory`.
    pub(crate) fn os(what: impl fmt::Display, error: &io::Error) -> Self {
        let kind = match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => FailureKind::NotFound,
            _ if error.raw_os_error() == Some(rustix::io::Errno::ACCESS.raw_os_error()) => {
                FailureKind::PermissionDenied
            }
            _ => FailureKind::Other,
        };
        Self {
            kind,
            message: format!("{what}: {}", os_text(error)),
        }
    }

    /// Puts `context: ` before the text.
    #[must_use]
    pub(crate) fn within(mut self, context: impl fmt::Display) -> Self {
        self.message = format!("{context}: {}", self.message);
        self
    }
}

/// The operating system's text without the number, beginning with a small letter.
pub(crate) fn os_text(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut letters = text.chars();
    let first = letters.next().map(|letter| letter.to_ascii_lowercase());
    first.into_iter().chain(letters).collect()
}

/// Adds what was being done to an error of the operating system.
pub(crate) trait Context<T> {
    /// Turns the error into an [`ExecError`] that begins with `what`.
    fn context<D: fmt::Display>(self, what: impl FnOnce() -> D) -> Result<T, ExecError>;
}

impl<T> Context<T> for io::Result<T> {
    fn context<D: fmt::Display>(self, what: impl FnOnce() -> D) -> Result<T, ExecError> {
        self.map_err(|error| ExecError::os(what(), &error))
    }
}

impl<T> Context<T> for Result<T, rustix::io::Errno> {
    fn context<D: fmt::Display>(self, what: impl FnOnce() -> D) -> Result<T, ExecError> {
        self.map_err(|error| ExecError::os(what(), &error.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_spelled_as_go_does() {
        let missing = io::Error::from_raw_os_error(2);
        let error = ExecError::os("stat /nope", &missing);
        assert_eq!(error.message, "stat /nope: no such file or directory");
        assert_eq!(error.kind, FailureKind::NotFound);
        let denied = ExecError::os("x", &io::Error::from_raw_os_error(13));
        assert_eq!(
            (denied.kind, denied.message.as_str()),
            (FailureKind::PermissionDenied, "x: permission denied")
        );
        let forbidden = ExecError::os("x", &io::Error::from_raw_os_error(1)).within("y");
        assert_eq!(
            (forbidden.kind, forbidden.message.as_str()),
            (FailureKind::Other, "y: x: operation not permitted")
        );
    }

    #[test]
    fn exit_codes_are_those_of_a_shell() {
        assert_eq!(FailureKind::NotFound.exit_code(), 127);
        assert_eq!(FailureKind::PermissionDenied.exit_code(), 126);
        assert_eq!(FailureKind::Other.exit_code(), 128);
    }
}
