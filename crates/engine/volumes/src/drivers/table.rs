//! What is mounted on this host.

use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::mount::UnmountFlags;

/// The places below `root` that something is mounted on, the innermost first.
///
/// # Errors
/// When the kernel's table cannot be read.
pub(crate) fn mounted_below(root: &Path) -> std::io::Result<Vec<PathBuf>> {
    let table = std::fs::read("/proc/self/mountinfo")?;
    let mut found: Vec<PathBuf> = table
        .split(|byte| *byte == b'\n')
        .filter_map(|line| line.split(|byte| *byte == b' ').nth(4))
        .map(unescape)
        .filter(|place| place.starts_with(root))
        .collect();
    found.sort_by_key(|place| std::cmp::Reverse(place.as_os_str().len()));
    Ok(found)
}

/// Is something mounted on exactly this place?
pub(crate) fn is_mounted(place: &Path) -> std::io::Result<bool> {
    Ok(mounted_below(place)?.iter().any(|found| found == place))
}

/// Takes away everything that is mounted on `place` and below it. What is busy goes when its last user does.
///
/// # Errors
/// What umount(2) says, but for a place on which nothing is mounted.
pub(crate) fn unmount(place: &Path) -> std::io::Result<()> {
    for inner in mounted_below(place)? {
        let done = match rustix::mount::unmount(&inner, UnmountFlags::NOFOLLOW) {
            Err(Errno::BUSY) => {
                let flags = UnmountFlags::NOFOLLOW | UnmountFlags::DETACH;
                rustix::mount::unmount(&inner, flags)
            }
            done => done,
        };
        match done {
            Ok(()) | Err(Errno::INVAL | Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Undoes the octal escapes of the kernel.
fn unescape(field: &[u8]) -> PathBuf {
    use std::os::unix::ffi::OsStringExt as _;
    let mut plain = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..3).filter(|_| *first == b'\\');
        let code = digits
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match code {
            Some(byte) => {
                plain.push(byte);
                rest = after.get(3..).unwrap_or_default();
            }
            None => {
                plain.push(*first);
                rest = after;
            }
        }
    }
    std::ffi::OsString::from_vec(plain).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_as_they_are() {
        assert_eq!(unescape(b"/a\\040b\\134c"), Path::new("/a b\\c"));
        assert_eq!(unescape(b"/a\\"), Path::new("/a\\"));
        assert!(is_mounted(Path::new("/proc")).unwrap());
        assert!(!is_mounted(Path::new("/proc/self")).unwrap());
    }
}
