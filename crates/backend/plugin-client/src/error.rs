//! What can go wrong with a plugin. The texts are dockerd's where it has them.

use arca_types::{Classify, ErrorKind};

/// Any failure of finding or asking a plugin.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum Error {
    #[error("plugin \"{0}\" not found")]
    NotFound(String),
    #[error("the address {address:?} of the plugin \"{name}\" cannot be used: {reason}")]
    Address {
        name: String,
        address: String,
        reason: &'static str,
    },
    #[error("plugin \"{name}\" does not implement {kind}")]
    Kind { name: String, kind: &'static str },
    #[error("error while connecting to the plugin \"{name}\"")]
    Connect {
        name: String,
        #[source]
        source: std::io::Error,
    },
    /// The plugin's own words.
    #[error("{0}")]
    Refused(String),
    #[error("{method}: the plugin \"{name}\" does not answer as it should")]
    Answer {
        name: String,
        method: String,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("{method}: the plugin \"{name}\" does not answer in time")]
    Timeout { name: String, method: String },
}

impl Classify for Error {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NotFound(_) | Self::Kind { .. } => ErrorKind::NotFound,
            _ => ErrorKind::Internal,
        }
    }
}
