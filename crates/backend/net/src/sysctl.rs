//! Kernel settings of the calling thread's network namespace.

use std::fs;
use std::io;
use std::path::PathBuf;

use crate::error::Error;

/// Where the settings are. `/proc/sys/net` shows those of the thread that opens a file there.
const ROOT: &str = "/proc/sys/net";

/// Sets a setting, unless it has the value.
///
/// # Errors
/// When it cannot be read or written; `Ok(false)` when the kernel does not have it.
pub(crate) fn set(key: &str, value: &str) -> Result<bool, Error> {
    let path = PathBuf::from(ROOT).join(key);
    match fs::read_to_string(&path) {
        Ok(current) if current.trim() == value => return Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        _ => {}
    }
    fs::write(&path, value)
        .map(|()| true)
        .map_err(|cause| Error::File {
            action: "write",
            path,
            cause,
        })
}

/// Reads a setting; `None` when the kernel does not have it.
pub(crate) fn get(key: &str) -> Option<String> {
    fs::read_to_string(PathBuf::from(ROOT).join(key))
        .ok()
        .map(|value| value.trim().to_owned())
}
