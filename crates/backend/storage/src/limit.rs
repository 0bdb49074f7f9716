//! Limits of what a container may write: a project quota on its directories.

use std::fs::File;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use arca_sys::quota;

use crate::error::Error;

/// Does the file system of `directory` keep such limits?
pub(crate) fn is_possible(directory: &Path) -> Result<bool, Error> {
    let directory = File::open(directory).map_err(Error::io("open", directory))?;
    Ok(quota::has_project_quotas(directory.as_fd()))
}

/// Limits what will be made in `directory` and in `within`, its own, to so many bytes together.
pub(crate) fn limit(directory: &Path, within: &[&str], bytes: u64) -> Result<(), Error> {
    if !is_possible(directory)? {
        return Err(Error::NoSize);
    }
    let paths = within.iter().map(|name| directory.join(name));
    let paths: Vec<PathBuf> = paths.chain([directory.to_owned()]).collect();
    let open = |path: &PathBuf| File::open(path).map_err(Error::io("open", path));
    let opened = paths.iter().map(open).collect::<Result<Vec<_>, _>>()?;
    let opened: Vec<_> = opened.iter().map(File::as_fd).collect();
    quota::limit_new_project(&opened, bytes).map_err(Error::io("limit", directory))
}

/// Is there a limit on what is in `directory`?
pub(crate) fn is_limited(directory: &Path) -> bool {
    File::open(directory)
        .and_then(|opened| quota::project_of(opened.as_fd()))
        .is_ok_and(|project| project != 0)
}

/// Takes the limit away from what is about to be deleted, so that the file system can forget it.
pub(crate) fn lift(directory: &Path) {
    let Ok(opened) = File::open(directory) else {
        return;
    };
    let lifted = match quota::project_of(opened.as_fd()) {
        Ok(0) | Err(_) => return,
        Ok(project) => quota::limit_project(opened.as_fd(), project, 0),
    };
    if let Err(error) = lifted {
        tracing::warn!(path = %directory.display(), %error, "a limit was left behind");
    }
}
