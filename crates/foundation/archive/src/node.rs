//! One inode of a tree: setting and reading its attributes, by descriptor.

use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

/// Makes a lower entry invisible in overlayfs: the directory hides all that is below it.
pub(crate) const OPAQUE: &[u8] = b"trusted.overlay.opaque";

/// Names that mean something to overlayfs: whoever sets them could make it show other files.
const RESERVED: [&[u8]; 2] = [b"trusted.overlay.", b"user.overlay."];

/// Extended attributes: names and values.
pub type Xattrs = Vec<(Vec<u8>, Vec<u8>)>;

/// Attributes as they are to be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attributes<'a> {
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) mtime: (i64, u32),
    pub(crate) xattrs: &'a [(Vec<u8>, Vec<u8>)],
}

/// Is this name kept from archives and copies?
pub(crate) fn is_reserved(xattr: &[u8]) -> bool {
    RESERVED.iter().any(|prefix| xattr.starts_with(prefix))
}

/// Sets everything on an open regular file that was just made. Owner first: it clears other bits.
pub(crate) fn set_file(file: impl AsFd, wanted: &Attributes<'_>) -> Result<(), Errno> {
    let file = file.as_fd();
    let (uid, gid) = owner(wanted);
    rustix::fs::fchown(file, Some(uid), Some(gid))?;
    rustix::fs::fchmod(file, Mode::from_raw_mode(wanted.mode))?;
    for (name, value) in wanted.xattrs {
        let set = rustix::fs::fsetxattr(file, name.as_slice(), value, XattrFlags::empty());
        tolerate(set)?;
    }
    rustix::fs::futimens(file, &times(wanted.mtime))
}

/// Sets owner, mode and attributes of what is neither a regular file nor a symbolic link, without times.
///
/// `node` is opened with `O_PATH`, so that what is changed is what was opened.
pub(crate) fn set_node(node: BorrowedFd<'_>, wanted: &Attributes<'_>) -> Result<(), Errno> {
    let (uid, gid) = owner(wanted);
    rustix::fs::chownat(node, "", Some(uid), Some(gid), AtFlags::EMPTY_PATH)?;
    let path = magic_path(node);
    rustix::fs::chmod(&path, Mode::from_raw_mode(wanted.mode))?;
    for (name, value) in wanted.xattrs {
        let set = rustix::fs::setxattr(&path, name.as_slice(), value, XattrFlags::empty());
        tolerate(set)?;
    }
    Ok(())
}

/// Sets owner, attributes and times of the symbolic link `name`.
pub(crate) fn set_symlink(
    parent: BorrowedFd<'_>,
    name: &[u8],
    wanted: &Attributes<'_>,
) -> Result<(), Errno> {
    let (uid, gid) = owner(wanted);
    rustix::fs::chownat(
        parent,
        name,
        Some(uid),
        Some(gid),
        AtFlags::SYMLINK_NOFOLLOW,
    )?;
    if !wanted.xattrs.is_empty() {
        let path = [magic_path(parent).as_bytes(), b"/", name].concat();
        for (name, value) in wanted.xattrs {
            let name = name.as_slice();
            tolerate(rustix::fs::lsetxattr(
                path.as_slice(),
                name,
                value,
                XattrFlags::empty(),
            ))?;
        }
    }
    set_times(parent, name, wanted.mtime)
}

/// Sets the times of `name`, not following it.
pub(crate) fn set_times(
    parent: BorrowedFd<'_>,
    name: &[u8],
    mtime: (i64, u32),
) -> Result<(), Errno> {
    rustix::fs::utimensat(parent, name, &times(mtime), AtFlags::SYMLINK_NOFOLLOW)
}

/// Opens `name` for the functions above.
pub(crate) fn open_node(parent: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(parent, name, flags, Mode::empty())
}

/// Opens the directory `name` to read it, not following a link.
pub(crate) fn open_dir(parent: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(parent, name, flags, Mode::empty())
}

/// Marks an open directory as opaque.
pub(crate) fn set_opaque(directory: BorrowedFd<'_>) -> Result<(), Errno> {
    rustix::fs::setxattr(magic_path(directory), OPAQUE, b"y", XattrFlags::empty())
}

/// Is the directory marked as opaque?
pub(crate) fn is_opaque(directory: BorrowedFd<'_>) -> bool {
    let mut value = [0_u8; 1];
    let found = rustix::fs::getxattr(magic_path(directory), OPAQUE, &mut value);
    matches!(found, Ok(1)) && value == *b"y"
}

/// A whiteout of overlayfs is a character device 0/0.
pub(crate) fn is_whiteout(stat: &rustix::fs::Stat) -> bool {
    rustix::fs::FileType::from_raw_mode(stat.st_mode) == rustix::fs::FileType::CharacterDevice
        && stat.st_rdev == 0
}

/// Reads all extended attributes of the opened node but those reserved, ordered by name.
///
/// `node` may be opened with `O_PATH`, but must not be a symbolic link.
///
/// # Errors
/// Those of `listxattr(2)` and `getxattr(2)`; a file system without them has none.
pub fn xattrs(node: BorrowedFd<'_>) -> Result<Xattrs, Errno> {
    let path = magic_path(node);
    let mut names = vec![0_u8; 1024];
    let length = loop {
        match rustix::fs::listxattr(&path, names.as_mut_slice()) {
            Ok(length) => break length,
            Err(Errno::RANGE) => {
                let needed = rustix::fs::listxattr_query(&path)?;
                names.resize(needed + 1024, 0);
            }
            Err(Errno::NOTSUP | Errno::ACCESS) => return Ok(Vec::new()),
            Err(error) => return Err(error),
        }
    };
    names.truncate(length);
    let mut found = Vec::new();
    for name in names
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
    {
        if !is_reserved(name)
            && let Some(value) = xattr(&path, name)?
        {
            found.push((name.to_vec(), value));
        }
    }
    found.sort();
    Ok(found)
}

fn xattr(path: &str, name: &[u8]) -> Result<Option<Vec<u8>>, Errno> {
    let mut value = vec![0_u8; 256];
    loop {
        match rustix::fs::getxattr(path, name, value.as_mut_slice()) {
            Ok(length) => {
                value.truncate(length);
                return Ok(Some(value));
            }
            Err(Errno::RANGE) => {
                let needed = rustix::fs::getxattr_query(path, name)?;
                value.resize(needed + 64, 0);
            }
            // Gone meanwhile, or not for us to see.
            Err(Errno::NODATA | Errno::PERM | Errno::NOTSUP) => return Ok(None),
            Err(error) => return Err(error),
        }
    }
}

/// The name under which the kernel gives an open descriptor's file itself.
fn magic_path(node: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", node.as_raw_fd())
}

/// Attributes that the file system or the kind of file cannot have are left out, as dockerd does.
fn tolerate(set: Result<(), Errno>) -> Result<(), Errno> {
    match set {
        Err(Errno::NOTSUP | Errno::PERM) => Ok(()),
        other => other,
    }
}

fn owner(wanted: &Attributes<'_>) -> (Uid, Gid) {
    (Uid::from_raw(wanted.uid), Gid::from_raw(wanted.gid))
}

fn times((seconds, nanoseconds): (i64, u32)) -> Timestamps {
    let time = Timespec {
        tv_sec: seconds,
        tv_nsec: i64::from(nanoseconds),
    };
    Timestamps {
        last_access: time,
        last_modification: time,
    }
}
