//! Going through a tree in the order of its names.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

use rustix::fs::{AtFlags, Dir, FileType, Stat};
use rustix::io::Errno;

use crate::error::Error;
use crate::node::open_dir;
use crate::path;

/// One entry of a tree.
#[derive(Debug)]
pub struct Node {
    /// The directory it is in.
    pub parent: Rc<OwnedFd>,
    /// Its name there.
    pub name: Vec<u8>,
    /// Its path below the root of the walk.
    pub path: Vec<u8>,
    /// What it is; a link's own.
    pub stat: Stat,
    /// Its directory, opened for reading, if it is one.
    pub directory: Option<Rc<OwnedFd>>,
}

impl Node {
    /// What kind of entry it is.
    #[must_use]
    pub fn kind(&self) -> FileType {
        FileType::from_raw_mode(self.stat.st_mode)
    }
}

/// A walk: directories before what is in them. Entries that vanish meanwhile are left out.
#[derive(Debug)]
pub struct Walk {
    levels: Vec<Level>,
}

/// A directory under way.
#[derive(Debug)]
struct Level {
    directory: Rc<OwnedFd>,
    path: Vec<u8>,
    /// The names that remain, in reverse.
    names: Vec<Vec<u8>>,
}

impl Walk {
    /// Everything below `root`, which is open for reading, but not itself.
    ///
    /// # Errors
    /// [`Error::Tree`] when it cannot be read.
    pub fn below(root: OwnedFd) -> Result<Self, Error> {
        let mut walk = Self { levels: Vec::new() };
        walk.descend(Rc::new(root), Vec::new())?;
        Ok(walk)
    }

    /// The next entry, or the end.
    ///
    /// # Errors
    /// [`Error::Tree`] when a directory cannot be read.
    pub fn next_node(&mut self) -> Result<Option<Node>, Error> {
        loop {
            let Some(level) = self.levels.last_mut() else {
                return Ok(None);
            };
            let Some(name) = level.names.pop() else {
                self.levels.pop();
                continue;
            };
            let (parent, path) = (Rc::clone(&level.directory), path::join(&level.path, &name));
            match visit(&parent, &name) {
                Ok((stat, directory)) => {
                    let directory = directory.map(Rc::new);
                    if let Some(directory) = &directory {
                        self.descend(Rc::clone(directory), path.clone())?;
                    }
                    return Ok(Some(Node {
                        parent,
                        name,
                        path,
                        stat,
                        directory,
                    }));
                }
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
                Err(error) => return Err(Error::tree("read", &path)(error)),
            }
        }
    }

    fn descend(&mut self, directory: Rc<OwnedFd>, path: Vec<u8>) -> Result<(), Error> {
        let names = names(directory.as_fd()).map_err(Error::tree("read", &path))?;
        self.levels.push(Level {
            directory,
            path,
            names,
        });
        Ok(())
    }
}

fn visit(parent: &OwnedFd, name: &[u8]) -> Result<(Stat, Option<OwnedFd>), Errno> {
    let stat = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
    if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
        let directory = open_dir(parent.as_fd(), name)?;
        // What is opened counts, if it was exchanged meanwhile.
        return Ok((rustix::fs::fstat(&directory)?, Some(directory)));
    }
    Ok((stat, None))
}

/// The names in a directory, last first.
fn names(directory: BorrowedFd<'_>) -> Result<Vec<Vec<u8>>, Errno> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if !matches!(name, b"." | b"..") {
            names.push(name.to_vec());
        }
    }
    names.sort_by(|a, b| b.cmp(a));
    Ok(names)
}
