//! Attributes of mounts by descriptor: `mount_setattr(2)`.
#![expect(unsafe_code, reason = "this crate wraps system calls")]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// What to change about a mount; the default changes nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MountChange {
    /// `MOUNT_ATTR_*` bits to set.
    pub set: u64,
    /// `MOUNT_ATTR_*` bits to clear.
    pub clear: u64,
    /// The propagation type: `MS_SHARED`, `MS_SLAVE`, `MS_PRIVATE`, `MS_UNBINDABLE`, or zero to
    /// leave it.
    pub propagation: u64,
}

impl MountChange {
    /// Says whether nothing would change.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Changes the mount at `mount`, and with `recursive` every mount below it (Linux 5.12).
///
/// # Errors
/// `ENOSYS` before Linux 5.12, `EINVAL` when `mount` is not the root of a mount or the change is
/// not valid, `EPERM` without the privilege or for a locked attribute. Nothing has changed then.
pub fn change_mount(mount: BorrowedFd<'_>, change: MountChange, recursive: bool) -> io::Result<()> {
    let attr = libc::mount_attr {
        attr_set: change.set,
        attr_clr: change.clear,
        propagation: change.propagation,
        userns_fd: 0,
    };
    set(mount, &attr, recursive)
}

/// Shows the owners of files through the detached mount `mount` as the user namespace `users` maps them,
/// with `recursive` for every mount below it too (`MOUNT_ATTR_IDMAP`, Linux 5.12).
///
/// What the namespace calls its ID is what the file system holds; what it stands for outside is what is
/// seen.
///
/// # Errors
/// `EINVAL` when the mount is attached, is mapped already, or its file system cannot be; `EPERM` without
/// the privilege, or for the initial user namespace.
pub fn map_mount(mount: BorrowedFd<'_>, users: BorrowedFd<'_>, recursive: bool) -> io::Result<()> {
    let attr = libc::mount_attr {
        attr_set: libc::MOUNT_ATTR_IDMAP,
        attr_clr: 0,
        propagation: 0,
        userns_fd: u64::from(users.as_raw_fd().unsigned_abs()),
    };
    set(mount, &attr, recursive)
}

fn set(mount: BorrowedFd<'_>, attr: &libc::mount_attr, recursive: bool) -> io::Result<()> {
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: `mount` is open for the whole call; the path is a NUL-terminated literal, read as
    // "`mount` itself" because of AT_EMPTY_PATH; `attr` is initialised, outlives the call, is only
    // read and is passed with its own size.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            std::ptr::from_ref(attr),
            size_of_val(attr),
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use rustix::mount::{
        FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen,
    };

    use super::*;

    #[test]
    fn a_detached_mount_becomes_read_only() {
        let context = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC).unwrap();
        fsconfig_create(&context).unwrap();
        let mount = fsmount(
            &context,
            FsMountFlags::FSMOUNT_CLOEXEC,
            MountAttrFlags::empty(),
        )
        .unwrap();
        let change = MountChange {
            set: libc::MOUNT_ATTR_RDONLY,
            ..MountChange::default()
        };
        change_mount(mount.as_fd(), change, true).unwrap();
        let flags = rustix::fs::fstatvfs(&mount).unwrap().f_flag;
        assert!(flags.contains(rustix::fs::StatVfsMountFlags::RDONLY));
    }
}
