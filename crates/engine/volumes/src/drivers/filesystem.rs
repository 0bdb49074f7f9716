//! Directories that data are in, whatever is mounted on them.

use std::path::Path;

use super::table;
use crate::error::Error;
pub(super) use crate::volumes::unreadable;

/// Makes the directory of the data. One that a crash left without a record is used as it is.
///
/// # Errors
/// [`Error::File`].
pub(crate) fn make_directory(path: &Path) -> Result<(), Error> {
    use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
    let failed = |source| Error::File {
        action: "make",
        path: path.to_owned(),
        source,
    };
    if let Some(parent) = path.parent() {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o701)
            .create(parent)
            .map_err(failed)?;
    }
    std::fs::DirBuilder::new()
        .recursive(true)
        .create(path)
        .map_err(failed)?;
    // Whatever the umask: this is what a container sees.
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).map_err(failed)
}

/// Takes away what is mounted on `data`.
///
/// # Errors
/// [`Error::File`].
pub(super) fn take_away(data: &Path) -> Result<(), Error> {
    table::unmount(data).map_err(|source| Error::File {
        action: "unmount",
        path: data.to_owned(),
        source,
    })
}

/// The lengths of all files in `data`, in bytes.
///
/// # Errors
/// [`Error::File`].
pub(super) fn measure(data: &Path) -> Result<u64, Error> {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(data, flags, Mode::empty())
        .and_then(arca_archive::tree_size)
        .map_err(|errno| Error::File {
            action: "measure",
            path: data.to_owned(),
            source: errno.into(),
        })
}
