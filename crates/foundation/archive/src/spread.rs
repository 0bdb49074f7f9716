//! Where a file system puts what is made.

use std::path::Path;

use rustix::fs::{IFlags, Mode, OFlags, ioctl_getflags, ioctl_setflags};
use rustix::io::Errno;

/// Tells the file system that the directories in `directory` have nothing to do with each other
/// (`chattr +T`), so that ext4 spreads them over the disk.
///
/// Where trees come and go, that is a matter of speed: ext4 does not use the inodes of what was deleted
/// in the last minutes again, and looks at all of them in turn before it finds one that it may use. A new
/// tree in another part of the disk is not in the way of those deleted. The part is chosen by the name of
/// the tree, which therefore should not be the same each time. Other file systems do not care.
///
/// # Errors
/// Those of opening the directory. That the flag is not known is no error.
pub fn spread_directories(directory: &Path) -> Result<(), Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let opened = rustix::fs::open(directory, flags, Mode::empty())?;
    let set = ioctl_getflags(&opened).and_then(|flags| {
        if flags.contains(IFlags::TOPDIR) {
            return Ok(());
        }
        ioctl_setflags(&opened, flags | IFlags::TOPDIR)
    });
    match set {
        Err(Errno::NOTTY | Errno::OPNOTSUPP | Errno::INVAL | Errno::PERM | Errno::NOSYS) => Ok(()),
        set => set,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_can_be_told_twice_and_a_missing_one_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        spread_directories(dir.path()).unwrap();
        spread_directories(dir.path()).unwrap();
        assert_eq!(
            spread_directories(&dir.path().join("missing")),
            Err(Errno::NOENT)
        );
    }
}
