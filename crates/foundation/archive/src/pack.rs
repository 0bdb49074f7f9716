//! Making archives: from a tree to entries.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read as _, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

use arca_types::IdMaps;
use rustix::fs::{FileType, Mode, OFlags, Stat, major, minor};
use rustix::io::Errno;

use crate::error::Error;
use crate::header;
use crate::node;
use crate::path;
use crate::reader::{Entry, Kind};
use crate::walk::{Node, Walk};

/// How whiteouts are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PackFormat {
    /// There are none: a tree as it is seen.
    Tree,
    /// Those of overlayfs become `.wh.` names: the tree is an overlay's upper directory.
    Layer,
}

/// How to make an archive.
#[derive(Debug, Clone, Copy)]
pub struct PackOptions {
    /// How whiteouts are written.
    pub format: PackFormat,
    /// The user and group everything is to belong to, instead of the tree's.
    pub owner: Option<(u32, u32)>,
    /// The time of everything, in seconds since the epoch, instead of the tree's.
    pub mtime: Option<i64>,
}

/// Writes everything below `root`, a directory open for reading or with `O_PATH`, as an archive. The
/// same tree gives the same bytes.
///
/// # Errors
/// [`Error::Tree`] when the tree cannot be read, [`Error::Write`] when `out` takes no more.
pub fn pack(root: impl AsFd, out: impl Write, options: PackOptions) -> Result<(), Error> {
    let mut packer = Packer::new(out, options);
    packer.contents(root, b"")?;
    packer.finish().map(drop)
}

/// Makes an archive out of several trees.
#[derive(Debug)]
pub struct Packer<W> {
    out: W,
    options: PackOptions,
    ids: Option<IdMaps>,
    /// Where the first name of an inode with several is in the archive.
    links: HashMap<(u64, u64), Vec<u8>>,
}

impl<W: Write> Packer<W> {
    /// Begins an archive.
    pub fn new(out: W, options: PackOptions) -> Self {
        Self {
            out,
            options,
            ids: None,
            links: HashMap::new(),
        }
    }

    /// Writes owners as they are inside a user namespace; those that it does not have stay as they are.
    #[must_use]
    pub fn inside(mut self, ids: Option<IdMaps>) -> Self {
        self.ids = ids;
        self
    }

    /// Adds the entry `name` of the directory `parent` under the path `to`; a directory with all in it.
    ///
    /// # Errors
    /// As [`pack`].
    pub fn add(&mut self, parent: impl AsFd, name: &[u8], to: &[u8]) -> Result<(), Error> {
        let failed = || Error::tree("read", to);
        let parent = node::open_dir(parent.as_fd(), b".").map_err(failed())?;
        let stat = rustix::fs::statat(&parent, name, rustix::fs::AtFlags::SYMLINK_NOFOLLOW)
            .map_err(failed())?;
        let is_dir = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        let directory = if is_dir {
            Some(Rc::new(
                node::open_dir(parent.as_fd(), name).map_err(failed())?,
            ))
        } else {
            None
        };
        let (name, path) = (name.to_vec(), to.to_vec());
        let node = Node {
            parent: Rc::new(parent),
            name,
            path,
            stat,
            directory,
        };
        self.node(&node, to)?;
        match &node.directory {
            Some(directory) => self.contents(directory, to),
            None => Ok(()),
        }
    }

    /// Adds what is in the directory `root`, but not itself, with `prefix` before the paths.
    ///
    /// # Errors
    /// As [`pack`].
    pub fn contents(&mut self, root: impl AsFd, prefix: &[u8]) -> Result<(), Error> {
        let root = node::open_dir(root.as_fd(), b".").map_err(Error::tree("read", prefix))?;
        let mut walk = Walk::below(root)?;
        while let Some(node) = walk.next_node()? {
            let to = path::join(prefix, &node.path);
            self.surviving(&node, &to)?;
        }
        Ok(())
    }

    /// Adds an entry unless it has vanished since it was found: trees are alive.
    fn surviving(&mut self, node: &Node, to: &[u8]) -> Result<(), Error> {
        match self.node(node, to) {
            // Nothing of it has been written then.
            Err(Error::Tree { source, .. })
                if matches!(
                    Errno::from_io_error(&source),
                    Some(Errno::NOENT | Errno::LOOP | Errno::INVAL)
                ) =>
            {
                self.links.retain(|_, first| first.as_slice() != to);
                Ok(())
            }
            added => added,
        }
    }

    /// Adds a regular file of the given contents, which is in no tree.
    ///
    /// # Errors
    /// [`Error::Write`].
    pub fn file(&mut self, entry: &Entry, contents: &[u8]) -> Result<(), Error> {
        header::write(&mut self.out, entry)?;
        self.out.write_all(contents).map_err(Error::Write)?;
        header::pad(&mut self.out, entry.size)
    }

    /// Ends the archive and gives the output back.
    ///
    /// # Errors
    /// [`Error::Write`].
    pub fn finish(mut self) -> Result<W, Error> {
        self.out.write_all(&[0; 1024]).map_err(Error::Write)?;
        self.out.flush().map_err(Error::Write)?;
        Ok(self.out)
    }

    fn node(&mut self, node: &Node, to: &[u8]) -> Result<(), Error> {
        let layer = self.options.format == PackFormat::Layer;
        if layer && node::is_whiteout(&node.stat) {
            let (directory, name) = path::split(to);
            return self.white_out(path::join(directory, &[b".wh.", name].concat()), &node.stat);
        }
        let Some(mut entry) = self.entry(node, to)? else {
            return Ok(());
        };
        if entry.kind == Kind::File {
            return self.regular(node, &mut entry);
        }
        header::write(&mut self.out, &entry)?;
        match &node.directory {
            Some(directory) if layer && node::is_opaque(directory.as_fd()) => {
                self.white_out(path::join(to, b".wh..wh..opq"), &node.stat)
            }
            _ => Ok(()),
        }
    }

    /// An empty file that stands for something that is not there.
    fn white_out(&mut self, path: Vec<u8>, stat: &Stat) -> Result<(), Error> {
        let mut entry = self.plain(path, Kind::File, stat);
        // It is the kernel's, whoever it belongs to where owners are mapped.
        (entry.mode, entry.uid, entry.gid) = (0o600, 0, 0);
        header::write(&mut self.out, &entry)
    }

    /// The entry for a node; `None` for a socket, which no archive can hold.
    fn entry(&mut self, node: &Node, to: &[u8]) -> Result<Option<Entry>, Error> {
        let failed = || Error::tree("read", to);
        let stat = &node.stat;
        let device = (major(stat.st_rdev), minor(stat.st_rdev));
        let mut kind = match node.kind() {
            FileType::RegularFile => Kind::File,
            FileType::Directory => Kind::Directory,
            FileType::Symlink => {
                let target =
                    rustix::fs::readlinkat(&*node.parent, node.name.as_slice(), Vec::new());
                Kind::Symlink(target.map_err(failed())?.into_bytes())
            }
            FileType::CharacterDevice => Kind::Char(device.0, device.1),
            FileType::BlockDevice => Kind::Block(device.0, device.1),
            FileType::Fifo => Kind::Fifo,
            _ => return Ok(None),
        };
        if kind != Kind::Directory && stat.st_nlink > 1 {
            match self.links.entry((stat.st_dev, stat.st_ino)) {
                std::collections::hash_map::Entry::Occupied(first) => {
                    kind = Kind::HardLink(first.get().clone());
                }
                std::collections::hash_map::Entry::Vacant(first) => {
                    first.insert(to.to_vec());
                }
            }
        }
        let mut entry = self.plain(to.to_vec(), kind, stat);
        // Those of a regular file are read when it is open.
        if !matches!(
            entry.kind,
            Kind::File | Kind::Symlink(_) | Kind::HardLink(_)
        ) {
            let opened = match &node.directory {
                Some(directory) => Rc::clone(directory),
                None => {
                    Rc::new(node::open_node(node.parent.as_fd(), &node.name).map_err(failed())?)
                }
            };
            entry.xattrs = node::xattrs(opened.as_fd()).map_err(failed())?;
        }
        Ok(Some(entry))
    }

    fn plain(&self, path: Vec<u8>, kind: Kind, stat: &Stat) -> Entry {
        let owner = (stat.st_uid, stat.st_gid);
        let inside = self.ids.as_ref().and_then(|ids| ids.inside(owner).ok());
        let (uid, gid) = self.options.owner.or(inside).unwrap_or(owner);
        let mode = stat.st_mode & 0o7777;
        let mtime = (self.options.mtime.unwrap_or(stat.st_mtime), 0);
        Entry {
            path,
            kind,
            mode,
            uid,
            gid,
            mtime,
            size: 0,
            xattrs: Vec::new(),
            segments: None,
        }
    }

    fn regular(&mut self, node: &Node, entry: &mut Entry) -> Result<(), Error> {
        let failed = || Error::tree("read", &node.path);
        let file = open_file(node.parent.as_fd(), &node.name).map_err(failed())?;
        let stat = rustix::fs::fstat(&file).map_err(failed())?;
        entry.size = u64::try_from(stat.st_size).unwrap_or(0);
        entry.xattrs = node::xattrs(file.as_fd()).map_err(failed())?;
        header::write(&mut self.out, entry)?;
        self.data(File::from(file), entry)?;
        header::pad(&mut self.out, entry.size)
    }

    /// Writes exactly as many bytes as the header says, whatever happens to the file meanwhile.
    fn data(&mut self, file: File, entry: &Entry) -> Result<(), Error> {
        let mut file = file.take(entry.size);
        let copied = std::io::copy(&mut file, &mut self.out).map_err(Error::Write)?;
        let mut missing = std::io::repeat(0).take(entry.size - copied);
        std::io::copy(&mut missing, &mut self.out)
            .map_err(Error::Write)
            .map(drop)
    }
}

fn open_file(parent: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    rustix::fs::openat(parent, name, flags, Mode::empty())
}
