//! Project quotas: limits of directory trees on file systems that keep them (ext4, xfs).
#![expect(unsafe_code, reason = "this crate wraps system calls")]

use std::hash::{BuildHasher as _, RandomState};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

// linux/fs.h, linux/quota.h, linux/dqblk_xfs.h
const FSGETXATTR: libc::Ioctl = 0x801C_581F;
const FSSETXATTR: libc::Ioctl = 0x401C_5820;
const PROJINHERIT: u32 = 0x200;
const QUOTACTL_FD: libc::c_long = 443;
const XGETQUOTA: u32 = (b'X' as u32) << 8 | 3;
const XSETQLIM: u32 = (b'X' as u32) << 8 | 4;
const PROJECT: u32 = 2;
const DQUOT_VERSION: i8 = 1;
const FLAG_PROJECT: i8 = 2;
/// The lowest of the projects that are taken at random.
const FIRST_PROJECT: u32 = 0x0100_0000;
const FIELD_SOFT: u16 = 1 << 2;
const FIELD_HARD: u16 = 1 << 3;

/// `struct fsxattr`.
#[repr(C)]
#[derive(Default)]
struct Attributes {
    flags: u32,
    extent_size: u32,
    extents: u32,
    project: u32,
    cow_extent_size: u32,
    padding: [u8; 8],
}

/// `struct fs_disk_quota`.
#[repr(C)]
#[derive(Default)]
struct DiskQuota {
    version: i8,
    flags: i8,
    fields: u16,
    id: u32,
    hard_blocks: u64,
    soft_blocks: u64,
    hard_inodes: u64,
    soft_inodes: u64,
    blocks: u64,
    inodes: u64,
    inode_timer: i32,
    block_timer: i32,
    inode_warnings: u16,
    block_warnings: u16,
    inode_timer_high: i8,
    block_timer_high: i8,
    realtime_timer_high: i8,
    padding2: i8,
    hard_realtime: u64,
    soft_realtime: u64,
    realtime: u64,
    realtime_timer: i32,
    realtime_warnings: u16,
    padding3: i16,
    padding4: [u8; 8],
}

/// Reads the project of a directory; 0 is none.
///
/// # Errors
/// `ENOTTY` or `EOPNOTSUPP` where the file system knows no projects.
pub fn project_of(directory: BorrowedFd<'_>) -> io::Result<u32> {
    attributes(directory).map(|attributes| attributes.project)
}

/// Makes `directory` part of `project`, and with it all that is made in it from now on.
///
/// # Errors
/// `EOPNOTSUPP` where the file system knows no projects.
pub fn set_project(directory: BorrowedFd<'_>, project: u32) -> io::Result<()> {
    let mut attributes = attributes(directory)?;
    attributes.project = project;
    attributes.flags |= PROJINHERIT;
    // SAFETY: `directory` is open for the whole call; `attributes` is initialised, outlives the call and
    // has the layout of `struct fsxattr`, which is only read.
    let result = unsafe { libc::ioctl(directory.as_raw_fd(), FSSETXATTR, &raw const attributes) };
    check(result.into())
}

/// Makes `directories` a project of their own, with all that is made in them from now on, and limits what it
/// may take on their file system, in bytes. It is one that no other files belong to and nothing limits.
///
/// # Errors
/// As [`set_project`] and [`limit_project`].
pub fn limit_new_project(directories: &[BorrowedFd<'_>], bytes: u64) -> io::Result<()> {
    let Some(first) = directories.first() else {
        return Ok(());
    };
    let project = free_project(*first)?;
    limit_project(*first, project, bytes)?;
    directories
        .iter()
        .try_for_each(|directory| set_project(*directory, project))
}

/// A project that nobody has. Those below are left to people.
fn free_project(directory: BorrowedFd<'_>) -> io::Result<u32> {
    loop {
        // Two engines on one file system do not know of each other: what is taken at random differs.
        let random = RandomState::new().hash_one(());
        let project = (random >> 32) as u32 | FIRST_PROJECT;
        let mut quota = DiskQuota::default();
        match quota_call(directory, XGETQUOTA, project, &mut quota) {
            Ok(()) if quota.hard_blocks == 0 && quota.inodes == 0 => return Ok(project),
            Ok(()) => {}
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return Ok(project),
            Err(error) => return Err(error),
        }
    }
}

/// Limits what the files of `project` may take on the file system of `directory`, in bytes; 0 is no limit
/// (`quotactl_fd(2)`, Linux 5.14).
///
/// # Errors
/// `ESRCH` where project quotas are not enforced, `ENOSYS` before Linux 5.14.
pub fn limit_project(directory: BorrowedFd<'_>, project: u32, bytes: u64) -> io::Result<()> {
    let mut quota = DiskQuota {
        version: DQUOT_VERSION,
        flags: FLAG_PROJECT,
        fields: FIELD_SOFT | FIELD_HARD,
        id: project,
        hard_blocks: bytes.div_ceil(512),
        soft_blocks: bytes.div_ceil(512),
        ..DiskQuota::default()
    };
    quota_call(directory, XSETQLIM, project, &mut quota)
}

/// Says whether project quotas are enforced on the file system of `directory`.
#[must_use]
pub fn has_project_quotas(directory: BorrowedFd<'_>) -> bool {
    let mut quota = DiskQuota::default();
    match quota_call(directory, XGETQUOTA, 0, &mut quota) {
        Ok(()) => project_of(directory).is_ok(),
        // There is quota, and nothing is recorded of this project.
        Err(error) => error.raw_os_error() == Some(libc::ENOENT),
    }
}

fn quota_call(
    directory: BorrowedFd<'_>,
    command: u32,
    project: u32,
    quota: &mut DiskQuota,
) -> io::Result<()> {
    let command = command << 8 | PROJECT;
    // SAFETY: `directory` is open for the whole call; `quota` is initialised, outlives the call and has
    // the layout of `struct fs_disk_quota`, which the kernel reads or fills for these commands.
    let result = unsafe {
        libc::syscall(
            QUOTACTL_FD,
            directory.as_raw_fd(),
            command,
            project,
            &raw mut *quota,
        )
    };
    check(result)
}

fn attributes(directory: BorrowedFd<'_>) -> io::Result<Attributes> {
    let mut attributes = Attributes::default();
    // SAFETY: `directory` is open for the whole call; `attributes` outlives it and has the layout of
    // `struct fsxattr`, which the kernel fills.
    let result = unsafe { libc::ioctl(directory.as_raw_fd(), FSGETXATTR, &raw mut attributes) };
    check(result.into()).map(|()| attributes)
}

fn check(result: libc::c_long) -> io::Result<()> {
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd as _;

    use super::*;

    #[test]
    fn the_layouts_are_the_kernels() {
        assert_eq!(size_of::<Attributes>(), 28);
        assert_eq!(size_of::<DiskQuota>(), 112);
    }

    #[test]
    fn a_file_system_without_quotas_is_told() {
        let directory = std::fs::File::open("/proc").unwrap();
        assert!(!has_project_quotas(directory.as_fd()));
        assert!(limit_project(directory.as_fd(), 7, 4096).is_err());
    }
}
