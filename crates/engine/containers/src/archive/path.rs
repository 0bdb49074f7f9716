//! Paths of clients in a container, and what is there.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use arca_archive::open_in_root;
use arca_types::Timestamp;
use rustix::fs::{AtFlags, FileType, OFlags, Stat};
use rustix::io::Errno;

use super::root::failed;
use crate::Error;
use crate::binds::clean;

/// How many symbolic links are followed, as in the kernel.
const LINKS: usize = 40;

/// What is at a path (the header `X-Docker-Container-Path-Stat`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathStat {
    /// The last part of the path as it was asked for; `/` for the root, `.` where that was asked for.
    pub name: String,
    /// Size in bytes.
    pub size: i64,
    /// Kind and permissions in the bits of Go's `os.FileMode`.
    pub mode: u32,
    /// When it was changed.
    pub mtime: Timestamp,
    /// Where a symbolic link leads in the end; empty for all else.
    pub link_target: String,
}

/// What stands behind a path's last name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tail {
    None,
    /// `/`: a directory is meant.
    Slash,
    /// `/.`: what is in the directory is meant.
    Dot,
}

/// A path that a client named: absolute and cleaned, but for what is at its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    path: String,
    tail: Tail,
    given: String,
    container: String,
}

/// What is at a path.
#[derive(Debug)]
pub(super) struct Found {
    /// The directory it is in, or the directory itself.
    pub(super) parent: OwnedFd,
    /// Its name in there; `.` for a directory.
    pub(super) name: String,
    pub(super) stat: PathStat,
}

impl Wanted {
    /// Reads the path of a request about `container`, which is named as in the request.
    pub(super) fn new(given: &str, container: &str) -> Self {
        let path = clean(&format!("/{given}"));
        let last = given.split('/').rfind(|part| !part.is_empty());
        let tail = match last {
            Some(".") => Tail::Dot,
            _ if given.ends_with('/') => Tail::Slash,
            _ => Tail::None,
        };
        Self {
            path,
            tail,
            given: given.to_owned(),
            container: container.to_owned(),
        }
    }

    /// The absolute path without what is at its end.
    #[cfg(test)]
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// The last part, as an archive names it.
    pub(super) fn name(&self) -> &str {
        match self.tail {
            Tail::Dot => ".",
            Tail::None | Tail::Slash if self.path == "/" => "/",
            Tail::None | Tail::Slash => self.split().1,
        }
    }

    fn split(&self) -> (&str, &str) {
        match self.path.rsplit_once('/') {
            Some(("", name)) => ("/", name),
            Some(parts) => parts,
            None => ("/", &self.path),
        }
    }

    /// Looks at what is there, without following a symbolic link at the end unless a slash follows.
    ///
    /// # Errors
    /// [`Error::NoSuchFile`], [`Error::File`].
    pub(super) fn find(&self, root: BorrowedFd<'_>) -> Result<Found, Error> {
        let failed = |error| self.failed(error);
        let opened = if self.tail == Tail::None && self.path != "/" {
            let (above, name) = self.split();
            let flags = OFlags::PATH | OFlags::DIRECTORY;
            let parent = open_in_root(root, above.as_bytes(), flags).map_err(failed)?;
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let mode = rustix::fs::Mode::empty();
            let node = rustix::fs::openat(&parent, name, flags, mode).map_err(failed)?;
            (parent, name.to_owned(), node)
        } else {
            let flags = OFlags::PATH | OFlags::DIRECTORY;
            let node = open_in_root(root, self.path.as_bytes(), flags).map_err(failed)?;
            let parent = rustix::io::fcntl_dupfd_cloexec(&node, 0).map_err(failed)?;
            (parent, ".".to_owned(), node)
        };
        let (mut parent, mut name, node) = opened;
        let stat = rustix::fs::fstat(&node).map_err(failed)?;
        let link_target = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Symlink => self.followed(root)?,
            FileType::Directory => {
                (parent, name) = (node, ".".to_owned());
                String::new()
            }
            _ => String::new(),
        };
        let stat = path_stat(self.name(), &stat, link_target);
        Ok(Found { parent, name, stat })
    }

    /// Where the path leads when every symbolic link is followed. What is missing at its end stays.
    ///
    /// # Errors
    /// [`Error::File`].
    pub(super) fn followed(&self, root: BorrowedFd<'_>) -> Result<String, Error> {
        let mut ahead: Vec<String> = parts(&self.path);
        let mut path: Vec<String> = Vec::new();
        let mut links = 0;
        while let Some(part) = ahead.pop() {
            if part == ".." {
                path.pop();
                continue;
            }
            path.push(part);
            match read_link(root, &path.join("/")) {
                Ok(target) => {
                    links += 1;
                    if links > LINKS {
                        return Err(self.failed(Errno::LOOP));
                    }
                    path.pop();
                    if target.starts_with('/') {
                        path.clear();
                    }
                    ahead.extend(parts(&target));
                }
                // No link, or nothing at all.
                Err(Errno::INVAL | Errno::NOENT | Errno::NOTDIR) => {}
                Err(error) => return Err(self.failed(error)),
            }
        }
        Ok(format!("/{}", path.join("/")))
    }

    /// The error for a failed look.
    pub(super) fn failed(&self, error: Errno) -> Error {
        match error {
            Errno::NOENT => Error::NoSuchFile {
                path: self.given.clone(),
                container: self.container.clone(),
            },
            Errno::NOTDIR => Error::Failed(format!("lstat {}: not a directory", self.given)),
            error => failed("read", &self.given, error),
        }
    }
}

/// The parts of a path, the first one last.
fn parts(path: &str) -> Vec<String> {
    let parts = path.split('/').rev();
    parts
        .filter(|part| !matches!(*part, "" | "."))
        .map(str::to_owned)
        .collect()
}

fn read_link(root: BorrowedFd<'_>, path: &str) -> Result<String, Errno> {
    let node = open_in_root(root, path.as_bytes(), OFlags::PATH | OFlags::NOFOLLOW)?;
    let stat = rustix::fs::statat(&node, "", AtFlags::EMPTY_PATH)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
        return Err(Errno::INVAL);
    }
    let target = rustix::fs::readlinkat(node.as_fd(), "", Vec::new())?;
    Ok(target.to_string_lossy().into_owned())
}

fn path_stat(name: &str, stat: &Stat, link_target: String) -> PathStat {
    PathStat {
        name: name.to_owned(),
        size: stat.st_size,
        mode: go_mode(stat.st_mode),
        mtime: Timestamp::from_unix(
            stat.st_mtime,
            u32::try_from(stat.st_mtime_nsec).unwrap_or(0),
        ),
        link_target,
    }
}

/// A mode in the bits of Go's `os.FileMode`.
fn go_mode(mode: u32) -> u32 {
    let kind = match FileType::from_raw_mode(mode) {
        FileType::Directory => 1 << 31,
        FileType::Symlink => 1 << 27,
        FileType::BlockDevice => 1 << 26,
        FileType::CharacterDevice => 1 << 26 | 1 << 21,
        FileType::Fifo => 1 << 25,
        FileType::Socket => 1 << 24,
        _ => 0,
    };
    let bits = [(0o4000, 1 << 23), (0o2000, 1 << 22), (0o1000, 1 << 20)];
    let special = bits.iter().filter(|(bit, _)| mode & bit != 0);
    kind | special.fold(mode & 0o777, |all, (_, go)| all | go)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_path_is_kept() {
        for (given, path, name) in [
            ("/etc", "/etc", "etc"),
            ("etc/", "/etc", "etc"),
            ("/etc/.", "/etc", "."),
            ("/etc/./", "/etc", "."),
            ("/", "/", "/"),
            ("/.", "/", "."),
            (".", "/", "."),
            ("..", "/", "/"),
            ("etc/../etc/passwd", "/etc/passwd", "passwd"),
            ("/a/..", "/", "/"),
        ] {
            let wanted = Wanted::new(given, "c");
            assert_eq!((wanted.path(), wanted.name()), (path, name), "{given}");
        }
    }

    #[test]
    fn links_are_followed_inside_the_root() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("a/b")).unwrap();
        for (name, target) in [
            ("out", "../../../a"),
            ("abs", "/a/b"),
            ("two", "out/b"),
            ("gone", "/no/where"),
            ("loop", "loop"),
        ] {
            std::os::unix::fs::symlink(target, dir.path().join(name)).unwrap();
        }
        let root = arca_archive::open_root(dir.path()).unwrap();
        for (path, expected) in [
            ("/out", "/a"),
            ("/abs", "/a/b"),
            ("/two/x", "/a/b/x"),
            ("/gone", "/no/where"),
        ] {
            let found = Wanted::new(path, "c").followed(root.as_fd()).unwrap();
            assert_eq!(found, expected, "{path}");
        }
        assert!(Wanted::new("/loop", "c").followed(root.as_fd()).is_err());
    }

    #[test]
    fn what_is_found_is_told_in_gos_words() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("f"), "abc").unwrap();
        std::os::unix::fs::symlink("f", dir.path().join("l")).unwrap();
        let root = arca_archive::open_root(dir.path()).unwrap();
        let find = |path: &str| Wanted::new(path, "c").find(root.as_fd());
        assert_eq!(find("/f").unwrap().stat.size, 3);
        let link = find("/l").unwrap().stat;
        assert_eq!(
            (link.mode, link.link_target.as_str()),
            (0o777 | 1 << 27, "/f")
        );
        assert_eq!(find("/").unwrap().stat.mode & 1 << 31, 1 << 31);
        let text = find("/none").unwrap_err().to_string();
        assert_eq!(text, "Could not find the file /none in container c");
        let error = find("/f/.").unwrap_err();
        assert!(!matches!(error, Error::NoSuchFile { .. }), "{error}");
    }
}
