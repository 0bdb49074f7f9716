//! Paths below a root.

use std::collections::VecDeque;
use std::os::fd::{BorrowedFd, OwnedFd};

use arca_archive::open_in_root;
use rustix::fs::{AtFlags, FileType, OFlags, Stat};
use rustix::io::Errno;

/// How many symbolic links one path may lead through; Linux's own limit is 40.
const LINKS: usize = 255;

/// Resolves symbolic links below `root`, which nothing leaves; what is missing stays as it is written. The
/// last part is only resolved with `follow`. The answer has no leading slash; the root is empty.
///
/// # Errors
/// `ELOOP` for too many links.
pub(crate) fn resolve(root: BorrowedFd<'_>, path: &[u8], follow: bool) -> Result<Vec<u8>, Errno> {
    let parts = |path: &[u8]| -> Vec<Vec<u8>> {
        path.split(|byte| *byte == b'/')
            .filter(|part| !part.is_empty() && *part != b".")
            .map(<[u8]>::to_vec)
            .collect()
    };
    let mut rest: VecDeque<Vec<u8>> = parts(path).into();
    let mut done: Vec<Vec<u8>> = Vec::new();
    let mut links = 0;
    while let Some(part) = rest.pop_front() {
        if part == b".." {
            done.pop();
            continue;
        }
        if (follow || !rest.is_empty())
            && let Some(target) = link(root, &done.join(&b'/'), &part)?
        {
            links += 1;
            if links > LINKS {
                return Err(Errno::LOOP);
            }
            if target.starts_with(b"/") {
                done.clear();
            }
            for part in parts(&target).into_iter().rev() {
                rest.push_front(part);
            }
            continue;
        }
        done.push(part);
    }
    Ok(done.join(&b'/'))
}

/// What the link `name` in `directory` says; `None` when it is no link.
fn link(root: BorrowedFd<'_>, directory: &[u8], name: &[u8]) -> Result<Option<Vec<u8>>, Errno> {
    let parent = match open_in_root(root, directory, OFlags::PATH | OFlags::DIRECTORY) {
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
        parent => parent?,
    };
    match rustix::fs::readlinkat(&parent, name, Vec::new()) {
        Ok(target) => Ok(Some(target.into_bytes())),
        Err(Errno::INVAL | Errno::NOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Splits into the directory and the name in it; both are empty for the root.
pub(crate) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(at) => (
            path.get(..at).unwrap_or_default(),
            path.get(at + 1..).unwrap_or_default(),
        ),
        None => (&[], path),
    }
}

/// Joins a directory and a name in it.
pub(crate) fn join(directory: &[u8], name: &[u8]) -> Vec<u8> {
    if directory.is_empty() {
        name.to_vec()
    } else if name.is_empty() {
        directory.to_vec()
    } else {
        [directory, b"/", name].concat()
    }
}

/// Opens the directory at a resolved path.
pub(crate) fn open_dir(root: BorrowedFd<'_>, path: &[u8]) -> Result<OwnedFd, Errno> {
    open_in_root(root, path, OFlags::PATH | OFlags::DIRECTORY)
}

/// Looks at what a resolved path names, a link's own; `None` when there is nothing.
pub(crate) fn look(root: BorrowedFd<'_>, path: &[u8]) -> Result<Option<Stat>, Errno> {
    let (directory, name) = split(path);
    let found = open_dir(root, directory).and_then(|parent| {
        if name.is_empty() {
            rustix::fs::fstat(&parent)
        } else {
            rustix::fs::statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW)
        }
    });
    match found {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(error) => Err(error),
    }
}

pub(crate) fn is_dir(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
}

/// For messages.
pub(crate) fn shown(path: &[u8]) -> String {
    format!("/{}", String::from_utf8_lossy(path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd as _;
    use std::os::unix::fs::symlink;

    #[test]
    fn links_are_followed_below_the_root_and_never_out_of_it() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("a/b")).unwrap();
        symlink("/a/b", dir.path().join("abs")).unwrap();
        symlink("../../../../etc", dir.path().join("out")).unwrap();
        symlink("loop", dir.path().join("loop")).unwrap();
        symlink("a/missing", dir.path().join("dangling")).unwrap();
        let root = arca_archive::open_root(dir.path()).unwrap();
        let resolve = |path: &str, follow| {
            resolve(root.as_fd(), path.as_bytes(), follow)
                .map(|path| String::from_utf8(path).unwrap())
        };
        assert_eq!(resolve("/abs/x", true).unwrap(), "a/b/x");
        assert_eq!(resolve("/abs", false).unwrap(), "abs");
        assert_eq!(resolve("out/passwd", true).unwrap(), "etc/passwd");
        assert_eq!(resolve("../../x/./y/..", true).unwrap(), "x");
        assert_eq!(resolve("dangling", true).unwrap(), "a/missing");
        assert_eq!(resolve("loop", true).unwrap_err(), Errno::LOOP);
        assert_eq!(resolve("/", true).unwrap(), "");
    }
}
