//! Copying one tree into another.

use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, SeekFrom, Stat};
use rustix::io::Errno;

use crate::error::Error;
use crate::node::{self, Attributes};
use crate::path;
use crate::remove::{remove_contents, remove_tree};
use crate::walk::{Node, Walk};

/// Copies what is in the directory `from` into the directory `to`, with owners, modes, times, extended
/// attributes, hard links and holes; the attributes of `from` go to `to` as well.
///
/// With `layer`, `from` is an overlay's upper directory that is put on top of `to`: its whiteouts remove
/// what they hide. Without, what is in the way is replaced, and directories are merged.
///
/// # Errors
/// [`Error::Tree`] with the path that could not be read or written.
pub fn copy_tree(from: impl AsFd, to: impl AsFd, layer: bool) -> Result<(), Error> {
    let failed = |action| Error::tree(action, b"");
    let source = node::open_dir(from.as_fd(), b".").map_err(failed("read"))?;
    let target = node::open_dir(to.as_fd(), b".").map_err(failed("open"))?;
    let stat = rustix::fs::fstat(&source).map_err(failed("read"))?;
    let xattrs = node::xattrs(source.as_fd()).map_err(failed("read"))?;
    let root = attributes(&stat, &xattrs);
    node::set_node(target.as_fd(), &root).map_err(failed("set attributes of"))?;
    let mut copy = Copy {
        to: target.as_fd(),
        layer,
        links: HashMap::new(),
        times: Vec::new(),
    };
    let mut walk = Walk::below(source)?;
    while let Some(node) = walk.next_node()? {
        copy.node(&node)?;
    }
    copy.finish()?;
    node::set_times(target.as_fd(), b".", root.mtime).map_err(failed("set the time of"))
}

/// A copy under way.
struct Copy<'a> {
    to: BorrowedFd<'a>,
    layer: bool,
    /// Where the first name of an inode with several was copied to.
    links: HashMap<(u64, u64), Vec<u8>>,
    /// The times of directories, to be set last.
    times: Vec<(Vec<u8>, (i64, u32))>,
}

impl Copy<'_> {
    fn node(&mut self, node: &Node) -> Result<(), Error> {
        let failed = || Error::tree("copy", &node.path);
        let (directory, name) = path::split(&node.path);
        let parent = self.directory(directory).map_err(failed())?;
        let parent = parent.as_fd();
        if self.layer && node::is_whiteout(&node.stat) {
            return match remove_tree(parent, name) {
                Err(Errno::NOENT) => Ok(()),
                removed => removed.map_err(failed()),
            };
        }
        if let Some(source) = &node.directory {
            self.times.push((node.path.clone(), mtime(&node.stat)));
            return self
                .copy_dir(node, source.as_fd(), parent)
                .map_err(failed());
        }
        match remove_tree(parent, name) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => return Err(failed()(error)),
        }
        let key = (node.stat.st_dev, node.stat.st_ino);
        if node.stat.st_nlink > 1
            && let Some(first) = self.links.get(&key)
        {
            let (above, from) = path::split(first);
            return self
                .directory(above)
                .and_then(|above| rustix::fs::linkat(&above, from, parent, name, AtFlags::empty()))
                .map_err(failed());
        }
        copy_leaf(node, parent, name).map_err(failed())?;
        if node.stat.st_nlink > 1 {
            self.links.insert(key, node.path.clone());
        }
        Ok(())
    }

    fn copy_dir(
        &self,
        node: &Node,
        source: BorrowedFd<'_>,
        parent: BorrowedFd<'_>,
    ) -> Result<(), Errno> {
        let name = node.name.as_slice();
        match rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(0o700)) {
            Err(Errno::EXIST) => {
                let there = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
                if FileType::from_raw_mode(there.st_mode) != FileType::Directory {
                    rustix::fs::unlinkat(parent, name, AtFlags::empty())?;
                    rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(0o700))?;
                }
            }
            made => made?,
        }
        let made = node::open_dir(parent, name)?;
        if self.layer && node::is_opaque(source) {
            remove_contents(node::open_dir(parent, name)?)?;
        }
        let xattrs = node::xattrs(source)?;
        node::set_node(made.as_fd(), &attributes(&node.stat, &xattrs))
    }

    /// Opens a directory that was made; the tree is ours, but it may have links of an image in it.
    fn directory(&self, path: &[u8]) -> Result<OwnedFd, Errno> {
        path::open_in_root(
            self.to,
            path,
            OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW,
        )
    }

    fn finish(&self) -> Result<(), Error> {
        for (path, mtime) in &self.times {
            let (directory, name) = path::split(path);
            self.directory(directory)
                .and_then(|parent| node::set_times(parent.as_fd(), name, *mtime))
                .map_err(Error::tree("set the time of", path))?;
        }
        Ok(())
    }
}

/// Copies what is not a directory.
fn copy_leaf(node: &Node, parent: BorrowedFd<'_>, name: &[u8]) -> Result<(), Errno> {
    let from = (node.parent.as_fd(), node.name.as_slice());
    if node.kind() == FileType::RegularFile {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let source = rustix::fs::openat(from.0, from.1, flags, Mode::empty())?;
        let xattrs = node::xattrs(source.as_fd())?;
        return copy_file(&source, (parent, name), &attributes(&node.stat, &xattrs));
    }
    let wanted = attributes(&node.stat, &[]);
    copy_other(from, (parent, name), &node.stat, &wanted)
}

/// Copies a link, a device or a pipe.
pub(crate) fn copy_other(
    (from, old): (BorrowedFd<'_>, &[u8]),
    (parent, name): (BorrowedFd<'_>, &[u8]),
    stat: &Stat,
    wanted: &Attributes<'_>,
) -> Result<(), Errno> {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Symlink => {
            let target = rustix::fs::readlinkat(from, old, Vec::new())?;
            rustix::fs::symlinkat(target, parent, name)?;
            node::set_symlink(parent, name, wanted)
        }
        // A socket means nothing without who listens.
        FileType::Socket => Ok(()),
        kind => {
            let mode = Mode::from_raw_mode(0o600);
            rustix::fs::mknodat(parent, name, kind, mode, stat.st_rdev)?;
            let made = node::open_node(parent, name)?;
            node::set_node(made.as_fd(), wanted)?;
            node::set_times(parent, name, wanted.mtime)
        }
    }
}

/// Copies a regular file, which is open.
pub(crate) fn copy_file(
    source: &OwnedFd,
    (parent, name): (BorrowedFd<'_>, &[u8]),
    wanted: &Attributes<'_>,
) -> Result<(), Errno> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let target = rustix::fs::openat(parent, name, flags, Mode::from_raw_mode(0o600))?;
    let size = u64::try_from(rustix::fs::fstat(source)?.st_size).unwrap_or(0);
    copy_data(source, &target, size)?;
    node::set_file(&target, wanted)
}

/// Copies the parts of a file that are not holes.
fn copy_data(source: &OwnedFd, target: &OwnedFd, size: u64) -> Result<(), Errno> {
    let mut at = 0_u64;
    while at < size {
        at = match rustix::fs::seek(source, SeekFrom::Data(at)) {
            Ok(at) => at,
            // Nothing but a hole is left.
            Err(Errno::NXIO) => break,
            Err(error) => return Err(error),
        };
        let end = rustix::fs::seek(source, SeekFrom::Hole(at))?;
        if !copy_part(source, target, &mut at, end)? {
            break;
        }
    }
    rustix::fs::ftruncate(target, size)
}

/// Copies from `at` to `end`; false when the file has become shorter meanwhile.
fn copy_part(source: &OwnedFd, target: &OwnedFd, at: &mut u64, end: u64) -> Result<bool, Errno> {
    let (mut from, mut to) = (*at, *at);
    while from < end {
        let length = usize::try_from(end - from)
            .unwrap_or(usize::MAX)
            .min(1 << 30);
        let copied =
            rustix::fs::copy_file_range(source, Some(&mut from), target, Some(&mut to), length);
        match copied {
            Ok(0) => return Ok(false),
            Ok(_) => {}
            Err(Errno::INTR) => {}
            // Not between these two file systems.
            Err(Errno::XDEV | Errno::INVAL | Errno::OPNOTSUPP | Errno::NOSYS) => {
                if !copy_buffered(source, target, from, length)? {
                    return Ok(false);
                }
                from += length as u64;
                to = from;
            }
            Err(error) => return Err(error),
        }
    }
    *at = from;
    Ok(true)
}

fn copy_buffered(
    source: &OwnedFd,
    target: &OwnedFd,
    mut at: u64,
    length: usize,
) -> Result<bool, Errno> {
    let mut buffer = vec![0_u8; 256 << 10];
    let end = at + length as u64;
    while at < end {
        let want = usize::try_from(end - at)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        let read = rustix::io::pread(source, buffer.get_mut(..want).unwrap_or_default(), at)?;
        if read == 0 {
            return Ok(false);
        }
        let mut rest = buffer.get(..read).unwrap_or_default();
        while !rest.is_empty() {
            let written = rustix::io::pwrite(target, rest, at)?;
            at += written as u64;
            rest = rest.get(written..).unwrap_or_default();
        }
    }
    Ok(true)
}

fn attributes<'a>(stat: &Stat, xattrs: &'a [(Vec<u8>, Vec<u8>)]) -> Attributes<'a> {
    let (uid, gid, mode) = (stat.st_uid, stat.st_gid, stat.st_mode & 0o7777);
    Attributes {
        mode,
        uid,
        gid,
        mtime: mtime(stat),
        xattrs,
    }
}

pub(crate) fn mtime(stat: &Stat) -> (i64, u32) {
    (
        stat.st_mtime,
        u32::try_from(stat.st_mtime_nsec).unwrap_or(0),
    )
}
