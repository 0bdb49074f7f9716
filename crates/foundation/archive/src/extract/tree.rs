//! The tree that is unpacked into: directories by descriptor, and what is in the way of an entry.

use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::error::{Error, text};
use crate::node::{self, Attributes};
use crate::path;
use crate::remove::remove_tree;

/// How many directories are kept open. Archives go through a tree in order, so few are enough.
const OPEN_DIRECTORIES: usize = 64;

/// A root, and directories below it that were used last.
pub(super) struct Tree<'a> {
    root: BorrowedFd<'a>,
    /// Who is to own the directories that an archive implies.
    owner: Option<(u32, u32)>,
    open: HashMap<Vec<u8>, Rc<OwnedFd>>,
    /// Has something been removed for what came after it?
    pub(super) replaced: bool,
}

/// A directory of an archive.
pub(super) struct Made {
    pub(super) node: Rc<OwnedFd>,
    /// It took the place of a whiteout of the same layer.
    pub(super) over_whiteout: bool,
}

impl<'a> Tree<'a> {
    pub(super) fn new(root: BorrowedFd<'a>, owner: Option<(u32, u32)>) -> Self {
        Self {
            root,
            owner,
            open: HashMap::new(),
            replaced: false,
        }
    }

    /// The directory at `path`, which has to exist.
    pub(super) fn existing(&mut self, path: &[u8]) -> Result<Rc<OwnedFd>, Error> {
        self.lookup(path).map_err(Error::tree("open", path))
    }

    /// The directory at `path`, made with all those above it when missing.
    pub(super) fn parent(&mut self, path: &[u8]) -> Result<Rc<OwnedFd>, Error> {
        match self.lookup(path) {
            Err(Errno::NOENT) if !path.is_empty() => {
                let (above, name) = path::split(path);
                let parent = self.parent(above)?;
                self.imply(parent.as_fd(), name)
                    .map_err(Error::tree("create", path))?;
                self.existing(path)
            }
            found => found.map_err(Error::tree("open", path)),
        }
    }

    /// Makes the entry at `path` by `make`; what is there already is removed.
    pub(super) fn create<T>(
        &mut self,
        path: &[u8],
        keep_directories: bool,
        make: impl Fn(BorrowedFd<'_>, &[u8]) -> Result<T, Errno>,
    ) -> Result<T, Error> {
        let (above, name) = path::split(path);
        let parent = self.parent(above)?;
        match make(parent.as_fd(), name) {
            Err(Errno::EXIST) => {
                self.clear(parent.as_fd(), path, keep_directories)?;
                make(parent.as_fd(), name).map_err(Error::tree("create", path))
            }
            made => made.map_err(Error::tree("create", path)),
        }
    }

    /// Makes the directory at `path`, or takes the one that is there; anything else is removed.
    pub(super) fn directory(&mut self, path: &[u8], keep_directories: bool) -> Result<Made, Error> {
        let failed = || Error::tree("create", path);
        let (above, name) = path::split(path);
        let parent = self.parent(above)?;
        let mode = Mode::from_raw_mode(0o755);
        let mut over_whiteout = false;
        match rustix::fs::mkdirat(&*parent, name, mode) {
            Err(Errno::EXIST) => {
                let stat = rustix::fs::statat(&*parent, name, AtFlags::SYMLINK_NOFOLLOW)
                    .map_err(failed())?;
                if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
                    if keep_directories {
                        return Err(Error::DirectoryOverNonDirectory { path: text(path) });
                    }
                    over_whiteout = node::is_whiteout(&stat);
                    self.replaced = true;
                    rustix::fs::unlinkat(&*parent, name, AtFlags::empty()).map_err(failed())?;
                    self.open.clear();
                    rustix::fs::mkdirat(&*parent, name, mode).map_err(failed())?;
                }
            }
            made => made.map_err(failed())?,
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = rustix::fs::openat(&*parent, name, flags, Mode::empty());
        let node = Rc::new(opened.map_err(failed())?);
        self.remember(path, &node);
        Ok(Made {
            node,
            over_whiteout,
        })
    }

    /// Removes what is in the way at `path`.
    fn clear(
        &mut self,
        parent: BorrowedFd<'_>,
        path: &[u8],
        keep_directories: bool,
    ) -> Result<(), Error> {
        let failed = || Error::tree("replace", path);
        self.replaced = true;
        let (_, name) = path::split(path);
        let removed = rustix::fs::unlinkat(parent, name, AtFlags::empty());
        if matches!(removed, Err(Errno::ISDIR | Errno::PERM)) {
            if keep_directories {
                return Err(Error::NonDirectoryOverDirectory { path: text(path) });
            }
            remove_tree(parent, name).map_err(failed())?;
        } else {
            removed.map_err(failed())?;
        }
        // It may have been a link or a directory on the way to those that are open.
        self.open.clear();
        Ok(())
    }

    /// Makes a directory that the archive does not have, but needs.
    fn imply(&self, parent: BorrowedFd<'_>, name: &[u8]) -> Result<(), Errno> {
        match rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(0o755)) {
            // A link that leads nowhere: opening it says so.
            Err(Errno::EXIST) => return Ok(()),
            made => made?,
        }
        let (uid, gid) = self.owner.unwrap_or((0, 0));
        let wanted = Attributes {
            mode: 0o755,
            uid,
            gid,
            mtime: (0, 0),
            xattrs: &[],
        };
        node::set_node(node::open_node(parent, name)?.as_fd(), &wanted)
    }

    fn lookup(&mut self, path: &[u8]) -> Result<Rc<OwnedFd>, Errno> {
        if let Some(open) = self.open.get(path) {
            return Ok(Rc::clone(open));
        }
        let opened = path::open_in_root(self.root, path, OFlags::PATH | OFlags::DIRECTORY)?;
        let opened = Rc::new(opened);
        self.remember(path, &opened);
        Ok(opened)
    }

    fn remember(&mut self, path: &[u8], directory: &Rc<OwnedFd>) {
        if self.open.len() >= OPEN_DIRECTORIES {
            self.open.clear();
        }
        self.open.insert(path.to_vec(), Rc::clone(directory));
    }
}
