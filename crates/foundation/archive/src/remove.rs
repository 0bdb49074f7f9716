//! Removing whole trees, however deep.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

/// Removes `name` in the directory `parent` with everything below it. No link is followed, and nothing that
/// is mounted is entered: what is mounted below makes it fail.
///
/// The tree may be of any depth: neither descriptors nor stack grow with it. Others may change it at the same
/// time: it fails then with `EAGAIN` when it has lost its way.
///
/// # Errors
/// The first failure, `EXDEV` for a mount; what was removed until then is gone.
pub fn remove_tree(parent: impl AsFd, name: &[u8]) -> Result<(), Errno> {
    let parent = parent.as_fd();
    match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
        Err(Errno::ISDIR | Errno::PERM) => {}
        done => return done,
    }
    remove_contents(open_here(parent, name)?)?;
    rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR)
}

/// Removes everything in `directory`, which is opened for reading, but not itself.
///
/// # Errors
/// As [`remove_tree`].
pub fn remove_contents(directory: OwnedFd) -> Result<(), Errno> {
    let mut path: Vec<(CString, (u64, u64))> = Vec::new();
    let mut current = directory;
    loop {
        if let Some(below) = remove_files(current.as_fd())? {
            let here = identity(&current)?;
            current = open_here(current.as_fd(), below.as_bytes())?;
            path.push((below, here));
            continue;
        }
        let Some((name, above)) = path.pop() else {
            return Ok(());
        };
        current = open_here(current.as_fd(), b"..")?;
        // Whoever moved the directory meanwhile must not lead us astray.
        if identity(&current)? != above {
            return Err(Errno::AGAIN);
        }
        rustix::fs::unlinkat(&current, name, AtFlags::REMOVEDIR)?;
    }
}

/// Opens the directory `name` of the same mount.
fn open_here(parent: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS;
    rustix::fs::openat2(parent, name, flags, Mode::empty(), resolve)
}

fn identity(directory: &OwnedFd) -> Result<(u64, u64), Errno> {
    rustix::fs::fstat(directory).map(|stat| (stat.st_dev, stat.st_ino))
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

#[cfg(test)]
mod tests {
    use arca_sys::process::{Namespace, unshare};

    use super::*;

    #[test]
    fn nothing_that_is_mounted_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("tree/mounted")).unwrap();
        std::fs::create_dir(dir.path().join("kept")).unwrap();
        std::fs::write(dir.path().join("kept/file"), "x").unwrap();
        let root = dir.path().to_owned();
        // The mount ends with the thread that has a namespace of its own.
        let removed = std::thread::spawn(move || {
            unshare(Namespace::Mount).unwrap();
            let private = rustix::mount::MountPropagationFlags::PRIVATE
                | rustix::mount::MountPropagationFlags::REC;
            rustix::mount::mount_change("/", private).unwrap();
            rustix::mount::mount_bind(root.join("kept"), root.join("tree/mounted")).unwrap();
            remove_tree(crate::open_root(&root).unwrap(), b"tree")
        })
        .join()
        .unwrap();
        assert!(
            matches!(removed, Err(Errno::XDEV | Errno::BUSY)),
            "{removed:?}"
        );
        assert!(dir.path().join("kept/file").exists());
        remove_tree(crate::open_root(dir.path()).unwrap(), b"tree").unwrap();
        assert!(!dir.path().join("tree").exists());
    }
}
