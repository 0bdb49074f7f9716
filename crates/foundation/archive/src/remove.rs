//! Removing whole trees, however deep.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Dir, FileType};
use rustix::io::Errno;

use crate::node::open_dir;

/// Removes `name` in the directory `parent` with everything below it. No link is followed.
///
/// The tree may be of any depth: neither descriptors nor stack grow with it. It must not be changed by
/// others at the same time.
///
/// # Errors
/// The first failure; what was removed until then is gone.
pub fn remove_tree(parent: impl AsFd, name: &[u8]) -> Result<(), Errno> {
    let parent = parent.as_fd();
    match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
        Err(Errno::ISDIR | Errno::PERM) => {}
        done => return done,
    }
    remove_contents(open_dir(parent, name)?)?;
    rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR)
}

/// Removes everything in `directory`, which is opened for reading, but not itself.
///
/// # Errors
/// As [`remove_tree`].
pub fn remove_contents(directory: OwnedFd) -> Result<(), Errno> {
    let mut path: Vec<CString> = Vec::new();
    let mut current = directory;
    loop {
        if let Some(below) = remove_files(current.as_fd())? {
            current = open_dir(current.as_fd(), below.as_bytes())?;
            path.push(below);
            continue;
        }
        let Some(name) = path.pop() else {
            return Ok(());
        };
        current = open_dir(current.as_fd(), b"..")?;
        rustix::fs::unlinkat(&current, name, AtFlags::REMOVEDIR)?;
    }
}

/// Removes files and empty directories; stops at a directory that has something in it.
fn remove_files(directory: BorrowedFd<'_>) -> Result<Option<CString>, Errno> {
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let is_dir = entry.file_type() == FileType::Directory;
        let flags = if is_dir {
            AtFlags::REMOVEDIR
        } else {
            AtFlags::empty()
        };
        match rustix::fs::unlinkat(directory, name, flags) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(Errno::NOTEMPTY | Errno::EXIST) if is_dir => return Ok(Some(name.to_owned())),
            // The file system did not tell the type.
            Err(Errno::ISDIR | Errno::PERM) if !is_dir => return Ok(Some(name.to_owned())),
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}
