//! Unpacking: from entries to a tree.

mod file;
mod tree;

use std::collections::BTreeMap;
use std::io::BufRead;
use std::os::fd::{AsFd, BorrowedFd};

use arca_types::IdMaps;
use rustix::fs::{AtFlags, FileType, Mode, makedev};
use rustix::io::Errno;

use crate::error::{Error, text};
use crate::node::{self, Attributes};
use crate::path;
use crate::reader::{Entry, Kind, Reader};
use tree::Tree;

/// What stands before the name of a deleted entry (OCI image specification, layer.md, "Whiteouts").
const WHITEOUT: &[u8] = b".wh.";
/// What marks a directory that shows nothing of the layers below.
const OPAQUE_WHITEOUT: &[u8] = b".wh..wh..opq";
/// What begins other names that AUFS kept for itself.
const WHITEOUT_META: &[u8] = b".wh..wh.";

/// What names that begin with `.wh.` mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whiteouts {
    /// Whiteouts, which become those of overlayfs: character devices 0/0 and opaque directories.
    Overlay,
    /// Nothing: they are files like any other.
    Plain,
}

/// How to unpack.
#[derive(Debug, Clone)]
pub struct ExtractOptions {
    /// What names that begin with `.wh.` mean.
    pub whiteouts: Whiteouts,
    /// The directory below the root that entries are relative to, which exists; empty is the root.
    /// Symbolic links on the way of an entry are resolved against the root.
    pub below: Vec<u8>,
    /// The user and group everything is to belong to, instead of the archive's.
    pub owner: Option<(u32, u32)>,
    /// The user namespace that owners are of; they are those of the initial one without.
    pub ids: Option<IdMaps>,
    /// Refuse to replace a directory by something else, and the reverse.
    pub keep_directories: bool,
    /// Refuse archives with more entries.
    pub max_entries: Option<u64>,
    /// Refuse archives whose files are larger together.
    pub max_bytes: Option<u64>,
}

impl Default for ExtractOptions {
    /// An ordinary archive with its owners, without limits, at the root.
    fn default() -> Self {
        Self {
            whiteouts: Whiteouts::Plain,
            below: Vec::new(),
            owner: None,
            ids: None,
            keep_directories: false,
            max_entries: None,
            max_bytes: None,
        }
    }
}

/// What was unpacked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Extracted {
    /// The number of entries.
    pub entries: u64,
    /// The bytes in files and in targets of symbolic links: what [`crate::tree_size`] would count.
    pub bytes: u64,
    /// Some of these bytes are not there any more, as what came later has replaced them.
    pub replaced: bool,
}

/// Unpacks the archive `input` below `root`, and nowhere else.
///
/// What exists is replaced; a directory stays and gets the new attributes. Directories that are missing
/// in between are made with mode 0755. What follows the archive in `input` is not read. When it fails,
/// what has been unpacked stays for the caller to remove.
///
/// # Errors
/// When the archive is malformed or would leave the root, when a limit is exceeded, or when the tree
/// cannot be written.
pub fn extract(
    input: impl BufRead,
    root: impl AsFd,
    options: &ExtractOptions,
) -> Result<Extracted, Error> {
    let implied = match &options.ids {
        Some(ids) => Some(ids.outside(options.owner.unwrap_or_default())?),
        None => options.owner,
    };
    let mut extraction = Extraction {
        tree: Tree::new(root.as_fd(), implied),
        options,
        directories: BTreeMap::new(),
        done: Extracted::default(),
    };
    let mut reader = Reader::new(input);
    while let Some(entry) = reader.next_entry()? {
        extraction.count(&entry)?;
        extraction.place(&entry, &mut reader)?;
    }
    extraction.finish()
}

/// An extraction under way.
struct Extraction<'a> {
    tree: Tree<'a>,
    options: &'a ExtractOptions,
    /// The times of directories, to be set when nothing is put into them any more.
    directories: BTreeMap<Vec<u8>, (i64, u32)>,
    done: Extracted,
}

impl Extraction<'_> {
    fn count(&mut self, entry: &Entry) -> Result<(), Error> {
        self.done.entries += 1;
        if let Some(limit) = self.options.max_entries
            && self.done.entries > limit
        {
            return Err(Error::TooManyEntries(limit));
        }
        let size = match &entry.kind {
            Kind::Symlink(target) => target.len() as u64,
            _ => entry.size,
        };
        self.done.bytes = self.done.bytes.saturating_add(size);
        match self.options.max_bytes {
            Some(limit) if self.done.bytes > limit => Err(Error::TooLarge(limit)),
            _ => Ok(()),
        }
    }

    /// A name of the archive without `.` and `..`. Above the root is the root; out of a directory in it, which was
    /// asked for, nothing leads.
    fn clean(&self, name: &[u8]) -> Option<Vec<u8>> {
        if self.options.below.is_empty() {
            path::clean(&path::join(b"/", name))
        } else {
            path::clean(name)
        }
    }

    fn place(&mut self, entry: &Entry, data: &mut Reader<impl BufRead>) -> Result<(), Error> {
        let outside = || Error::OutsideRoot {
            path: text(&entry.path),
        };
        let cleaned = self.clean(&entry.path).ok_or_else(outside)?;
        if cleaned.is_empty() {
            // The root itself belongs to whoever made it.
            return Ok(());
        }
        let full = self.below(&cleaned);
        let (_, name) = path::split(&full);
        if self.options.whiteouts == Whiteouts::Overlay && name.starts_with(WHITEOUT) {
            // Content of a whiteout is passed over.
            self.tree.replaced |= entry.size > 0;
            return self.white_out(&full);
        }
        if let Some((xattr, _)) = entry
            .xattrs
            .iter()
            .find(|(name, _)| node::is_reserved(name))
        {
            let (path, name) = (text(&entry.path), text(xattr));
            return Err(Error::ReservedXattr { path, name });
        }
        match &entry.kind {
            Kind::File => self.file(entry, &full, data),
            Kind::Directory => self.directory(entry, &full),
            Kind::Symlink(target) => self.symlink(entry, &cleaned, &full, target),
            Kind::HardLink(target) => self.hard_link(entry, &full, target),
            Kind::Char(major, minor) => self.special(
                entry,
                &full,
                FileType::CharacterDevice,
                makedev(*major, *minor),
            ),
            Kind::Block(major, minor) => {
                self.special(entry, &full, FileType::BlockDevice, makedev(*major, *minor))
            }
            Kind::Fifo => self.special(entry, &full, FileType::Fifo, 0),
        }
    }

    fn file(
        &mut self,
        entry: &Entry,
        full: &[u8],
        data: &mut Reader<impl BufRead>,
    ) -> Result<(), Error> {
        let wanted = self.attributes(entry)?;
        let keep = self.options.keep_directories;
        let file = self.tree.create(full, keep, file::create)?;
        file::fill(&file, entry, data)?;
        node::set_file(&file, &wanted).map_err(Error::tree("set attributes of", full))
    }

    fn directory(&mut self, entry: &Entry, full: &[u8]) -> Result<(), Error> {
        let failed = |action| Error::tree(action, full);
        let made = self.tree.directory(full, self.options.keep_directories)?;
        if made.over_whiteout {
            node::set_opaque(made.node.as_fd()).map_err(failed("mark"))?;
        }
        let wanted = self.attributes(entry)?;
        node::set_node(made.node.as_fd(), &wanted).map_err(failed("set attributes of"))?;
        self.directories.insert(full.to_vec(), entry.mtime);
        Ok(())
    }

    fn symlink(
        &mut self,
        entry: &Entry,
        cleaned: &[u8],
        full: &[u8],
        target: &[u8],
    ) -> Result<(), Error> {
        // The text is read as relative to the link's directory, as dockerd does it.
        let (directory, _) = path::split(cleaned);
        let relative = target
            .iter()
            .position(|byte| *byte != b'/')
            .unwrap_or(target.len());
        let relative = target.get(relative..).unwrap_or_default();
        if self.clean(&path::join(directory, relative)).is_none() {
            let (path, target) = (text(&entry.path), text(target));
            return Err(Error::SymlinkOutsideRoot { path, target });
        }
        let keep = self.options.keep_directories;
        let parent = self.tree.create(full, keep, |parent, name| {
            rustix::fs::symlinkat(target, parent, name)?;
            rustix::io::fcntl_dupfd_cloexec(parent, 0)
        })?;
        let (_, name) = path::split(full);
        let wanted = self.attributes(entry)?;
        node::set_symlink(parent.as_fd(), name, &wanted)
            .map_err(Error::tree("set attributes of", full))
    }

    fn hard_link(&mut self, entry: &Entry, full: &[u8], target: &[u8]) -> Result<(), Error> {
        let outside = || Error::HardLinkOutsideRoot {
            path: text(&entry.path),
            target: text(target),
        };
        let cleaned = self.clean(target).filter(|target| !target.is_empty());
        let source = self.below(&cleaned.ok_or_else(outside)?);
        if source == full {
            return Ok(());
        }
        let (directory, from) = path::split(&source);
        let from_parent = self.tree.existing(directory)?;
        let keep = self.options.keep_directories;
        self.tree.create(full, keep, |parent, name| {
            rustix::fs::linkat(&from_parent, from, parent, name, AtFlags::empty())
        })
    }

    fn special(
        &mut self,
        entry: &Entry,
        full: &[u8],
        kind: FileType,
        device: u64,
    ) -> Result<(), Error> {
        let keep = self.options.keep_directories;
        let made = self.tree.create(full, keep, |parent, name| {
            let mode = Mode::from_raw_mode(0o600);
            rustix::fs::mknodat(parent, name, kind, mode, device)?;
            Ok((
                node::open_node(parent, name)?,
                rustix::io::fcntl_dupfd_cloexec(parent, 0)?,
            ))
        })?;
        let (node, parent) = made;
        let (_, name) = path::split(full);
        let wanted = self.attributes(entry)?;
        node::set_node(node.as_fd(), &wanted)
            .and_then(|()| node::set_times(parent.as_fd(), name, entry.mtime))
            .map_err(Error::tree("set attributes of", full))
    }

    /// Translates a whiteout; `full` ends with its name.
    fn white_out(&mut self, full: &[u8]) -> Result<(), Error> {
        let failed = |action| Error::tree(action, full);
        let (directory, name) = path::split(full);
        if name == OPAQUE_WHITEOUT {
            let parent = self.tree.parent(directory)?;
            return node::set_opaque(parent.as_fd()).map_err(failed("mark"));
        }
        if name.starts_with(WHITEOUT_META) {
            return Ok(());
        }
        let hidden = name.strip_prefix(WHITEOUT).unwrap_or_default();
        if matches!(hidden, b"" | b"." | b"..") {
            return Err(Error::Whiteout { path: text(full) });
        }
        let parent = self.tree.parent(directory)?;
        let mode = Mode::empty();
        match rustix::fs::mknodat(&*parent, hidden, FileType::CharacterDevice, mode, 0) {
            // It hides what the layers below have, not what this one has: that was unpacked before.
            Err(Errno::EXIST) => hide_below(parent.as_fd(), hidden).map_err(failed("mark")),
            made => made.map_err(failed("white out")),
        }
    }

    /// Sets the times of directories.
    fn finish(self) -> Result<Extracted, Error> {
        let Self {
            mut tree,
            directories,
            mut done,
            ..
        } = self;
        done.replaced = tree.replaced;
        for (full, mtime) in directories {
            let (directory, name) = path::split(&full);
            let set = tree.existing(directory).and_then(|parent| {
                node::set_times(parent.as_fd(), name, mtime)
                    .map_err(Error::tree("set the time of", &full))
            });
            match set {
                // Replaced by something else meanwhile.
                Err(Error::Tree { source, .. })
                    if matches!(
                        Errno::from_io_error(&source),
                        Some(Errno::NOENT | Errno::NOTDIR)
                    ) => {}
                set => set?,
            }
        }
        Ok(done)
    }

    fn below(&self, cleaned: &[u8]) -> Vec<u8> {
        path::join(&self.options.below, cleaned)
    }

    fn attributes<'e>(&self, entry: &'e Entry) -> Result<Attributes<'e>, Error> {
        let owner = self.options.owner.unwrap_or((entry.uid, entry.gid));
        let (uid, gid) = match &self.options.ids {
            Some(ids) => ids.outside(owner)?,
            None => owner,
        };
        let Entry {
            mode,
            mtime,
            ref xattrs,
            ..
        } = *entry;
        Ok(Attributes {
            mode,
            uid,
            gid,
            mtime,
            xattrs,
        })
    }
}

/// Makes a directory that exists opaque; anything else hides what is below anyway.
fn hide_below(parent: BorrowedFd<'_>, name: &[u8]) -> Result<(), Errno> {
    let node = node::open_node(parent, name)?;
    let stat = rustix::fs::fstat(&node)?;
    if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
        node::set_opaque(node.as_fd())?;
    }
    Ok(())
}
