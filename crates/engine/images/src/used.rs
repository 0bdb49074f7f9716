//! When each image was used last: what the collection of images goes by.

use std::collections::{BTreeMap, BTreeSet};

use arca_store::{Batch, Durability, Record, Store};
use arca_types::{ImageId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::index::Index;

/// When an image was used last. The key is its ID. What a crash loses of it are minutes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct UsedRecord {
    at: Timestamp,
}

impl Record for UsedRecord {
    const TABLE: &'static str = "image_uses";
    const VERSION: u32 = 1;
}

/// When each image was used last.
#[derive(Debug, Default)]
pub(crate) struct LastUsed {
    at: BTreeMap<ImageId, Timestamp>,
    /// What the records do not say yet.
    unsaved: BTreeSet<ImageId>,
}

impl LastUsed {
    /// Reads the records. It blocks.
    pub(crate) fn load(store: &Store) -> Result<Self, Error> {
        let records = store.table::<UsedRecord>().load_all();
        let mut found = Self::default();
        for (key, record) in records.map_err(Error::Store)? {
            if let Ok(id) = key.parse() {
                found.at.insert(id, record.at);
            }
        }
        Ok(found)
    }

    /// Notes that an image is used.
    pub(crate) fn touch(&mut self, id: &ImageId, now: Timestamp) {
        self.at.insert(id.clone(), now);
        self.unsaved.insert(id.clone());
    }

    /// Takes over which images there are; one that is new counts as used.
    pub(crate) fn follow(&mut self, index: &Index, now: Timestamp) {
        let gone: Vec<ImageId> = self
            .at
            .keys()
            .filter(|id| !index.images.contains_key(id))
            .cloned()
            .collect();
        for id in gone {
            self.at.remove(&id);
            self.unsaved.insert(id);
        }
        for id in index.images.keys() {
            if !self.at.contains_key(id) {
                self.touch(id, now);
            }
        }
    }

    /// When was an image used last?
    pub(crate) fn at(&self, id: &ImageId) -> Option<Timestamp> {
        self.at.get(id).copied()
    }

    /// What the records have to be told.
    pub(crate) fn unsaved(&mut self) -> Result<Batch, Error> {
        let mut batch = Batch::new();
        for id in std::mem::take(&mut self.unsaved) {
            batch = match self.at.get(&id) {
                Some(at) => batch
                    .put(id.as_str(), &UsedRecord { at: *at })
                    .map_err(Error::Store)?,
                None => batch.delete::<UsedRecord>(id.as_str()),
            };
        }
        Ok(batch)
    }
}

/// Writes down when images were used.
pub(crate) async fn save(store: &Store, batch: Batch) -> Result<(), Error> {
    if batch.is_empty() {
        return Ok(());
    }
    let saved = store.commit(batch, Durability::Process).await;
    saved.map_err(Error::Store)
}
