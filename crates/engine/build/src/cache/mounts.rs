//! Directories that are kept between builds (`RUN --mount=type=cache`).

use std::collections::HashMap;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arca_store::{Batch, Durability, Store};
use arca_types::{Clock, random_hex};
use tokio::sync::Notify;

use super::record::MountRecord;
use crate::fs::path;
use crate::graph::{CacheMount, CacheSharing};
use crate::solve::{Step, blocking};
use crate::{Error, Tree};

/// The directories. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct CacheMounts(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    root: PathBuf,
    store: Store,
    clock: Arc<dyn Clock>,
    directories: Mutex<HashMap<String, Directory>>,
    /// Somebody has given one back.
    returned: Notify,
}

#[derive(Debug)]
struct Directory {
    record: MountRecord,
    users: usize,
    /// Nobody else may have it.
    exclusive: bool,
}

/// A directory in use; it is given back when this is dropped.
#[derive(Debug)]
pub(crate) struct CacheDir {
    owner: CacheMounts,
    name: String,
    path: PathBuf,
}

impl CacheDir {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for CacheDir {
    fn drop(&mut self) {
        if let Some(directory) = self.owner.directories().get_mut(&self.name) {
            directory.users = directory.users.saturating_sub(1);
            directory.exclusive = false;
        }
        self.owner.0.returned.notify_waiters();
    }
}

/// A directory as `docker buildx du` shows it.
#[derive(Debug, Clone)]
pub(super) struct Listed {
    pub(super) name: String,
    pub(super) record: MountRecord,
    pub(super) in_use: bool,
    pub(super) size: u64,
}

impl CacheMounts {
    /// Reads the records; directories and records without each other go. It blocks.
    pub(super) fn open(root: PathBuf, store: Store, clock: Arc<dyn Clock>) -> Result<Self, Error> {
        std::fs::create_dir_all(&root).map_err(Error::file("create", &root))?;
        let mut directories = HashMap::new();
        let mut gone = Batch::new();
        for (name, record) in store
            .table::<MountRecord>()
            .load_all()
            .map_err(Error::Store)?
        {
            if root.join(&name).is_dir() {
                let directory = Directory {
                    record,
                    users: 0,
                    exclusive: false,
                };
                directories.insert(name, directory);
            } else {
                gone = gone.delete::<MountRecord>(&name);
            }
        }
        if !gone.is_empty() {
            store
                .commit_blocking(gone, Durability::Process)
                .map_err(Error::Store)?;
        }
        let entries = std::fs::read_dir(&root).map_err(Error::file("read", &root))?;
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if !directories.contains_key(&name) {
                let path = entry.path();
                std::fs::remove_dir_all(&path).map_err(Error::file("remove", &path))?;
            }
        }
        Ok(Self(Arc::new(Inner {
            root,
            store,
            clock,
            directories: Mutex::new(directories),
            returned: Notify::new(),
        })))
    }

    /// Takes a directory as a mount wants it, waiting for one that is locked. `first` is what a new one
    /// begins with: a tree and a path in it.
    pub(crate) async fn take(
        &self,
        step: &Step,
        mount: &CacheMount,
        first: Option<(Tree, String)>,
    ) -> Result<CacheDir, Error> {
        let origin = first.as_ref().map(|(tree, selector)| {
            let of = tree.layers().map(|_| tree.identity().to_string());
            format!("\0{}\0{selector}", of.unwrap_or_default())
        });
        let cache = format!("{}{}", mount.id, origin.unwrap_or_default());
        loop {
            // Registered before the look, so that nothing is missed.
            let returned = self.0.returned.notified();
            match self.choose(&cache, mount.sharing) {
                Choice::Taken(directory) => return self.used(directory).await,
                Choice::Wait => returned.await,
                Choice::New => return self.make(step, (mount, cache), first).await,
            }
        }
    }

    fn choose(&self, cache: &str, sharing: CacheSharing) -> Choice {
        let mut directories = self.directories();
        let mut all: Vec<(&String, &mut Directory)> = directories
            .iter_mut()
            .filter(|(_, directory)| directory.record.cache == cache)
            .collect();
        all.sort_by(|a, b| {
            a.1.record
                .created
                .unix_nanoseconds()
                .cmp(&b.1.record.created.unix_nanoseconds())
        });
        let fits = |directory: &Directory| match sharing {
            CacheSharing::Shared => !directory.exclusive,
            CacheSharing::Private | CacheSharing::Locked => directory.users == 0,
        };
        let any = !all.is_empty();
        match all.into_iter().find(|(_, directory)| fits(directory)) {
            Some((name, directory)) => {
                directory.users += 1;
                directory.exclusive = sharing != CacheSharing::Shared;
                Choice::Taken(CacheDir {
                    owner: self.clone(),
                    name: name.clone(),
                    path: self.0.root.join(name),
                })
            }
            None if any && sharing != CacheSharing::Private => Choice::Wait,
            None => Choice::New,
        }
    }

    /// Makes a directory. Two that make the same at once each get one; the older is used from then on.
    async fn make(
        &self,
        step: &Step,
        (mount, cache): (&CacheMount, String),
        first: Option<(Tree, String)>,
    ) -> Result<CacheDir, Error> {
        let name = random_hex(8);
        let path = self.0.root.join(&name);
        let begun = match first {
            Some((tree, selector)) => Some((tree.open(step.storage()).await?, tree, selector)),
            None => None,
        };
        let target = path.clone();
        blocking(move || {
            std::fs::create_dir(&target).map_err(Error::file("create", &target))?;
            match begun {
                Some((root, _tree, selector)) => fill(root.as_fd(), &selector, &target),
                None => Ok(()),
            }
        })
        .await?;
        let now = self.0.clock.now();
        let record = MountRecord {
            id: random_hex(13).chars().take(25).collect(),
            cache,
            name: mount.id.clone(),
            created: now,
            last_used: now,
            uses: 0,
        };
        let directory = Directory {
            record,
            users: 1,
            exclusive: mount.sharing != CacheSharing::Shared,
        };
        self.directories().insert(name.clone(), directory);
        let directory = CacheDir {
            owner: self.clone(),
            name,
            path,
        };
        self.used(directory).await
    }

    /// Notes that a directory is used.
    async fn used(&self, directory: CacheDir) -> Result<CacheDir, Error> {
        let record = {
            let mut directories = self.directories();
            directories.get_mut(&directory.name).map(|known| {
                known.record.last_used = self.0.clock.now();
                known.record.uses += 1;
                known.record.clone()
            })
        };
        if let Some(record) = record {
            let batch = Batch::new()
                .put(&directory.name, &record)
                .map_err(Error::Store)?;
            let saved = self.0.store.commit(batch, Durability::Process).await;
            saved.map_err(Error::Store)?;
        }
        Ok(directory)
    }

    /// All directories with their sizes. It blocks.
    pub(super) fn list(&self) -> Vec<Listed> {
        let mut listed: Vec<Listed> = {
            let directories = self.directories();
            let all = directories.iter();
            all.map(|(name, directory)| Listed {
                name: name.clone(),
                record: directory.record.clone(),
                in_use: directory.users > 0,
                size: 0,
            })
            .collect()
        };
        for item in &mut listed {
            item.size = size(&self.0.root.join(&item.name));
        }
        listed
    }

    /// Removes a directory, unless it is in use. It blocks.
    pub(super) fn remove(&self, name: &str) -> Result<bool, Error> {
        {
            let mut directories = self.directories();
            match directories.get(name) {
                Some(directory) if directory.users == 0 => directories.remove(name),
                _ => return Ok(false),
            };
        }
        let batch = Batch::new().delete::<MountRecord>(name);
        let saved = self.0.store.commit_blocking(batch, Durability::Process);
        saved.map_err(Error::Store)?;
        let path = self.0.root.join(name);
        std::fs::remove_dir_all(&path).map_err(Error::file("remove", &path))?;
        Ok(true)
    }

    fn directories(&self) -> MutexGuard<'_, HashMap<String, Directory>> {
        self.0
            .directories
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

enum Choice {
    Taken(CacheDir),
    Wait,
    New,
}

/// Copies what a tree has at a path.
fn fill(root: std::os::fd::BorrowedFd<'_>, selector: &str, target: &Path) -> Result<(), Error> {
    let at = crate::fs::edit::resolved(root, selector.as_bytes())?;
    let from =
        path::open_dir(root, &at).map_err(|error| Error::errno("open", path::shown(&at))(error))?;
    let to = arca_archive::open_root(target).map_err(Error::errno("open", target))?;
    arca_archive::copy_tree(&from, &to, false).map_err(Error::Archive)
}

/// The bytes in a directory; 0 when it cannot be read.
fn size(path: &Path) -> u64 {
    let flags =
        rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC;
    rustix::fs::open(path, flags, rustix::fs::Mode::empty())
        .and_then(arca_archive::tree_size)
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use arca_types::SystemClock;

    fn bed() -> (tempfile::TempDir, CacheMounts) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path().join("db")).unwrap();
        let mounts = CacheMounts::open(dir.path().join("m"), store, Arc::new(SystemClock)).unwrap();
        let now = mounts.0.clock.now();
        let record = MountRecord {
            id: "x".to_owned(),
            cache: "c".to_owned(),
            name: "c".to_owned(),
            created: now,
            last_used: now,
            uses: 0,
        };
        let directory = Directory {
            record,
            users: 0,
            exclusive: false,
        };
        std::fs::create_dir(dir.path().join("m/one")).unwrap();
        mounts.directories().insert("one".to_owned(), directory);
        (dir, mounts)
    }

    #[test]
    fn sharing_decides_whether_the_second_shares_waits_or_gets_its_own() {
        let (_dir, mounts) = bed();
        let Choice::Taken(first) = mounts.choose("c", CacheSharing::Shared) else {
            panic!("free");
        };
        assert!(matches!(
            mounts.choose("c", CacheSharing::Locked),
            Choice::Wait
        ));
        assert!(matches!(
            mounts.choose("c", CacheSharing::Private),
            Choice::New
        ));
        assert!(matches!(
            mounts.choose("c", CacheSharing::Shared),
            Choice::Taken(_)
        ));
        drop(first);
        let Choice::Taken(_locked) = mounts.choose("c", CacheSharing::Locked) else {
            panic!("given back");
        };
        assert!(matches!(
            mounts.choose("c", CacheSharing::Shared),
            Choice::Wait
        ));
        assert!(matches!(
            mounts.choose("d", CacheSharing::Shared),
            Choice::New
        ));
    }

    #[test]
    fn what_is_in_use_is_not_removed() {
        let (dir, mounts) = bed();
        let taken = mounts.choose("c", CacheSharing::Shared);
        assert!(!mounts.remove("one").unwrap());
        drop(taken);
        assert!(mounts.remove("one").unwrap());
        assert!(!dir.path().join("m/one").exists());
    }
}
