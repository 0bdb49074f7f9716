//! Paths of archives and clients: cleaned, split, and resolved below a root.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

/// Opens `path` below `root` as a process would whose root directory that is: absolute paths and `..`
/// stay inside, and so do all symbolic links on the way.
///
/// # Errors
/// Those of `openat2(2)`.
pub fn open_in_root(root: impl AsFd, path: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let path = if path.is_empty() { &b"."[..] } else { path };
    // The kernel gives up with EAGAIN when something is renamed while it looks at `..`.
    for _ in 0..64 {
        let flags = flags | OFlags::CLOEXEC;
        match rustix::fs::openat2(root.as_fd(), path, flags, Mode::empty(), resolve) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            done => return done,
        }
    }
    Err(Errno::AGAIN)
}

/// Opens the directory `path` of the host as a root for trees.
///
/// # Errors
/// Those of `open(2)`.
pub fn open_root(path: &std::path::Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty())
}

/// Removes `.`, empty parts and, together with what is before them, `..`; `None` when that leads out.
///
/// This is Go's `filepath.Clean`, with an absolute path taken as one below the root. The root is empty.
pub(crate) fn clean(path: &[u8]) -> Option<Vec<u8>> {
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in path.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => {
                // Above the root of an absolute path is the root.
                if parts.pop().is_none() && !path.starts_with(b"/") {
                    return None;
                }
            }
            part => parts.push(part),
        }
    }
    Some(parts.join(&b'/'))
}

/// Splits a cleaned path into the directory and the name in it.
pub(crate) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(at) => (
            path.get(..at).unwrap_or_default(),
            path.get(at + 1..).unwrap_or_default(),
        ),
        None => (&[], path),
    }
}

/// Joins a directory and a name in it; the root is empty, or a slash where paths are absolute.
pub(crate) fn join(directory: &[u8], name: &[u8]) -> Vec<u8> {
    if directory.is_empty() || directory == b"/" {
        [directory, name].concat()
    } else {
        [directory, b"/", name].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned_and_never_lead_out() {
        let cases: [(&str, Option<&str>); 10] = [
            ("./", Some("")),
            ("./a//b/", Some("a/b")),
            ("/etc/passwd", Some("etc/passwd")),
            ("a/../b", Some("b")),
            ("..", None),
            ("a/../../b", None),
            ("/../x", Some("x")),
            ("a/..b/...", Some("a/..b/...")),
            ("../a", None),
            ("a/./b/..", Some("a")),
        ];
        for (path, expected) in cases {
            let cleaned = clean(path.as_bytes());
            assert_eq!(cleaned.as_deref(), expected.map(str::as_bytes), "{path}");
        }
    }

    #[test]
    fn a_path_is_split_at_its_last_slash() {
        assert_eq!(split(b"a/b/c"), (&b"a/b"[..], &b"c"[..]));
        assert_eq!(split(b"a"), (&b""[..], &b"a"[..]));
    }
}
