//! Making and removing files.

use std::io::Write as _;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Gid, Mode, OFlags, Timespec, Timestamps, Uid};
use rustix::io::Errno;

use super::{glob, path};
use crate::Error;
use crate::graph::{MkDir, MkFile, Rm};

/// User and group.
pub(crate) type Ids = (u32, u32);

/// Makes a directory with those above it; those that are there stay as they are.
pub(crate) fn make_dirs(
    root: BorrowedFd<'_>,
    at: &[u8],
    mode: u32,
    (owner, timestamp): (Option<Ids>, Option<i64>),
) -> Result<(), Error> {
    let mut done: Vec<u8> = Vec::new();
    let mut made: Vec<Vec<u8>> = Vec::new();
    for part in at.split(|byte| *byte == b'/').filter(|p| !p.is_empty()) {
        let parent = open(root, &done)?;
        let next = path::join(&done, part);
        match rustix::fs::mkdirat(&parent, part, Mode::from_raw_mode(0o755)) {
            Ok(()) => {
                set(parent.as_fd(), part, mode, owner)
                    .map_err(|error| Error::errno("create", path::shown(&next))(error))?;
                made.push(next.clone());
            }
            Err(Errno::EXIST) => {
                if !path::look(root, &next)
                    .map_err(|error| Error::errno("read", path::shown(&next))(error))?
                    .is_some_and(|stat| path::is_dir(&stat))
                {
                    let text = format!("mkdir {}: not a directory", path::shown(&next));
                    return Err(Error::Failed(text));
                }
            }
            Err(error) => return Err(Error::errno("create", path::shown(&next))(error)),
        }
        done = next;
    }
    for path in made.iter().rev() {
        set_time(root, path, timestamp)?;
    }
    Ok(())
}

/// Makes a directory as an action says.
pub(crate) fn mkdir(root: BorrowedFd<'_>, dir: &MkDir, owner: Option<Ids>) -> Result<(), Error> {
    let at = resolved(root, dir.path.as_bytes())?;
    let owner = Some(owner.unwrap_or((0, 0)));
    if dir.make_parents {
        return make_dirs(root, &at, dir.mode & 0o7777, (owner, dir.timestamp));
    }
    let (above, name) = path::split(&at);
    let parent = open(root, above)?;
    let failed = |error| Error::errno("mkdir", path::shown(&at))(error);
    match rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(0o755)) {
        Err(Errno::EXIST) => return Ok(()),
        made => made.map_err(failed)?,
    }
    set(parent.as_fd(), name, dir.mode & 0o7777, owner).map_err(failed)?;
    set_time(root, &at, dir.timestamp)
}

/// Writes a file as an action says.
pub(crate) fn mkfile(root: BorrowedFd<'_>, file: &MkFile, owner: Option<Ids>) -> Result<(), Error> {
    let at = resolved(root, file.path.as_bytes())?;
    let (above, name) = path::split(&at);
    let parent = open(root, above)?;
    let failed = |error| Error::errno("open", path::shown(&at))(error);
    let flags =
        OFlags::CREATE | OFlags::TRUNC | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = rustix::fs::openat(
        &parent,
        name,
        flags | OFlags::NONBLOCK,
        Mode::from_raw_mode(0o600),
    );
    let mut opened = std::fs::File::from(opened.map_err(failed)?);
    opened
        .write_all(&file.data)
        .map_err(Error::file("write", path::shown(&at)))?;
    let owner = Some(owner.unwrap_or((0, 0)));
    set(parent.as_fd(), name, file.mode & 0o7777, owner).map_err(failed)?;
    set_time(root, &at, file.timestamp)
}

/// Removes files as an action says.
pub(crate) fn rm(root: BorrowedFd<'_>, rm: &Rm) -> Result<(), Error> {
    let named = if rm.allow_wildcard {
        glob::find(root, rm.path.as_bytes(), false)?
    } else {
        vec![rm.path.as_bytes().to_vec()]
    };
    for at in named {
        let at = path::resolve(root, &at, false)
            .map_err(|error| Error::errno("remove", path::shown(&at))(error))?;
        let (above, name) = path::split(&at);
        if name.is_empty() {
            return Err(Error::Failed("cannot remove the root".to_owned()));
        }
        let removed =
            path::open_dir(root, above).and_then(|parent| arca_archive::remove_tree(&parent, name));
        match removed {
            Err(Errno::NOENT | Errno::NOTDIR) if rm.allow_not_found => {}
            removed => {
                removed.map_err(|error| Error::errno("remove", path::shown(&at))(error))?;
            }
        }
    }
    Ok(())
}

/// Resolves a path of an action, its last part included.
pub(crate) fn resolved(root: BorrowedFd<'_>, at: &[u8]) -> Result<Vec<u8>, Error> {
    path::resolve(root, at, true)
        .map_err(|error| Error::errno("resolve", String::from_utf8_lossy(at).into_owned())(error))
}

fn open(root: BorrowedFd<'_>, at: &[u8]) -> Result<OwnedFd, Error> {
    path::open_dir(root, at).map_err(|error| Error::errno("open", path::shown(at))(error))
}

fn set(parent: BorrowedFd<'_>, name: &[u8], mode: u32, owner: Option<Ids>) -> Result<(), Errno> {
    if let Some((uid, gid)) = owner {
        let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
        rustix::fs::chownat(
            parent,
            name,
            Some(uid),
            Some(gid),
            AtFlags::SYMLINK_NOFOLLOW,
        )?;
    }
    rustix::fs::chmodat(parent, name, Mode::from_raw_mode(mode), AtFlags::empty())
}

/// Sets the time of an entry, unless it is to stay what it is.
pub(crate) fn set_time(
    root: BorrowedFd<'_>,
    at: &[u8],
    timestamp: Option<i64>,
) -> Result<(), Error> {
    let Some(nanoseconds) = timestamp else {
        return Ok(());
    };
    let (seconds, rest) = split_time(nanoseconds);
    let time = Timespec {
        tv_sec: seconds,
        tv_nsec: i64::from(rest),
    };
    let times = Timestamps {
        last_access: time,
        last_modification: time,
    };
    let (above, name) = path::split(at);
    let parent = open(root, above)?;
    rustix::fs::utimensat(&parent, name, &times, AtFlags::SYMLINK_NOFOLLOW)
        .map_err(|error| Error::errno("set the time of", path::shown(at))(error))
}

/// Nanoseconds since 1970 as seconds and what is left.
pub(crate) fn split_time(nanoseconds: i64) -> (i64, u32) {
    let rest = u32::try_from(nanoseconds.rem_euclid(1_000_000_000)).unwrap_or(0);
    (nanoseconds.div_euclid(1_000_000_000), rest)
}
