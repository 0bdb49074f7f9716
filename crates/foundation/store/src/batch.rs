//! A set of changes that happen together or not at all.

use std::sync::Arc;

use serde::Serialize;

use crate::journal::{Journal, Shared};
use crate::{Error, Record};

/// How much a change has to survive once [`crate::Store::commit`] has returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// The death of any process, but not of the machine. Costs no disk access.
    Process,
    /// Power loss, too: the change is on the disk. Costs one `fdatasync`, shared by those who wait.
    Disk,
}

/// Changes that are committed atomically.
#[derive(Debug, Default)]
pub struct Batch {
    pub(crate) changes: Vec<Change>,
}

/// One change of a [`Batch`].
#[derive(Debug)]
pub(crate) enum Change {
    /// Writes a record, replacing what the key held.
    Put {
        table: &'static str,
        version: u32,
        key: String,
        body: Vec<u8>,
    },
    /// Deletes a record; no harm when there is none.
    Delete { table: &'static str, key: String },
    /// Adds an entry to a journal.
    Append {
        journal: Arc<Shared>,
        at: i64,
        body: Arc<[u8]>,
    },
}

impl Change {
    /// The bytes it stores.
    pub(crate) fn size(&self) -> usize {
        match self {
            Self::Put { body, .. } => body.len(),
            Self::Delete { .. } => 0,
            Self::Append { body, .. } => body.len(),
        }
    }
}

impl Batch {
    /// An empty batch.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds: write `record` under `key`.
    ///
    /// # Errors
    /// [`Error::Encode`] when the record cannot be turned into JSON.
    pub fn put<R: Record>(mut self, key: &str, record: &R) -> Result<Self, Error> {
        let body = serde_json::to_vec(record).map_err(|source| Error::Encode {
            table: R::TABLE,
            source: Arc::new(source),
        })?;
        self.changes.push(Change::Put {
            table: R::TABLE,
            version: R::VERSION,
            key: key.to_owned(),
            body,
        });
        Ok(self)
    }

    /// Adds: delete what is under `key`.
    #[must_use]
    pub fn delete<R: Record>(mut self, key: &str) -> Self {
        self.changes.push(Change::Delete {
            table: R::TABLE,
            key: key.to_owned(),
        });
        self
    }

    /// Adds: append `value` to `journal`, at the time `at` (nanoseconds since 1970).
    ///
    /// # Errors
    /// [`Error::Encode`] when the value cannot be turned into JSON.
    pub fn append<T: Serialize>(
        mut self,
        journal: &Journal<T>,
        at: i64,
        value: &T,
    ) -> Result<Self, Error> {
        let shared = Arc::clone(&journal.shared);
        let body = serde_json::to_vec(value).map_err(|source| Error::Encode {
            table: shared.name,
            source: Arc::new(source),
        })?;
        self.changes.push(Change::Append {
            journal: shared,
            at,
            body: body.into(),
        });
        Ok(self)
    }

    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }
}
