//! The cache: which layers a key gave, and directories that are kept between builds.
//!
//! A record is written when its layers are there, without waiting for the disk; storage drops layers that
//! were not synced before a power failure, and their records go with them at the next start. The cache
//! holds its layers by a lease for each record.

mod gc;
mod mounts;
pub(crate) mod portable;
mod prune;
mod record;

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arca_storage::{Lease, Storage};
use arca_store::{Batch, Durability, Store};
use arca_types::{Clock, DiffId, Digest, Timestamp, random_hex};

use crate::Error;
use crate::builder::Backends;
use crate::solve::{Outputs, Step};
use gc::Collector;
pub use gc::GcPolicy;
pub(crate) use gc::collect_soon;
pub(crate) use mounts::{CacheDir, CacheMounts};
pub use prune::{CacheItem, PruneRequest, Pruned};
pub(crate) use record::StepRecord;

/// How many digests of parts of layers are remembered.
const DIGESTS: usize = 16 * 1024;

/// The cache.
#[derive(Debug)]
pub(crate) struct Cache {
    store: Store,
    storage: Storage,
    clock: Arc<dyn Clock>,
    records: Mutex<HashMap<Digest, Held>>,
    digests: Mutex<HashMap<Digest, Digest>>,
    mounts: CacheMounts,
    pub(crate) collector: Collector,
}

/// A record, and what keeps its layers.
#[derive(Debug)]
struct Held {
    record: StepRecord,
    _lease: Lease,
}

/// What a key gave before.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    /// The layers of each output.
    pub(crate) outputs: Vec<Vec<DiffId>>,
}

impl Cache {
    /// Reads the records; those whose layers are gone are dropped. It blocks.
    pub(crate) fn open(root: &Path, backends: &Backends) -> Result<Self, Error> {
        let (store, storage) = (backends.store.clone(), backends.storage.clone());
        let mut records = HashMap::new();
        let mut gone = Batch::new();
        for (key, record) in store
            .table::<StepRecord>()
            .load_all()
            .map_err(Error::Store)?
        {
            let held = key.parse::<Digest>().ok().zip(hold(&storage, &record));
            match held {
                Some((digest, lease)) => {
                    let held = Held {
                        record,
                        _lease: lease,
                    };
                    records.insert(digest, held);
                }
                None => gone = gone.delete::<StepRecord>(&key),
            }
        }
        if !gone.is_empty() {
            store
                .commit_blocking(gone, Durability::Process)
                .map_err(Error::Store)?;
        }
        let mounts = CacheMounts::open(
            root.join("mounts"),
            store.clone(),
            Arc::clone(&backends.clock),
        )?;
        for leftovers in ["http", "git"] {
            let path = root.join(leftovers);
            match std::fs::remove_dir_all(&path) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                removed => removed.map_err(Error::file("remove", &path))?,
            }
        }
        Ok(Self {
            store,
            storage,
            clock: Arc::clone(&backends.clock),
            records: Mutex::new(records),
            digests: Mutex::default(),
            mounts,
            collector: Collector::default(),
        })
    }

    pub(crate) fn mounts(&self) -> &CacheMounts {
        &self.mounts
    }

    /// What a key gave before.
    pub(crate) fn find(&self, key: &Digest) -> Option<Found> {
        let now = self.clock.now();
        let (found, record) = {
            let mut records = self.records();
            let held = records.get_mut(key)?;
            held.record.last_used = now;
            held.record.uses += 1;
            let found = Found {
                outputs: held.record.outputs.clone(),
            };
            (found, held.record.clone())
        };
        // It is only known a little less well when it was used, if this is lost.
        match Batch::new().put(key.as_str(), &record) {
            Ok(batch) => {
                let store = self.store.clone();
                tokio::spawn(async move {
                    if let Err(error) = store.commit(batch, Durability::Process).await {
                        tracing::warn!(%error, "the use of a cache record is not saved");
                    }
                });
            }
            Err(error) => tracing::warn!(%error, "the use of a cache record is not saved"),
        }
        Some(found)
    }

    /// Keeps what a step has made. A failure is only logged: the result is as good without.
    pub(crate) async fn keep(&self, key: &Digest, step: &Step, outputs: &Outputs) {
        let layers: Option<Vec<Vec<DiffId>>> = outputs
            .trees
            .iter()
            .map(|tree| tree.layers().map(<[DiffId]>::to_vec))
            .collect();
        let Some(layers) = layers else {
            return;
        };
        let now = self.clock.now();
        let record = StepRecord {
            id: random_hex(13).chars().take(25).collect(),
            size: self.own_size(step, &layers),
            outputs: layers,
            kind: step.kind().to_owned(),
            description: step.description(),
            created: now,
            last_used: now,
            uses: 1,
        };
        let Some(lease) = hold(&self.storage, &record) else {
            return;
        };
        let saved = match Batch::new().put(key.as_str(), &record) {
            Ok(batch) => self.store.commit(batch, Durability::Process).await,
            Err(error) => Err(error),
        };
        match saved {
            Ok(()) => {
                let held = Held {
                    record,
                    _lease: lease,
                };
                self.records().insert(key.clone(), held);
                self.collector.grows();
            }
            Err(error) => tracing::warn!(%error, "a cache record is not saved"),
        }
    }

    /// The bytes in layers that a step has added to those of its inputs.
    fn own_size(&self, step: &Step, outputs: &[Vec<DiffId>]) -> u64 {
        let before: Vec<&DiffId> = step
            .inputs
            .iter()
            .flat_map(|tree| tree.layers().unwrap_or_default())
            .collect();
        let own = outputs
            .iter()
            .flatten()
            .filter(|layer| !before.contains(layer));
        own.filter_map(|layer| self.storage.layer(layer))
            .map(|layer| layer.size)
            .sum()
    }

    /// When the steps ran that made these layers, each on top of those below it.
    pub(crate) fn made(&self, layers: &[DiffId]) -> Vec<Option<Timestamp>> {
        let mut times = vec![None; layers.len()];
        for held in self.records().values() {
            let record = &held.record;
            for output in record
                .outputs
                .iter()
                .filter(|output| layers.starts_with(output))
            {
                let time = output
                    .len()
                    .checked_sub(1)
                    .and_then(|top| times.get_mut(top));
                if let Some(time) = time {
                    // The first of steps that made the same.
                    *time = Some(time.map_or(record.created, |at| record.created.min(at)));
                }
            }
        }
        times
    }

    /// A digest that was computed of layers before.
    pub(crate) fn digest(&self, of: &Digest) -> Option<Digest> {
        let digests = self.digests.lock().unwrap_or_else(PoisonError::into_inner);
        digests.get(of).cloned()
    }

    pub(crate) fn remember_digest(&self, of: Digest, digest: Digest) {
        let mut digests = self.digests.lock().unwrap_or_else(PoisonError::into_inner);
        if digests.len() >= DIGESTS {
            digests.clear();
        }
        digests.insert(of, digest);
    }

    fn records(&self) -> MutexGuard<'_, HashMap<Digest, Held>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Holds the layers of a record; `None` when one is gone.
fn hold(storage: &Storage, record: &StepRecord) -> Option<Lease> {
    let lease = storage.lease();
    let layers = record.outputs.iter().flatten();
    for layer in layers {
        lease.layer(layer)?;
    }
    Some(lease)
}
