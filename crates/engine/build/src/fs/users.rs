//! Users and groups by the names that a tree gives them.

use std::io::{BufRead as _, BufReader, Read as _};
use std::os::fd::BorrowedFd;

use arca_archive::open_in_root;
use rustix::fs::OFlags;

/// Bytes that are read of a file at most.
const LIMIT: u64 = 16 << 20;

/// Looks up a user: ID and group.
pub(crate) fn user(root: BorrowedFd<'_>, name: &str) -> Option<(u32, u32)> {
    lines(root, b"etc/passwd").into_iter().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        match fields.as_slice() {
            [found, _, uid, gid, ..] if *found == name => {
                Some((uid.parse().ok()?, gid.parse().ok()?))
            }
            _ => None,
        }
    })
}

/// Looks up a group.
pub(crate) fn group(root: BorrowedFd<'_>, name: &str) -> Option<u32> {
    lines(root, b"etc/group").into_iter().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        match fields.as_slice() {
            [found, _, gid, ..] if *found == name => gid.parse().ok(),
            _ => None,
        }
    })
}

fn lines(root: BorrowedFd<'_>, path: &[u8]) -> Vec<String> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
    let Ok(opened) = open_in_root(root, path, flags) else {
        return Vec::new();
    };
    let regular = rustix::fs::fstat(&opened).is_ok_and(|stat| {
        rustix::fs::FileType::from_raw_mode(stat.st_mode) == rustix::fs::FileType::RegularFile
    });
    if !regular {
        return Vec::new();
    }
    let file = BufReader::new(std::fs::File::from(opened).take(LIMIT));
    file.lines().map_while(Result::ok).collect()
}
