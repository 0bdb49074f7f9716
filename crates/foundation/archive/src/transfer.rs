//! Copying one entry of a tree into another, with changes to owners, modes and times, and by selection.

use std::collections::HashMap;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use crate::copy::{copy_file, copy_other};
use crate::error::Error;
use crate::node::{self, Attributes};
use crate::path;
use crate::remove::remove_tree;
use crate::walk::{Node, Walk};

/// Which entries are copied.
pub type Select<'a> = dyn Fn(&[u8], bool) -> bool + 'a;

/// What a copy changes.
#[derive(Clone, Copy, Default)]
pub struct Transfer<'a> {
    /// The owner of all that is copied; `None` keeps each.
    pub owner: Option<(u32, u32)>,
    /// The new permissions of an entry that is no link, by its old ones and whether it is a directory.
    pub mode: Option<&'a dyn Fn(u32, bool) -> u32>,
    /// The time of all that is copied, seconds and nanoseconds; `None` keeps each.
    pub mtime: Option<(i64, u32)>,
    /// Replace what is of another kind, instead of refusing.
    pub replace: bool,
    /// Which entries below a directory are copied, by path relative to it and whether they are
    /// directories. A directory that is not selected is made when something in it is; `None` takes all.
    pub select: Option<&'a Select<'a>>,
}

impl std::fmt::Debug for Transfer<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Transfer")
            .field("owner", &self.owner)
            .field("mtime", &self.mtime)
            .field("replace", &self.replace)
            .finish_non_exhaustive()
    }
}

impl Transfer<'_> {
    /// Copies what is not a directory: `name` in `from` becomes `to_name` in `to`.
    ///
    /// # Errors
    /// [`Error::Tree`]; `EISDIR` when a directory is in the way.
    pub fn leaf(
        &self,
        (from, name): (BorrowedFd<'_>, &[u8]),
        (to, to_name): (BorrowedFd<'_>, &[u8]),
    ) -> Result<(), Error> {
        let failed = || Error::tree("copy", name);
        let stat = rustix::fs::statat(from, name, AtFlags::SYMLINK_NOFOLLOW).map_err(failed())?;
        self.make_room(to, to_name, false).map_err(failed())?;
        self.copy_leaf((from, name, &stat), (to, to_name))
            .map_err(failed())
    }

    /// Copies what is in the directory `from` into the directory `to`. The directory `to` itself gets
    /// the attributes of `from` when `attributes` says so.
    ///
    /// # Errors
    /// [`Error::Tree`]; `ENOTDIR` or `EISDIR` when something of another kind is in the way.
    pub fn contents(
        &self,
        from: BorrowedFd<'_>,
        to: BorrowedFd<'_>,
        attributes: bool,
    ) -> Result<(), Error> {
        let failed = |what| Error::tree(what, b"");
        let source = node::open_dir(from, b".").map_err(failed("read"))?;
        let stat = rustix::fs::fstat(&source).map_err(failed("read"))?;
        if attributes {
            self.directory_attributes(source.as_fd(), &stat, to)
                .map_err(failed("set attributes of"))?;
        }
        let mut copy = Copy {
            options: self,
            to,
            links: HashMap::new(),
            times: Vec::new(),
            pending: Vec::new(),
        };
        let mut walk = Walk::below(source)?;
        while let Some(node) = walk.next_node()? {
            copy.node(node)?;
        }
        copy.finish()?;
        if attributes {
            let time = self.mtime.unwrap_or(crate::copy::mtime(&stat));
            node::set_times(to, b".", time).map_err(failed("set the time of"))?;
        }
        Ok(())
    }

    fn attributes<'b>(&self, stat: &Stat, xattrs: &'b [(Vec<u8>, Vec<u8>)]) -> Attributes<'b> {
        let directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        let link = FileType::from_raw_mode(stat.st_mode) == FileType::Symlink;
        let mode = stat.st_mode & 0o7777;
        let (uid, gid) = self.owner.unwrap_or((stat.st_uid, stat.st_gid));
        Attributes {
            mode: match self.mode {
                Some(change) if !link => change(mode, directory),
                _ => mode,
            },
            uid,
            gid,
            mtime: self.mtime.unwrap_or(crate::copy::mtime(stat)),
            xattrs,
        }
    }

    fn directory_attributes(
        &self,
        source: BorrowedFd<'_>,
        stat: &Stat,
        target: BorrowedFd<'_>,
    ) -> Result<(), Errno> {
        let xattrs = node::xattrs(source)?;
        node::set_node(target, &self.attributes(stat, &xattrs))
    }

    fn copy_leaf(
        &self,
        (from, name, stat): (BorrowedFd<'_>, &[u8], &Stat),
        (to, to_name): (BorrowedFd<'_>, &[u8]),
    ) -> Result<(), Errno> {
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => {
                let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
                let source = rustix::fs::openat(from, name, flags, Mode::empty())?;
                let xattrs = node::xattrs(source.as_fd())?;
                copy_file(&source, (to, to_name), &self.attributes(stat, &xattrs))
            }
            _ => copy_other(
                (from, name),
                (to, to_name),
                stat,
                &self.attributes(stat, &[]),
            ),
        }
    }

    /// Removes what is in the way of an entry, unless it can stay or must not go. Says whether a
    /// directory is there.
    fn make_room(
        &self,
        parent: BorrowedFd<'_>,
        name: &[u8],
        for_directory: bool,
    ) -> Result<bool, Errno> {
        let there = match rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Ok(false),
            there => FileType::from_raw_mode(there?.st_mode) == FileType::Directory,
        };
        match (there, for_directory) {
            (true, true) => return Ok(true),
            (false, false) => rustix::fs::unlinkat(parent, name, AtFlags::empty())?,
            (true, false) if !self.replace => return Err(Errno::ISDIR),
            (false, true) if !self.replace => return Err(Errno::NOTDIR),
            _ => remove_tree(parent, name)?,
        }
        Ok(false)
    }
}

/// A copy under way.
struct Copy<'a> {
    options: &'a Transfer<'a>,
    to: BorrowedFd<'a>,
    /// Where the first name of an inode with several was copied to.
    links: HashMap<(u64, u64), Vec<u8>>,
    /// The times of directories, to be set last.
    times: Vec<(Vec<u8>, (i64, u32))>,
    /// Directories above the present entry that are made when something in them is copied.
    pending: Vec<Node>,
}

impl Copy<'_> {
    fn node(&mut self, node: Node) -> Result<(), Error> {
        let is_above = |dir: &Node| {
            let rest = node.path.strip_prefix(dir.path.as_slice());
            rest.is_some_and(|rest| rest.starts_with(b"/"))
        };
        while self.pending.last().is_some_and(|dir| !is_above(dir)) {
            self.pending.pop();
        }
        let directory = node.directory.is_some();
        if let Some(select) = self.options.select
            && !select(&node.path, directory)
        {
            if directory {
                self.pending.push(node);
            }
            return Ok(());
        }
        for above in std::mem::take(&mut self.pending) {
            self.directory(&above)?;
        }
        if directory {
            self.directory(&node)
        } else {
            self.leaf(&node)
        }
    }

    fn leaf(&mut self, node: &Node) -> Result<(), Error> {
        let failed = || Error::tree("copy", &node.path);
        let (above, name) = path::split(&node.path);
        let parent = self.open(above).map_err(failed())?;
        let parent = parent.as_fd();
        self.options
            .make_room(parent, name, false)
            .map_err(failed())?;
        let key = (node.stat.st_dev, node.stat.st_ino);
        if node.stat.st_nlink > 1
            && let Some(first) = self.links.get(&key)
        {
            let (above, from) = path::split(first);
            return self
                .open(above)
                .and_then(|above| rustix::fs::linkat(&above, from, parent, name, AtFlags::empty()))
                .map_err(failed());
        }
        let source = (node.parent.as_fd(), node.name.as_slice(), &node.stat);
        self.options
            .copy_leaf(source, (parent, name))
            .map_err(failed())?;
        if node.stat.st_nlink > 1 {
            self.links.insert(key, node.path.clone());
        }
        Ok(())
    }

    fn directory(&mut self, node: &Node) -> Result<(), Error> {
        let Some(source) = &node.directory else {
            return Ok(());
        };
        let failed = || Error::tree("copy", &node.path);
        let (above, name) = path::split(&node.path);
        let parent = self.open(above).map_err(failed())?;
        let there = self
            .options
            .make_room(parent.as_fd(), name, true)
            .map_err(failed())?;
        if !there {
            rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(0o700)).map_err(failed())?;
        }
        let made = node::open_dir(parent.as_fd(), name).map_err(failed())?;
        self.options
            .directory_attributes(source.as_fd(), &node.stat, made.as_fd())
            .map_err(failed())?;
        let time = self.options.mtime.unwrap_or(crate::copy::mtime(&node.stat));
        self.times.push((node.path.clone(), time));
        Ok(())
    }

    fn open(&self, path: &[u8]) -> Result<OwnedFd, Errno> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW;
        path::open_in_root(self.to, path, flags)
    }

    fn finish(&self) -> Result<(), Error> {
        for (path, mtime) in &self.times {
            let (above, name) = path::split(path);
            self.open(above)
                .and_then(|parent| node::set_times(parent.as_fd(), name, *mtime))
                .map_err(Error::tree("set the time of", path))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path::open_root;
    use std::fs;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

    #[test]
    fn owners_modes_and_times_are_changed_and_selection_makes_directories_on_the_way() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::create_dir_all(from.path().join("a/b")).unwrap();
        fs::create_dir_all(from.path().join("empty")).unwrap();
        fs::write(from.path().join("a/b/x.go"), "x").unwrap();
        fs::write(from.path().join("a/b/y.md"), "y").unwrap();
        symlink("nowhere", from.path().join("a/link.go")).unwrap();
        let transfer = Transfer {
            owner: Some((5, 6)),
            mode: Some(&|_, directory| if directory { 0o711 } else { 0o640 }),
            mtime: Some((7, 0)),
            replace: false,
            select: Some(&|path, directory| !directory && path.ends_with(b".go")),
        };
        let (source, target) = (
            open_root(from.path()).unwrap(),
            open_root(to.path()).unwrap(),
        );
        transfer
            .contents(source.as_fd(), target.as_fd(), false)
            .unwrap();
        let copied = fs::metadata(to.path().join("a/b/x.go")).unwrap();
        assert_eq!((copied.uid(), copied.gid(), copied.mtime()), (5, 6, 7));
        assert_eq!(copied.permissions().mode() & 0o7777, 0o640);
        let dir = fs::metadata(to.path().join("a/b")).unwrap();
        assert_eq!((dir.permissions().mode() & 0o7777, dir.mtime()), (0o711, 7));
        assert!(fs::symlink_metadata(to.path().join("a/link.go")).is_ok());
        assert!(!to.path().join("a/b/y.md").exists());
        assert!(!to.path().join("empty").exists());
    }

    #[test]
    fn what_is_of_another_kind_is_replaced_only_when_asked() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(from.path().join("x"), "file").unwrap();
        fs::create_dir_all(to.path().join("x/y")).unwrap();
        let (source, target) = (
            open_root(from.path()).unwrap(),
            open_root(to.path()).unwrap(),
        );
        let copy = |replace| {
            let transfer = Transfer {
                replace,
                ..Transfer::default()
            };
            transfer.leaf((source.as_fd(), b"x"), (target.as_fd(), b"x"))
        };
        assert!(copy(false).is_err());
        assert!(to.path().join("x/y").exists());
        copy(true).unwrap();
        assert_eq!(fs::read(to.path().join("x")).unwrap(), b"file");
    }
}
