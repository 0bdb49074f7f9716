//! The container's root filesystem as a place to work in: every path is resolved inside of it
//! (`openat2(RESOLVE_IN_ROOT)`), whatever symbolic links the image or the container left there.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat, openat2};
use rustix::io::Errno;
use rustix::mount::MoveMountFlags;

/// A root directory.
#[derive(Debug)]
pub(super) struct Tree(OwnedFd);

impl Tree {
    /// Takes the directory `root` as the root.
    pub(super) fn new(root: OwnedFd) -> Self {
        Self(root)
    }

    /// Returns the root's descriptor.
    pub(super) fn root(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// Opens `path`, following symbolic links inside the root.
    pub(super) fn open(&self, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
        loop {
            let opened = openat2(
                &self.0,
                Self::relative(path),
                flags | OFlags::CLOEXEC,
                Mode::empty(),
                ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS,
            );
            match opened {
                // The kernel could not be sure that nobody moved a directory meanwhile.
                Err(Errno::AGAIN | Errno::INTR) => {}
                result => return Ok(result?),
            }
        }
    }

    /// Opens `path` as a mere place.
    pub(super) fn place(&self, path: &Path) -> io::Result<OwnedFd> {
        self.open(path, OFlags::PATH)
    }

    /// Opens the directory `path`, making what is missing of it.
    pub(super) fn make_dirs(&self, path: &Path) -> io::Result<OwnedFd> {
        match self.open(path, OFlags::PATH | OFlags::DIRECTORY) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            result => return result,
        }
        let mut so_far = PathBuf::new();
        let mut at = self.open(Path::new("."), OFlags::PATH | OFlags::DIRECTORY)?;
        for component in path.components() {
            match component {
                Component::Normal(name) => so_far.push(name),
                Component::ParentDir => {
                    so_far.pop();
                    at = self.open(&so_far, OFlags::PATH | OFlags::DIRECTORY)?;
                    continue;
                }
                _ => continue,
            }
            at = match self.open(&so_far, OFlags::PATH | OFlags::DIRECTORY) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    let name = so_far.file_name().unwrap_or_default();
                    match rustix::fs::mkdirat(&at, name, Mode::from(0o755)) {
                        Ok(()) | Err(Errno::EXIST) => {}
                        Err(error) => return Err(error.into()),
                    }
                    self.open(&so_far, OFlags::PATH | OFlags::DIRECTORY)?
                }
                result => result?,
            };
        }
        Ok(at)
    }

    /// Opens the file `path` as a place, making an empty one if there is nothing.
    pub(super) fn make_file(&self, path: &Path) -> io::Result<OwnedFd> {
        match self.place(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            result => return result,
        }
        let (dir, name) = self.parent(path)?;
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match rustix::fs::openat(&dir, name, flags | OFlags::WRONLY, Mode::from(0o644)) {
            Ok(_) | Err(Errno::EXIST) => self.place(path),
            Err(error) => Err(error.into()),
        }
    }

    /// Does the same for a file that must be there itself: a link in its place is refused, because
    /// it may lead to what is not masked yet.
    pub(super) fn make_own_file(&self, path: &Path) -> io::Result<OwnedFd> {
        let (dir, name) = self.parent(path)?;
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match rustix::fs::openat(&dir, name, flags | OFlags::WRONLY, Mode::from(0o644)) {
            Ok(_) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let place = rustix::fs::openat(&dir, name, flags, Mode::empty())?;
        if stat(place.as_fd())?.1 == FileType::Symlink {
            return Err(Errno::LOOP.into());
        }
        Ok(place)
    }

    /// Opens the directory of `path`, made if it is missing, and returns it with the last name.
    pub(super) fn parent<'a>(&self, path: &'a Path) -> io::Result<(OwnedFd, &'a std::ffi::OsStr)> {
        let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        Ok((
            self.make_dirs(path.parent().unwrap_or(Path::new("/")))?,
            name,
        ))
    }

    /// The path without its slash: `openat2` takes "" for no path, so the root is ".".
    pub(super) fn relative(path: &Path) -> &Path {
        let path = path.strip_prefix("/").unwrap_or(path);
        if path.as_os_str().is_empty() {
            Path::new(".")
        } else {
            path
        }
    }

    /// Puts the detached mount `mount` on the place `on`.
    pub(super) fn attach(mount: BorrowedFd<'_>, on: BorrowedFd<'_>) -> io::Result<()> {
        let flags =
            MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
        Ok(rustix::mount::move_mount(mount, "", on, "", flags)?)
    }
}

/// Says what is behind `fd`.
pub(super) fn stat(fd: BorrowedFd<'_>) -> io::Result<(Stat, FileType)> {
    let stat = rustix::fs::statat(fd, "", AtFlags::EMPTY_PATH)?;
    let kind = FileType::from_raw_mode(stat.st_mode);
    Ok((stat, kind))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn tree() -> (tempfile::TempDir, Tree) {
        let dir = tempfile::tempdir().unwrap();
        let root = std::fs::File::open(dir.path()).unwrap();
        (dir, Tree::new(root.into()))
    }

    #[test]
    fn links_stay_inside() {
        let (dir, tree) = tree();
        symlink("/../../..", dir.path().join("up")).unwrap();
        symlink("/inner", dir.path().join("link")).unwrap();
        tree.make_dirs(Path::new("/inner/deep")).unwrap();
        tree.make_file(Path::new("/up/up/link/deep/file")).unwrap();
        assert!(dir.path().join("inner/deep/file").is_file());
    }

    #[test]
    fn directories_are_made_through_links_and_dots() {
        let (dir, tree) = tree();
        symlink("real", dir.path().join("link")).unwrap();
        std::fs::create_dir(dir.path().join("real")).unwrap();
        tree.make_dirs(Path::new("/link/a/../b/")).unwrap();
        assert!(dir.path().join("real/b").is_dir());
        tree.make_dirs(Path::new("/")).unwrap();
    }

    #[test]
    fn a_file_is_not_a_directory() {
        let (_dir, tree) = tree();
        tree.make_file(Path::new("/file")).unwrap();
        tree.make_file(Path::new("/file")).unwrap();
        let error = tree.make_dirs(Path::new("/file")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotADirectory);
    }
}
