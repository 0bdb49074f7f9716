//! The files of a log: `<path>`, and rotated ones `<path>.1`, `<path>.2.gz`, .., the newest first.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use crate::error::Error;

/// The name of the rotated file number `index`.
pub(crate) fn rotated(path: &Path, index: usize) -> PathBuf {
    with_suffix(path, &format!(".{index}"))
}

/// The name of the rotated file number `index` when it is compressed.
pub(crate) fn compressed(path: &Path, index: usize) -> PathBuf {
    with_suffix(path, &format!(".{index}.gz"))
}

pub(crate) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}

/// Removes a file, which may not exist.
pub(crate) fn remove_file(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Renames a file, which may not exist.
pub(crate) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    match std::fs::rename(from, to) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// A rotated file: its number, and whether it is compressed.
pub(crate) type Rotated = (usize, bool);

/// Finds the rotated files, the oldest first. One that is there both ways is about to be compressed
/// and counts as it was.
pub(crate) fn list_rotated(path: &Path) -> io::Result<Vec<Rotated>> {
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        return Ok(Vec::new());
    };
    let prefix = name.to_string_lossy();
    let entries = match std::fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let name = entry?.file_name();
        let name = name.to_string_lossy();
        let suffix = name
            .strip_prefix(prefix.as_ref())
            .and_then(|rest| rest.strip_prefix('.'));
        let Some(suffix) = suffix else {
            continue;
        };
        let (number, gz) = match suffix.strip_suffix(".gz") {
            Some(number) => (number, true),
            None => (suffix, false),
        };
        if let Ok(index) = number.parse::<usize>() {
            found.push((index, gz));
        }
    }
    found.sort_by_key(|(index, gz)| (std::cmp::Reverse(*index), *gz));
    found.dedup_by_key(|(index, _)| *index);
    Ok(found)
}

/// The files of the log at `path`, the oldest first; the current one is the last.
///
/// # Errors
/// [`Error::File`] when its directory cannot be read.
pub fn log_files(path: &Path) -> Result<Vec<PathBuf>, Error> {
    let rotated_files = list_rotated(path).map_err(Error::file("list the files of log", path))?;
    let mut files: Vec<PathBuf> = rotated_files
        .into_iter()
        .map(|(index, gz)| {
            if gz {
                compressed(path, index)
            } else {
                rotated(path, index)
            }
        })
        .collect();
    if path.exists() {
        files.push(path.to_owned());
    }
    Ok(files)
}

/// The size of a log in bytes, rotated files included.
///
/// # Errors
/// [`Error::File`] when its directory cannot be read.
pub fn disk_usage(path: &Path) -> Result<u64, Error> {
    let sizes = log_files(path)?;
    Ok(sizes
        .iter()
        .filter_map(|file| file.metadata().ok())
        .map(|data| data.len())
        .sum())
}

/// Removes all files of a log; there may be none.
///
/// # Errors
/// [`Error::File`] when one cannot be removed.
pub fn remove(path: &Path) -> Result<(), Error> {
    for file in log_files(path)? {
        remove_file(&file).map_err(Error::file("remove log", file))?;
    }
    Ok(())
}
