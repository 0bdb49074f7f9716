//! How bad an error is, and its text for people.

use std::error::Error;

/// What kind of failure an error is. The API maps each kind to one HTTP status (`arca-server`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The request is malformed or asks for something that cannot be (400).
    InvalidParameter,
    /// Credentials are missing or wrong (401).
    Unauthorized,
    /// The request is understood and not allowed (403).
    Forbidden,
    /// What is asked for does not exist (404).
    NotFound,
    /// The state of things contradicts the request (409).
    Conflict,
    /// A limit on size was exceeded (413).
    TooLarge,
    /// Somebody else's limit on requests was exceeded (429).
    TooManyRequests,
    /// Something inside failed (500).
    Internal,
    /// arca does not do this (501).
    NotImplemented,
    /// Not available now, or not on this host (503).
    Unavailable,
    /// A wait on the outside reached its deadline (504).
    Deadline,
}

/// Implemented by every error that can leave the engine.
pub trait Classify: Error {
    /// Returns the kind of this failure.
    fn kind(&self) -> ErrorKind;
}

/// Joins the texts of `error` and of its causes with `": "`: the one text for people.
///
/// A cause whose text is already the end of what was said is not said twice.
#[must_use]
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !next.is_empty() && !text.ends_with(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot open")]
    struct Outer(#[source] std::io::Error);

    #[test]
    fn causes_follow_after_a_colon() {
        let error = Outer(std::io::Error::other("disk on fire"));
        assert_eq!(chain(&error), "cannot open: disk on fire");
    }
}
