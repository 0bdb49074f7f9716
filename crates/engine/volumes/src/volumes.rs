//! The service: its index and what it stands on.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arca_events::{Event, Events, Type};
use arca_store::{Batch, Durability, Store};
use arca_types::{Clock, ContainerId};

use crate::error::Error;
use crate::record::Volume;

/// The directory below a volume's own that containers see.
const DATA: &str = "_data";

/// Where volumes are.
#[derive(Debug, Clone)]
pub struct Config {
    /// The directory that holds a directory for each volume.
    pub root: PathBuf,
}

/// How a container uses a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Use {
    /// Where the container sees it.
    pub destination: String,
    /// Whether the container may write to it.
    pub read_write: bool,
    /// How mounts below it spread; empty for the default.
    pub propagation: String,
}

/// The volumes. A cheap handle.
#[derive(Debug, Clone)]
pub struct Volumes(pub(crate) Arc<Inner>);

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) root: PathBuf,
    pub(crate) store: Store,
    pub(crate) events: Events,
    pub(crate) clock: Arc<dyn Clock>,
    index: Mutex<BTreeMap<String, Entry>>,
    /// Held while a volume is made or removed, so that no name is half made and half removed.
    pub(crate) changes: tokio::sync::Mutex<()>,
    pub(crate) pruning: tokio::sync::Mutex<()>,
}

/// A volume and who uses it.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) volume: Arc<Volume>,
    pub(crate) users: BTreeSet<ContainerId>,
}

impl Volumes {
    /// Reads the records, and finishes or takes back removals that were cut short. It blocks.
    ///
    /// # Errors
    /// When the directory cannot be made or the records cannot be read.
    pub fn open(
        config: Config,
        store: &Store,
        events: Events,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, Error> {
        let root = config.root;
        make_root(&root)?;
        let records = store.table::<Volume>().load_all().map_err(Error::Store)?;
        let entry = |(name, volume)| {
            (
                name,
                Entry {
                    volume: Arc::new(volume),
                    users: BTreeSet::new(),
                },
            )
        };
        let volumes = Self(Arc::new(Inner {
            index: Mutex::new(records.into_iter().map(entry).collect()),
            root,
            store: store.clone(),
            events,
            clock,
            changes: tokio::sync::Mutex::default(),
            pruning: tokio::sync::Mutex::default(),
        }));
        volumes.sweep()?;
        Ok(volumes)
    }

    /// Returns the directory of the host that containers see as the volume `name`.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.root.join(name).join(DATA)
    }

    /// Returns the volume `name`.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub fn get(&self, name: &str) -> Result<Arc<Volume>, Error> {
        self.index()
            .get(name)
            .map(|entry| Arc::clone(&entry.volume))
            .ok_or_else(|| Error::NotFound(name.to_owned()))
    }

    pub(crate) fn index(&self) -> MutexGuard<'_, BTreeMap<String, Entry>> {
        // Every change of the map is a single call, so that a panic elsewhere cannot leave it half done.
        self.0.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes a change of the records and tells of it. [`settle`](Self::settle) puts it on the disk.
    pub(crate) async fn commit(&self, batch: Batch, event: Event) -> Result<(), Error> {
        let batch = self.0.events.stage(batch, event).map_err(Error::Event)?;
        let committed = self.0.store.commit(batch, Durability::Process).await;
        committed.map_err(Error::Store)
    }

    /// Waits until all changes so far are on the disk, together with others who wait for theirs.
    pub(crate) async fn settle(&self) -> Result<(), Error> {
        let settled = self.0.store.commit(Batch::new(), Durability::Disk).await;
        settled.map_err(Error::Store)
    }

    pub(crate) fn event(action: &str, name: &str) -> Event {
        Event::new(Type::Volume, action, name).with("driver", Volume::DRIVER)
    }

    /// Finishes removals that were cut short: takes those back whose record is still there, and deletes
    /// the data of the others, without waiting for it. A volume without its directory gets a new one.
    fn sweep(&self) -> Result<(), Error> {
        let root = &self.0.root;
        let read = |source| Error::File {
            action: "read",
            path: root.clone(),
            source,
        };
        let mut leftover = Vec::new();
        for entry in std::fs::read_dir(root).map_err(read)? {
            let hidden = entry.map_err(read)?.file_name();
            let Some(name) = crate::remove::hidden_name(&hidden) else {
                continue;
            };
            let home = root.join(name);
            if self.index().contains_key(name) && !home.exists() {
                std::fs::rename(root.join(&hidden), &home).map_err(read)?;
            } else {
                leftover.push(hidden);
            }
        }
        if !leftover.is_empty() {
            crate::remove::delete_later(root.clone(), leftover);
        }
        for name in self.index().keys() {
            let data = self.path(name);
            if !data.exists() {
                tracing::error!(
                    name,
                    "the data of a volume are missing: it starts over empty"
                );
                crate::create::make_data(&data)?;
            }
        }
        Ok(())
    }
}

fn make_root(root: &Path) -> Result<(), Error> {
    use std::os::unix::fs::DirBuilderExt as _;
    // Traversable by all: containers run as many users, and each volume has modes of its own.
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o701)
        .create(root)
        .map_err(|source| Error::File {
            action: "make",
            path: root.to_owned(),
            source,
        })
}
