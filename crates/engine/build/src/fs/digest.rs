//! Checksums of files by contents: type, mode, owner, link text, device, attributes and data; not the time.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read as _;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::sync::{Mutex, PoisonError};

use arca_archive::Walk;
use arca_types::Digest;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};

use super::path;
use crate::Error;

/// What says that a file has not changed since it was read.
type Version = (u64, i64, i64, i64, i64, i64);

/// Checksums of the data of files that were read before, by path; for directories that stay.
#[derive(Debug, Default)]
pub(crate) struct Known(Mutex<HashMap<Vec<u8>, Read>>);

/// A file that was read: in which version, with which digest.
type Read = (Version, [u8; 32]);

impl Known {
    fn get(&self, path: &[u8], version: Version) -> Option<[u8; 32]> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (then, digest) = known.get(path)?;
        (*then == version).then_some(*digest)
    }

    fn put(&self, path: Vec<u8>, version: Version, digest: [u8; 32]) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(path, (version, digest));
    }
}

/// Which entries count, by path below the start and whether they are directories.
pub(crate) type Select<'a> = Option<&'a dyn Fn(&[u8], bool) -> bool>;

/// The checksum of what a resolved path names, with everything below it; `None` when there is nothing.
pub(crate) fn of_path(
    root: BorrowedFd<'_>,
    at: &[u8],
    known: Option<&Known>,
    select: Select<'_>,
) -> Result<Option<Digest>, Error> {
    let failed = |error| Error::errno("read", path::shown(at))(error);
    let Some(stat) = path::look(root, at).map_err(failed)? else {
        return Ok(None);
    };
    let (above, name) = path::split(at);
    let parent = path::open_dir(root, above).map_err(failed)?;
    let mut hasher = Sha256::new();
    let name = if name.is_empty() { b"." } else { name };
    entry(&mut hasher, (parent.as_fd(), name), (b"", at), &stat, known).map_err(failed)?;
    if path::is_dir(&stat) {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let start = rustix::fs::openat(&parent, name, flags, Mode::empty()).map_err(failed)?;
        let mut walk = Walk::below(start).map_err(Error::Archive)?;
        while let Some(node) = walk.next_node().map_err(Error::Archive)? {
            if select.is_some_and(|select| !select(&node.path, node.directory.is_some())) {
                continue;
            }
            let full = path::join(at, &node.path);
            let place = (node.parent.as_fd(), node.name.as_slice());
            entry(&mut hasher, place, (&node.path, &full), &node.stat, known)
                .map_err(|error| Error::errno("read", path::shown(&full))(error))?;
        }
    }
    Ok(Some(Digest::sha256(&hasher.finalize().into())))
}

/// Adds one entry.
fn entry(
    hasher: &mut Sha256,
    (parent, name): (BorrowedFd<'_>, &[u8]),
    (relative, full): (&[u8], &[u8]),
    stat: &Stat,
    known: Option<&Known>,
) -> Result<(), Errno> {
    let mut add = |bytes: &[u8]| {
        hasher.update((bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    };
    add(relative);
    let kind = FileType::from_raw_mode(stat.st_mode);
    add(&stat.st_mode.to_le_bytes());
    add(&stat.st_uid.to_le_bytes());
    add(&stat.st_gid.to_le_bytes());
    match kind {
        FileType::Symlink => {
            let target = rustix::fs::readlinkat(parent, name, Vec::new())?;
            add(target.as_bytes());
        }
        FileType::CharacterDevice | FileType::BlockDevice => add(&stat.st_rdev.to_le_bytes()),
        FileType::RegularFile => {
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let opened = rustix::fs::openat(parent, name, flags, Mode::empty())?;
            for (name, value) in arca_archive::xattrs(opened.as_fd())? {
                if counts(&name) {
                    add(&name);
                    add(&value);
                }
            }
            add(&data(File::from(opened), full, stat, known)?);
        }
        FileType::Directory => {
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let opened = rustix::fs::openat(parent, name, flags, Mode::empty())?;
            for (name, value) in arca_archive::xattrs(opened.as_fd())? {
                if counts(&name) {
                    add(&name);
                    add(&value);
                }
            }
        }
        _ => {}
    }
    Ok(())
}

/// Attributes that travel in layers.
fn counts(name: &[u8]) -> bool {
    name == b"security.capability" || name.starts_with(b"user.")
}

/// The digest of a file's data.
fn data(
    mut file: File,
    full: &[u8],
    stat: &Stat,
    known: Option<&Known>,
) -> Result<[u8; 32], Errno> {
    let version = version(stat);
    if let Some(digest) = known.and_then(|known| known.get(full, version)) {
        return Ok(digest);
    }
    let mut hasher = Sha256::new();
    let size = usize::try_from(stat.st_size).unwrap_or(usize::MAX);
    let mut buffer = vec![0_u8; size.clamp(1, 256 << 10)];
    loop {
        let read = match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(Errno::from_io_error(&error).unwrap_or(Errno::IO)),
        };
        hasher.update(buffer.get(..read).unwrap_or_default());
    }
    let digest: [u8; 32] = hasher.finalize().into();
    if let Some(known) = known {
        known.put(full.to_vec(), version, digest);
    }
    Ok(digest)
}

fn version(stat: &Stat) -> Version {
    let nanoseconds = |value| i64::try_from(value).unwrap_or(0);
    (
        stat.st_ino,
        stat.st_size,
        stat.st_mtime,
        nanoseconds(stat.st_mtime_nsec),
        stat.st_ctime,
        nanoseconds(stat.st_ctime_nsec),
    )
}

/// What a resolved path names, a link's own.
pub(crate) fn stat_of(root: BorrowedFd<'_>, at: &[u8]) -> Result<Option<Stat>, Error> {
    let (above, name) = path::split(at);
    let name = if name.is_empty() { b"." } else { name };
    let found = path::open_dir(root, above)
        .and_then(|parent| rustix::fs::statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW));
    match found {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(error) => Err(Error::errno("read", path::shown(at))(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    fn checksum(dir: &tempfile::TempDir, known: Option<&Known>) -> Digest {
        let root = arca_archive::open_root(dir.path()).unwrap();
        of_path(root.as_fd(), b"", known, None).unwrap().unwrap()
    }

    fn tree() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::create_dir(dir.path().join("d")).unwrap();
        fs::write(dir.path().join("d/f"), "data").unwrap();
        symlink("d/f", dir.path().join("l")).unwrap();
        dir
    }

    #[test]
    fn the_time_does_not_count_and_everything_else_does() {
        let (a, b) = (tree(), tree());
        let digest = checksum(&a, None);
        let old = std::time::SystemTime::UNIX_EPOCH;
        let file = File::options().write(true).open(b.path().join("d/f"));
        file.unwrap().set_modified(old).unwrap();
        assert_eq!(checksum(&b, None), digest);
        fs::set_permissions(b.path().join("d/f"), fs::Permissions::from_mode(0o600)).unwrap();
        let moded = checksum(&b, None);
        assert_ne!(moded, digest);
        fs::write(b.path().join("d/f"), "Data").unwrap();
        let written = checksum(&b, None);
        assert_ne!(written, moded);
        fs::remove_file(b.path().join("l")).unwrap();
        symlink("d/g", b.path().join("l")).unwrap();
        assert_ne!(checksum(&b, None), written);
    }

    #[test]
    fn what_was_read_before_is_read_again_only_when_it_changed() {
        let (dir, known) = (tree(), Known::default());
        let digest = checksum(&dir, Some(&known));
        assert_eq!(checksum(&dir, Some(&known)), digest);
        fs::write(dir.path().join("d/f"), "other").unwrap();
        assert_ne!(checksum(&dir, Some(&known)), digest);
        assert_eq!(checksum(&dir, Some(&known)), checksum(&dir, None));
    }
}
