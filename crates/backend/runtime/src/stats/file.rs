//! The shapes of the kernel's files. A file that does not exist is empty.

use std::io;
use std::path::Path;

/// Reads a whole file.
pub(super) fn text(directory: &Path, name: &str) -> io::Result<String> {
    match std::fs::read_to_string(directory.join(name)) {
        Err(error) if missing(&error) => Ok(String::new()),
        result => result,
    }
}

/// A controller that is off has no file, or one that cannot be read.
fn missing(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
        || error.raw_os_error() == Some(rustix::io::Errno::OPNOTSUPP.raw_os_error())
        || error.raw_os_error() == Some(rustix::io::Errno::NODEV.raw_os_error())
}

/// Reads one number; `max` is `None`.
pub(super) fn number(directory: &Path, name: &str) -> io::Result<Option<u64>> {
    Ok(text(directory, name)?.trim().parse().ok())
}

/// The pairs `name value` of a file.
pub(super) fn pairs(text: &str) -> impl Iterator<Item = (&str, u64)> {
    text.lines().filter_map(|line| {
        let (name, value) = line.split_once(' ')?;
        Some((name, value.trim().parse().ok()?))
    })
}

/// The value of one name.
pub(super) fn value(text: &str, name: &str) -> u64 {
    pairs(text)
        .find(|(found, _)| *found == name)
        .map_or(0, |(_, value)| value)
}

/// `8:16` as two numbers.
pub(super) fn device(text: &str) -> Option<(u64, u64)> {
    let (major, minor) = text.split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}
