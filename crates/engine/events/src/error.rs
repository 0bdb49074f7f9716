//! What can go wrong with events.

use arca_types::{Classify, ErrorKind};

/// Any failure of the journal of events. The text is part of the API.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum Error {
    #[error("failed to access the journal of events")]
    Journal(#[source] arca_store::Error),
}

impl Classify for Error {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Journal(cause) => cause.kind(),
        }
    }
}
