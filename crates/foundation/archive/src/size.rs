//! How much a tree holds.

use std::collections::HashSet;
use std::os::fd::{AsFd as _, OwnedFd};
use std::rc::Rc;

use rustix::fs::{AtFlags, Dir, FileType};
use rustix::io::Errno;

use crate::node::open_dir;

/// Adds up the sizes of all entries below `root` but directories, each inode once: dockerd's measure of
/// a layer. Entries that vanish meanwhile count nothing.
///
/// # Errors
/// Those of reading a directory.
pub fn tree_size(root: OwnedFd) -> Result<u64, Errno> {
    let mut seen = HashSet::new();
    let mut size = 0_u64;
    let mut waiting: Vec<(Rc<OwnedFd>, Vec<u8>)> = Vec::new();
    let mut current = Some(Rc::new(root));
    while let Some(directory) = current {
        for entry in Dir::read_from(directory.as_fd())? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if matches!(name, b"." | b"..") {
                continue;
            }
            let Ok(stat) = rustix::fs::statat(directory.as_fd(), name, AtFlags::SYMLINK_NOFOLLOW)
            else {
                continue;
            };
            if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                waiting.push((Rc::clone(&directory), name.to_vec()));
            } else if stat.st_nlink < 2 || seen.insert((stat.st_dev, stat.st_ino)) {
                size = size.saturating_add(u64::try_from(stat.st_size).unwrap_or(0));
            }
        }
        current = next_directory(&mut waiting)?;
    }
    Ok(size)
}

/// Opens the next directory that still is one.
fn next_directory(waiting: &mut Vec<(Rc<OwnedFd>, Vec<u8>)>) -> Result<Option<Rc<OwnedFd>>, Errno> {
    while let Some((parent, name)) = waiting.pop() {
        match open_dir(parent.as_fd(), &name) {
            Ok(directory) => return Ok(Some(Rc::new(directory))),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}
