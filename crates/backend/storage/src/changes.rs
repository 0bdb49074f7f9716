//! What a container has changed, as dockerd tells it.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::rc::Rc;

use arca_archive::open_root;
use arca_types::ContainerId;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use crate::error::Error;
use crate::record::{Driver, SnapshotRecord};
use crate::storage::{Inner, Storage};

/// How an entry has changed (`FilesystemChange.Kind`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    /// Contents or attributes differ, or something below has changed.
    Modified,
    /// The image does not have it.
    Added,
    /// The image has it, the container no more.
    Deleted,
}

/// One entry that has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The absolute path in the container.
    pub path: String,
    /// How it has changed.
    pub kind: ChangeKind,
}

impl Storage {
    /// Compares a container with its image. The answer is ordered by path.
    ///
    /// Directories count as changed when owner or mode are, or when something in them is; other entries
    /// also by size and time. What is below a deleted directory is not told.
    ///
    /// # Errors
    /// [`Error::NoSnapshot`], [`Error::NoLayer`], [`Error::Mount`], [`Error::Io`].
    pub async fn changes(&self, id: &ContainerId) -> Result<Vec<Change>, Error> {
        let id = id.clone();
        self.blocking(move |inner| inner.changes(&id)).await
    }
}

impl Inner {
    fn changes(&self, id: &ContainerId) -> Result<Vec<Change>, Error> {
        let change = |(path, kind): (Vec<u8>, ChangeKind)| Change {
            path: String::from_utf8_lossy(&path).into_owned(),
            kind,
        };
        let found = self.compare(&self.snapshot(id)?)?;
        Ok(found.into_iter().map(change).collect())
    }

    /// The bytes in the files that a container has made or changed, where they are among all others.
    pub(crate) fn changed_size(&self, record: &SnapshotRecord) -> Result<u64, Error> {
        let directory = self.paths.snapshot(record.number);
        let root = open_root(&directory).map_err(Error::io("open", &directory))?;
        let mut size = 0_u64;
        for (path, kind) in self.compare(record)? {
            let name = path.strip_prefix(b"/").unwrap_or(&path);
            let stat = rustix::fs::statat(&root, name, AtFlags::SYMLINK_NOFOLLOW);
            if let Ok(stat) = stat
                && kind != ChangeKind::Deleted
                && !is_dir(&stat)
            {
                size = size.saturating_add(u64::try_from(stat.st_size).unwrap_or(0));
            }
        }
        Ok(size)
    }

    fn compare(&self, record: &SnapshotRecord) -> Result<BTreeMap<Vec<u8>, ChangeKind>, Error> {
        let image = self.open_image(&record.layers)?;
        let directory = self.paths.snapshot(record.number);
        let (written, complete) = match record.driver {
            Driver::Overlay => (directory.join("upper"), false),
            Driver::Vfs => (directory, true),
        };
        let new = open_root(&written).map_err(Error::io("open", &written))?;
        compare(new, image, complete).map_err(Error::io("compare", &written))
    }
}

/// A directory that is to be looked at: where it is in the container, and in the image if it is there.
struct Pair {
    new: Rc<OwnedFd>,
    old: Option<Rc<OwnedFd>>,
    /// The name in both; empty for the root.
    name: Vec<u8>,
    path: Vec<u8>,
    /// Nothing of the image shows through: what is not here is deleted.
    complete: bool,
}

/// The changes found so far.
#[derive(Default)]
struct Found(BTreeMap<Vec<u8>, ChangeKind>);

fn compare(
    new: OwnedFd,
    old: OwnedFd,
    complete: bool,
) -> Result<BTreeMap<Vec<u8>, ChangeKind>, Errno> {
    let mut found = Found::default();
    let root = Pair {
        new: Rc::new(new),
        old: Some(Rc::new(old)),
        name: b".".to_vec(),
        path: Vec::new(),
        complete,
    };
    let mut waiting = vec![root];
    while let Some(pair) = waiting.pop() {
        found.directory(&pair, &mut waiting)?;
    }
    Ok(found.0)
}

impl Found {
    fn directory(&mut self, pair: &Pair, waiting: &mut Vec<Pair>) -> Result<(), Errno> {
        let new = Rc::new(open_dir(&pair.new, &pair.name)?);
        let old = match &pair.old {
            Some(old) => Some(Rc::new(open_dir(old, &pair.name)?)),
            None => None,
        };
        let complete = pair.complete || is_opaque(&new);
        let names = names(&new)?;
        for name in &names {
            let path = [pair.path.as_slice(), b"/", name].concat();
            let Some(stat) = look(&new, name)? else {
                continue;
            };
            let before = match &old {
                Some(old) => look(old, name)?,
                None => None,
            };
            if is_whiteout(&stat) && !pair.complete {
                if before.is_some() {
                    self.note(path, ChangeKind::Deleted);
                }
                continue;
            }
            match &before {
                None => self.note(path.clone(), ChangeKind::Added),
                Some(before)
                    if differs(before, &stat)
                        || capabilities_differ(&new, old.as_deref(), name) =>
                {
                    self.note(path.clone(), ChangeKind::Modified);
                }
                Some(_) => {}
            }
            if is_dir(&stat) {
                let old = old.clone().filter(|_| before.as_ref().is_some_and(is_dir));
                waiting.push(Pair {
                    new: Rc::clone(&new),
                    old,
                    name: name.clone(),
                    path,
                    complete,
                });
            }
        }
        if let Some(old) = old.filter(|_| complete) {
            for name in self::names(&old)?.difference(&names) {
                self.note(
                    [pair.path.as_slice(), b"/", name].concat(),
                    ChangeKind::Deleted,
                );
            }
        }
        Ok(())
    }

    /// Notes a change, and that what is above has changed with it.
    fn note(&mut self, path: Vec<u8>, kind: ChangeKind) {
        let mut above = path.as_slice();
        while let Some(slash) = above
            .iter()
            .rposition(|byte| *byte == b'/')
            .filter(|at| *at > 0)
        {
            above = above.get(..slash).unwrap_or_default();
            if self.0.contains_key(above) {
                break;
            }
            self.0.insert(above.to_vec(), ChangeKind::Modified);
        }
        self.0.insert(path, kind);
    }
}

/// Is it another entry? The size and time of a directory say nothing.
fn differs(old: &Stat, new: &Stat) -> bool {
    let same_time = (old.st_mtime, old.st_mtime_nsec) == (new.st_mtime, new.st_mtime_nsec);
    old.st_mode != new.st_mode
        || old.st_uid != new.st_uid
        || old.st_gid != new.st_gid
        || old.st_rdev != new.st_rdev
        || (!is_dir(old) && (!same_time || old.st_size != new.st_size))
}

fn capabilities_differ(new: &OwnedFd, old: Option<&OwnedFd>, name: &[u8]) -> bool {
    let capability = |directory: &OwnedFd| {
        let path = [
            format!("/proc/self/fd/{}/", directory.as_raw_fd()).as_bytes(),
            name,
        ]
        .concat();
        let mut value = [0_u8; 64];
        let length = rustix::fs::lgetxattr(path.as_slice(), c"security.capability", &mut value);
        length
            .ok()
            .and_then(|length| value.get(..length).map(<[u8]>::to_vec))
    };
    old.is_some_and(|old| capability(old) != capability(new))
}

fn is_dir(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
}

fn is_whiteout(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}

fn is_opaque(directory: &OwnedFd) -> bool {
    let mut value = [0_u8; 1];
    let read = rustix::fs::fgetxattr(directory, c"trusted.overlay.opaque", &mut value);
    matches!(read, Ok(1)) && value == *b"y"
}

/// Looks at an entry; `None` when it has vanished.
fn look(directory: &OwnedFd, name: &[u8]) -> Result<Option<Stat>, Errno> {
    match rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

fn open_dir(parent: &OwnedFd, name: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(parent, name, flags, Mode::empty())
}

fn names(directory: &OwnedFd) -> Result<BTreeSet<Vec<u8>>, Errno> {
    let mut names = BTreeSet::new();
    for entry in Dir::read_from(directory.as_fd())? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if !matches!(name, b"." | b"..") {
            names.insert(name.to_vec());
        }
    }
    Ok(names)
}
