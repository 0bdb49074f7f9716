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
/// What begins the names of directories that are being deleted; no volume's name begins with a dot.
pub(crate) const DELETED: &str = ".deleted-";

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
    /// Reads the records, and takes away directories whose removal was cut short. It blocks.
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

    /// Tells of `action`, together with a change of the records, once that is on disk.
    pub(crate) async fn commit(&self, batch: Batch, event: Event) -> Result<(), Error> {
        self.0
            .store
            .commit(batch, Durability::Disk)
            .await
            .map_err(Error::Store)?;
        self.0.events.publish(event).await;
        Ok(())
    }

    pub(crate) fn event(action: &str, name: &str) -> Event {
        Event::new(Type::Volume, action, name).with("driver", Volume::DRIVER)
    }

    /// Deletes what earlier removals have only renamed, without waiting for it.
    fn sweep(&self) -> Result<(), Error> {
        let read = |source| Error::File {
            action: "read",
            path: self.0.root.clone(),
            source,
        };
        for entry in std::fs::read_dir(&self.0.root).map_err(read)? {
            let name = entry.map_err(read)?.file_name();
            if name.to_string_lossy().starts_with(DELETED) {
                crate::remove::delete_later(self.0.root.clone(), name);
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
