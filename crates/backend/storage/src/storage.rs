//! The handle, and opening.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arca_archive::spread_directories;
use arca_store::{Batch, Durability, Store};

use crate::error::Error;
use crate::paths::Paths;
use crate::reaper::Reaper;
use crate::record::Driver;
use crate::state::State;
use crate::{init, limit, mount, sweep};

/// Where storage is and how it works.
#[derive(Debug, Clone)]
pub struct Config {
    /// The directory everything is in.
    pub root: PathBuf,
    /// How snapshots are made; `None` takes overlay where it works, else vfs.
    pub driver: Option<Driver>,
    /// The bytes that a container may write unless it says another number.
    pub size: Option<u64>,
}

/// Blobs, layers and snapshots. A cheap handle.
#[derive(Debug, Clone)]
pub struct Storage {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) paths: Paths,
    pub(crate) driver: Driver,
    /// See [`Config::size`].
    pub(crate) size: Option<u64>,
    pub(crate) store: Store,
    /// The kernel's name for this boot.
    pub(crate) boot: String,
    pub(crate) reaper: Reaper,
    state: Mutex<State>,
    /// Held while rows and state are brought from one agreement to the next.
    changing: Mutex<()>,
    /// The last number given to a name in `trash/`.
    last_name: AtomicU64,
}

impl Storage {
    /// Opens the storage in `config.root`, making it when there is none, and removes what earlier runs
    /// have left behind. It blocks.
    ///
    /// # Errors
    /// [`Error::Io`] when a directory cannot be made or read, [`Error::Store`] when the rows cannot be
    /// read, [`Error::Driver`] when overlay is asked for and does not work, [`Error::NoDefaultSize`] when
    /// the size is not zero and cannot be kept.
    pub fn open(config: Config, store: Store) -> Result<Self, Error> {
        let paths = Paths::new(config.root);
        make_directories(&paths)?;
        let boot = boot_id()?;
        let state = sweep::sweep(&paths, &store, &boot)?;
        init::prepare(&paths)?;
        let works = || mount::overlay_works(&paths);
        let driver = match config.driver {
            Some(Driver::Overlay) if !works() => {
                return Err(Error::Driver(Driver::Overlay.as_str().to_owned()));
            }
            Some(driver) => driver,
            None if works() => Driver::Overlay,
            None => Driver::Vfs,
        };
        let size = config.size.filter(|size| *size > 0);
        if size.is_some() && !limit::is_possible(&paths.snapshots())? {
            return Err(Error::NoDefaultSize);
        }
        let reaper = Reaper::new(paths.trash());
        reaper.wake();
        let inner = Inner {
            paths,
            driver,
            size,
            store,
            boot,
            reaper,
            state: Mutex::new(state),
            changing: Mutex::new(()),
            last_name: AtomicU64::new(0),
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// How snapshots are made.
    #[must_use]
    pub fn driver(&self) -> Driver {
        self.inner.driver
    }

    /// Waits until everything that was written is on the disk.
    ///
    /// To be called before a record is committed to the disk that refers to blobs or layers. One call
    /// serves all of an image.
    ///
    /// # Errors
    /// [`Error::Io`] when the disk fails, [`Error::Store`].
    pub async fn sync(&self) -> Result<(), Error> {
        self.blocking(Inner::sync).await
    }

    /// Runs work that blocks.
    pub(crate) async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let inner = Arc::clone(&self.inner);
        let done = tokio::task::spawn_blocking(move || work(&inner)).await;
        done.unwrap_or(Err(Error::Panicked))
    }
}

impl Inner {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// To be held from the decision about a change until rows and state have it.
    pub(crate) fn changing(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes rows; they survive the death of this process.
    pub(crate) fn commit(&self, batch: Batch) -> Result<(), Error> {
        self.store
            .commit_blocking(batch, Durability::Process)
            .map_err(Error::Store)
    }

    /// A name in `tmp/` that nothing has. It is random because ext4 chooses the place of a tree by it.
    pub(crate) fn tmp(&self) -> PathBuf {
        self.paths.tmp().join(arca_types::random_hex(8))
    }

    /// Takes something away: at once out of sight, deleted in the background.
    pub(crate) fn discard(&self, path: &std::path::Path) {
        let number = self.last_name.fetch_add(1, Ordering::Relaxed);
        let target = self
            .paths
            .trash()
            .join(format!("{}-{number}", self.reaper.prefix()));
        match std::fs::rename(path, &target) {
            Ok(()) => self.reaper.wake(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            // The sweep of the next start finds it.
            Err(error) => tracing::warn!(path = %path.display(), %error, "left behind"),
        }
    }

    fn sync(&self) -> Result<(), Error> {
        let (blobs, layers) = {
            let state = self.state();
            let blobs: Vec<_> = state
                .blobs
                .iter()
                .filter(|(_, record)| record.unsynced.is_some())
                .map(|(digest, _)| digest.clone())
                .collect();
            let layers: Vec<_> = state
                .layers
                .iter()
                .filter(|(_, record)| record.unsynced.is_some())
                .map(|(diff_id, _)| diff_id.clone())
                .collect();
            (blobs, layers)
        };
        if blobs.is_empty() && layers.is_empty() {
            return Ok(());
        }
        let root = self.paths.root();
        let directory = std::fs::File::open(root).map_err(Error::io("open", root))?;
        rustix::fs::syncfs(&directory).map_err(Error::io("sync", root))?;
        let _changing = self.changing();
        let mut batch = Batch::new();
        let mut state = self.state();
        for digest in &blobs {
            if let Some(record) = state.blobs.get_mut(digest) {
                record.unsynced = None;
                batch = batch.put(digest.as_str(), record).map_err(Error::Store)?;
            }
        }
        for diff_id in &layers {
            if let Some(record) = state.layers.get_mut(diff_id) {
                record.unsynced = None;
                batch = batch.put(diff_id.as_str(), record).map_err(Error::Store)?;
            }
        }
        drop(state);
        self.commit(batch)
    }
}

fn make_directories(paths: &Paths) -> Result<(), Error> {
    let directories = [
        paths.blobs("sha256"),
        paths.blobs("sha512"),
        paths.layers(),
        paths.snapshots(),
        paths.tmp(),
        paths.trash(),
        paths.nothing(),
    ];
    for directory in directories {
        std::fs::create_dir_all(&directory).map_err(Error::io("create", &directory))?;
    }
    // Trees are made in these; where they are renamed to later makes no difference.
    for directory in [paths.tmp(), paths.snapshots()] {
        spread_directories(&directory).map_err(Error::io("mark", &directory))?;
    }
    Ok(())
}

/// Names the time since the machine was started, the same for every process.
fn boot_id() -> Result<String, Error> {
    let path = std::path::Path::new("/proc/sys/kernel/random/boot_id");
    let id = std::fs::read_to_string(path).map_err(Error::io("read", path))?;
    Ok(id.trim().to_owned())
}
