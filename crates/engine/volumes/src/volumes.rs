//! The service: its index and what it stands on.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arca_events::{Event, Events, Type};
use arca_store::{Batch, Durability, Store};
use arca_types::{Clock, ContainerId};

use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;

use crate::create::Beginning;
use crate::drivers::Drivers;
use crate::error::Error;
use crate::mount::Mounts;
use crate::record::Volume;

/// Where volumes are.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// The directory that holds a directory for each volume.
    pub root: PathBuf,
    /// Where plugins are found.
    pub plugins: arca_plugin_client::Config,
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
    pub(crate) drivers: Drivers,
    /// What goes on though nobody waits for it.
    pub(crate) tasks: TaskTracker,
    pub(crate) runtime: Handle,
}

/// A volume and who uses it.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) volume: Arc<Volume>,
    pub(crate) users: BTreeSet<ContainerId>,
    pub(crate) mounts: Arc<tokio::sync::Mutex<Mounts>>,
}

impl Entry {
    pub(crate) fn new(volume: Arc<Volume>) -> Self {
        Self {
            volume,
            users: BTreeSet::new(),
            mounts: Arc::default(),
        }
    }
}

impl Volumes {
    /// Reads the records, and finishes or takes back removals that were cut short. It blocks, and has to be
    /// called within a tokio runtime.
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
        let entry = |(name, volume)| (name, Entry::new(Arc::new(volume)));
        let plugins = arca_plugin_client::Plugins::new(config.plugins);
        let volumes = Self(Arc::new(Inner {
            index: Mutex::new(records.into_iter().map(entry).collect()),
            drivers: Drivers::new(&root, plugins),
            root,
            store: store.clone(),
            events,
            clock,
            changes: tokio::sync::Mutex::default(),
            pruning: tokio::sync::Mutex::default(),
            tasks: TaskTracker::new(),
            runtime: Handle::current(),
        }));
        volumes.sweep()?;
        Ok(volumes)
    }

    /// Returns the directory of the host that containers see as the volume `name`; of a plugin's volume it is
    /// known while it is mounted, and empty otherwise.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        match self.with_mounts(name) {
            Some((volume, _)) => self.mountpoint(&volume),
            None => self.0.root.join(name).join(Volume::DATA),
        }
    }

    /// As [`path`](Self::path), of a volume that may be known to its plugin alone.
    #[must_use]
    pub fn mountpoint(&self, volume: &Volume) -> PathBuf {
        if volume.has_home() {
            return volume.data_below(&self.0.root);
        }
        let mounts = self.with_mounts(&volume.name);
        let place = mounts.and_then(|(_, mounts)| mounts.try_lock().ok()?.place.clone());
        place.unwrap_or_default()
    }

    pub(crate) fn with_mounts(
        &self,
        name: &str,
    ) -> Option<(Arc<Volume>, Arc<tokio::sync::Mutex<Mounts>>)> {
        let index = self.index();
        let entry = index.get(name)?;
        Some((Arc::clone(&entry.volume), Arc::clone(&entry.mounts)))
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

    pub(crate) fn event(action: &str, name: &str, driver: &str) -> Event {
        Event::new(Type::Volume, action, name).with("driver", driver)
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
            let file = entry.map_err(read)?.file_name();
            if let Some((_note, name)) = Beginning::found(root, &file) {
                // Nobody has been told of it.
                if !self.index().contains_key(name) && root.join(name).exists() {
                    let hidden = crate::remove::new_hidden_name(name);
                    std::fs::rename(root.join(name), root.join(&hidden)).map_err(read)?;
                    leftover.push(hidden);
                }
                continue;
            }
            let Some(name) = crate::remove::hidden_name(&file) else {
                continue;
            };
            let home = root.join(name);
            if self.index().contains_key(name) && !home.exists() {
                std::fs::rename(root.join(&file), &home).map_err(read)?;
            } else {
                leftover.push(file);
            }
        }
        if !leftover.is_empty() {
            crate::remove::delete_later(root.clone(), leftover);
        }
        for entry in self.index().values() {
            let volume = &entry.volume;
            let data = volume.data_below(root);
            if volume.has_home() && !data.exists() {
                tracing::error!(
                    name = volume.name,
                    "the data of a volume are missing: it starts over empty"
                );
                crate::drivers::make_directory(&data)?;
            }
        }
        Ok(())
    }
}

/// The kernel's table of mounts cannot be read.
pub(crate) fn unreadable(source: std::io::Error) -> Error {
    Error::File {
        action: "read",
        path: "/proc/self/mountinfo".into(),
        source,
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
