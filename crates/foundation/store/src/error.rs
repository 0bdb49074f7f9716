//! What can go wrong with the database.

use std::path::PathBuf;
use std::sync::Arc;

use arca_types::{Classify, ErrorKind};

/// Any failure of the store. None of them is the fault of a client.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// A file of the database could not be opened, locked or synced.
    #[error("failed to {action} {}", path.display())]
    File {
        /// What was tried, as in "failed to open".
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The answer of the system.
        #[source]
        source: Arc<std::io::Error>,
    },
    /// Another process has the database open.
    #[error("the state in {} is in use by another process", .0.display())]
    Locked(PathBuf),
    /// SQLite refused an operation.
    #[error("state database: failed to {action}")]
    Database {
        /// What was tried.
        action: &'static str,
        /// SQLite's answer.
        #[source]
        source: Arc<rusqlite::Error>,
    },
    /// The database, or a record in it, was written by a later release.
    #[error("{what} has version {found}, this program knows up to {known}")]
    TooNew {
        /// The database or the record.
        what: String,
        /// The version found.
        found: u32,
        /// The newest version this program reads.
        known: u32,
    },
    /// A record could not be turned into JSON.
    #[error("failed to encode a record of {table}")]
    Encode {
        /// The table of the record.
        table: &'static str,
        /// What serde says.
        #[source]
        source: Arc<serde_json::Error>,
    },
    /// A record in the database is not what its version says it is.
    #[error("record {key:?} of {table} is damaged")]
    Decode {
        /// The table of the record.
        table: &'static str,
        /// Its key.
        key: String,
        /// What serde says.
        #[source]
        source: Arc<serde_json::Error>,
    },
    /// The thread that writes has ended.
    #[error("the state database is closed")]
    Closed,
}

impl Classify for Error {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Internal
    }
}

impl Error {
    /// For `map_err`: names what was asked of SQLite.
    pub(crate) fn database(action: &'static str) -> impl FnOnce(rusqlite::Error) -> Self {
        move |source| Self::Database {
            action,
            source: Arc::new(source),
        }
    }

    /// For `map_err`: names the file and what was done with it.
    pub(crate) fn file(
        action: &'static str,
        path: &std::path::Path,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File {
            action,
            path,
            source: Arc::new(source),
        }
    }
}
