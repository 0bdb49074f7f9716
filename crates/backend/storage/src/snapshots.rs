//! Containers' writable layers, and merged views.

use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use arca_archive::{copy_tree, open_root, tree_size};
use arca_store::Batch;
use arca_types::{ContainerId, DiffId};
use rustix::fs::{FlockOperation, Mode, OFlags};

use crate::error::Error;
use crate::limit;
use crate::mount::{OPTIONS, Overlay, forget_volatile};
use crate::record::{Driver, SnapshotRecord};
use crate::storage::{Inner, Storage};

/// How a root file system comes about; whoever uses it mounts it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rootfs {
    /// An overlay mount.
    Overlay {
        /// Read-only layers, the topmost first.
        lower: Vec<PathBuf>,
        /// The writable layer.
        upper: PathBuf,
        /// The work directory.
        work: PathBuf,
        /// Further options of the mount, as `key=value`.
        options: Vec<String>,
    },
    /// A directory as it is.
    Directory(PathBuf),
}

impl Storage {
    /// Makes a writable layer on top of `layers`, the lowest first.
    ///
    /// # Errors
    /// [`Error::SnapshotExists`], [`Error::NoLayer`], [`Error::Io`], [`Error::Store`]; nothing has
    /// changed then.
    pub async fn prepare(&self, id: &ContainerId, layers: &[DiffId]) -> Result<(), Error> {
        let (id, layers) = (id.clone(), layers.to_vec());
        self.blocking(move |inner| inner.prepare(&id, layers, None))
            .await
    }

    /// Makes the writable layer of a container, which may write `size` bytes; `None` is what the
    /// configuration says, 0 no limit.
    ///
    /// # Errors
    /// As [`prepare`](Self::prepare); [`Error::NoSize`] where the file system keeps no such limits.
    pub async fn prepare_of_size(
        &self,
        id: &ContainerId,
        layers: &[DiffId],
        size: Option<u64>,
    ) -> Result<(), Error> {
        let (id, layers) = (id.clone(), layers.to_vec());
        self.blocking(move |inner| {
            let size = size.or(inner.size).filter(|size| *size > 0);
            inner.prepare(&id, layers, size)
        })
        .await
    }

    /// Removes the writable layer of a container; its contents are deleted in the background.
    ///
    /// It is no error when there is none.
    ///
    /// # Errors
    /// [`Error::Store`] when the row cannot be deleted.
    pub async fn remove(&self, id: &ContainerId) -> Result<(), Error> {
        let id = id.clone();
        self.blocking(move |inner| inner.remove(&id)).await
    }

    /// The containers that have a writable layer.
    #[must_use]
    pub fn snapshots(&self) -> Vec<ContainerId> {
        let state = self.inner.state();
        state
            .snapshots
            .keys()
            .filter_map(|key| key.parse().ok())
            .collect()
    }

    /// What the root file system of a container is made of.
    ///
    /// # Errors
    /// [`Error::NoSnapshot`], [`Error::NoLayer`].
    pub fn rootfs(&self, id: &ContainerId) -> Result<Rootfs, Error> {
        let record = self.inner.snapshot(id)?;
        let directory = self.inner.paths.snapshot(record.number);
        if record.driver == Driver::Vfs {
            return Ok(Rootfs::Directory(directory));
        }
        let lower = self.inner.lower(&record.layers)?;
        let (upper, work) = (directory.join("upper"), directory.join("work"));
        // Left only if arcad was killed within the microseconds in which it opened a view.
        forget_volatile(&work);
        let options = OPTIONS
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        Ok(Rootfs::Overlay {
            lower,
            upper,
            work,
            options,
        })
    }

    /// Opens the root file system of a container that is **not** running, to read and to write.
    ///
    /// # Errors
    /// [`Error::NoSnapshot`], [`Error::NoLayer`], [`Error::Mount`].
    pub async fn open_rootfs(&self, id: &ContainerId) -> Result<OwnedFd, Error> {
        let rootfs = self.rootfs(id)?;
        self.blocking(move |_| match rootfs {
            Rootfs::Overlay {
                lower, upper, work, ..
            } => Overlay {
                lower,
                upper: Some((upper, work)),
            }
            .open(),
            Rootfs::Directory(path) => open_root(&path).map_err(Error::io("open", &path)),
        })
        .await
    }

    /// Opens the merged contents of layers, the lowest first, to read only.
    ///
    /// # Errors
    /// [`Error::NoLayer`], [`Error::Mount`].
    pub async fn open_image(&self, layers: &[DiffId]) -> Result<OwnedFd, Error> {
        let layers = layers.to_vec();
        self.blocking(move |inner| inner.open_image(&layers)).await
    }

    /// The directories of the layers that a snapshot stands on, the topmost first, with nothing of a container
    /// among them. There are two at least, so that they are an overlay without anything else.
    ///
    /// # Errors
    /// [`Error::NoSnapshot`], [`Error::NoLayer`].
    pub fn layers_of(&self, id: &ContainerId) -> Result<Vec<PathBuf>, Error> {
        let record = self.inner.snapshot(id)?;
        let mut lower = self.inner.lower(&record.layers)?;
        lower.pop();
        lower.push(self.inner.paths.empty());
        if lower.len() == 1 {
            // An image without layers.
            lower.push(self.inner.paths.init().join("proc"));
        }
        Ok(lower)
    }

    /// Opens what [`layers_of`](Self::layers_of) tells, to read only.
    ///
    /// # Errors
    /// [`Error::NoSnapshot`], [`Error::NoLayer`], [`Error::Mount`].
    pub async fn open_layers_of(&self, id: &ContainerId) -> Result<OwnedFd, Error> {
        let lower = self.layers_of(id)?;
        self.blocking(move |inner| match inner.driver {
            Driver::Overlay => Overlay { lower, upper: None }.open(),
            Driver::Vfs => inner.open_copy(&lower),
        })
        .await
    }

    /// The bytes a container has written: what dockerd calls `SizeRw`.
    ///
    /// # Errors
    /// [`Error::NoSnapshot`], [`Error::Io`].
    pub async fn usage(&self, id: &ContainerId) -> Result<u64, Error> {
        let record = self.inner.snapshot(id)?;
        self.blocking(move |inner| inner.usage(&record)).await
    }
}

impl Inner {
    pub(crate) fn snapshot(&self, id: &ContainerId) -> Result<SnapshotRecord, Error> {
        let state = self.state();
        let record = state.snapshots.get(id.as_str());
        record.cloned().ok_or_else(|| Error::NoSnapshot(id.clone()))
    }

    /// The directories of layers, the topmost first, with the one that is below all.
    pub(crate) fn lower(&self, layers: &[DiffId]) -> Result<Vec<PathBuf>, Error> {
        let state = self.state();
        let mut lower = Vec::with_capacity(layers.len() + 1);
        for diff_id in layers.iter().rev() {
            let layer = state
                .layers
                .get(diff_id)
                .ok_or_else(|| Error::NoLayer(diff_id.clone()))?;
            let directory = self.paths.layer(layer.number);
            // A layer that occurs twice shows no more than the upper one of the two.
            if !lower.contains(&directory) {
                lower.push(directory);
            }
        }
        drop(state);
        lower.push(self.paths.init());
        Ok(lower)
    }

    pub(crate) fn open_image(&self, layers: &[DiffId]) -> Result<OwnedFd, Error> {
        let lower = self.lower(layers)?;
        if let [only] = lower.as_slice() {
            return open_root(only).map_err(Error::io("open", only));
        }
        match self.driver {
            Driver::Overlay => Overlay { lower, upper: None }.open(),
            Driver::Vfs => self.open_copy(&lower),
        }
    }

    /// Without overlays, a merged view is a copy. Whoever reads it holds a lock on it.
    fn open_copy(&self, lower: &[PathBuf]) -> Result<OwnedFd, Error> {
        self.discard_copies();
        let path = self.tmp();
        let made = make_directory(&path, None).and_then(|()| self.copy_layers(lower, &path));
        let copied = made.and_then(|()| {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let failed = || Error::io("open", &path);
            let opened = rustix::fs::open(&path, flags, Mode::empty()).map_err(failed())?;
            rustix::fs::flock(&opened, FlockOperation::NonBlockingLockShared).map_err(failed())?;
            Ok(opened)
        });
        match &copied {
            Ok(_) => self.state().copies.push(path),
            Err(_) => self.discard(&path),
        }
        copied
    }

    /// Removes the copies that nobody reads any more.
    pub(crate) fn discard_copies(&self) {
        let copies = std::mem::take(&mut self.state().copies);
        let (unused, used) = copies
            .into_iter()
            .partition::<Vec<_>, _>(|path| is_unlocked(path));
        self.state().copies.extend(used);
        for path in unused {
            self.discard(&path);
        }
    }

    fn prepare(
        &self,
        id: &ContainerId,
        layers: Vec<DiffId>,
        size: Option<u64>,
    ) -> Result<(), Error> {
        let lower = self.lower(&layers)?;
        let number = {
            let mut state = self.state();
            if state.snapshots.contains_key(id.as_str()) {
                return Err(Error::SnapshotExists(id.clone()));
            }
            state.next_number()
        };
        let directory = self.paths.snapshot(number);
        let made = match self.driver {
            Driver::Overlay => make_overlay(&directory, size),
            Driver::Vfs => {
                make_directory(&directory, size).and_then(|()| self.copy_layers(&lower, &directory))
            }
        };
        let record = SnapshotRecord {
            number,
            driver: self.driver,
            layers,
            size,
        };
        let registered = made.and_then(|()| self.register(id, record));
        if registered.is_err() {
            self.discard_snapshot(&directory, size);
        }
        registered
    }

    fn register(&self, id: &ContainerId, record: SnapshotRecord) -> Result<(), Error> {
        let _changing = self.changing();
        // Between the look at the layers and now somebody may have collected them.
        self.lower(&record.layers)?;
        if self.state().snapshots.contains_key(id.as_str()) {
            return Err(Error::SnapshotExists(id.clone()));
        }
        let batch = Batch::new()
            .put(id.as_str(), &record)
            .map_err(Error::Store)?;
        self.commit(batch)?;
        self.state()
            .snapshots
            .insert(id.as_str().to_owned(), record);
        Ok(())
    }

    fn remove(&self, id: &ContainerId) -> Result<(), Error> {
        let _changing = self.changing();
        let Ok(record) = self.snapshot(id) else {
            return Ok(());
        };
        self.commit(Batch::new().delete::<SnapshotRecord>(id.as_str()))?;
        self.state().snapshots.remove(id.as_str());
        self.discard_snapshot(&self.paths.snapshot(record.number), record.size);
        self.discard_copies();
        Ok(())
    }

    fn discard_snapshot(&self, directory: &Path, size: Option<u64>) {
        if size.is_some() {
            limit::lift(directory);
        }
        self.discard(directory);
    }

    fn usage(&self, record: &SnapshotRecord) -> Result<u64, Error> {
        if record.driver == Driver::Vfs {
            return self.changed_size(record);
        }
        let written = self.paths.snapshot(record.number).join("upper");
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let failed = || Error::io("measure", &written);
        let opened = rustix::fs::open(&written, flags, Mode::empty()).map_err(failed())?;
        tree_size(opened).map_err(failed())
    }

    /// Copies layers on top of each other into an empty directory.
    fn copy_layers(&self, lower: &[PathBuf], target: &Path) -> Result<(), Error> {
        let to = open_root(target).map_err(Error::io("open", target))?;
        for layer in lower.iter().rev() {
            let from = open_root(layer).map_err(Error::io("open", layer))?;
            copy_tree(from.as_fd(), to.as_fd(), true).map_err(Error::Tree)?;
        }
        Ok(())
    }
}

/// Makes a directory that can hold `size` bytes.
fn make_directory(directory: &Path, size: Option<u64>) -> Result<(), Error> {
    std::fs::create_dir(directory).map_err(Error::io("create", directory))?;
    size.map_or(Ok(()), |size| limit::limit(directory, &[], size))
}

/// Makes the directories of an overlay to which `size` bytes can be written.
pub(crate) fn make_overlay(directory: &Path, size: Option<u64>) -> Result<(), Error> {
    use std::os::unix::fs::DirBuilderExt as _;
    for (path, mode) in [
        (directory.to_owned(), 0o710),
        (directory.join("upper"), 0o755),
        (directory.join("work"), 0o700),
    ] {
        std::fs::DirBuilder::new()
            .mode(mode)
            .create(&path)
            .map_err(Error::io("create", &path))?;
        // Whatever the umask is.
        let permissions = std::os::unix::fs::PermissionsExt::from_mode(mode);
        std::fs::set_permissions(&path, permissions).map_err(Error::io("create", &path))?;
    }
    size.map_or(Ok(()), |size| {
        limit::limit(directory, &["upper", "work"], size)
    })
}

/// Has everybody closed the directory?
fn is_unlocked(path: &Path) -> bool {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty())
        .and_then(|opened| rustix::fs::flock(&opened, FlockOperation::NonBlockingLockExclusive))
        .is_ok()
}
