//! The lowest layer of every container.
//!
//! It has the files and directories that are mounted over or looked for in every container, so that they
//! exist whatever the image lacks, and count as no change of the container. Being below all layers, it
//! never hides anything of an image.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use crate::error::Error;
use crate::paths::Paths;

const DIRECTORIES: [&str; 6] = ["proc", "sys", "dev", "dev/pts", "dev/shm", "etc"];
const FILES: [&str; 5] = [
    ".dockerenv",
    "dev/console",
    "etc/hosts",
    "etc/hostname",
    "etc/resolv.conf",
];

/// Makes the layer when there is none.
pub(crate) fn prepare(paths: &Paths) -> Result<(), Error> {
    let empty = paths.empty();
    if !empty.is_dir() {
        fs::create_dir(&empty).map_err(Error::io("create", &empty))?;
        let mode = fs::Permissions::from_mode(0o755);
        fs::set_permissions(&empty, mode).map_err(Error::io("create", &empty))?;
    }
    let target = paths.init();
    if target.is_dir() {
        return Ok(());
    }
    let made = paths.tmp().join("init");
    let failed = |action| Error::io::<std::io::Error>(action, &made);
    fs::create_dir(&made).map_err(failed("create"))?;
    fill(&made).map_err(failed("fill"))?;
    fs::rename(&made, &target).map_err(failed("rename"))
}

fn fill(root: &Path) -> std::io::Result<()> {
    let mode = || fs::Permissions::from_mode(0o755);
    fs::set_permissions(root, mode())?;
    for directory in DIRECTORIES {
        let path = root.join(directory);
        fs::create_dir(&path)?;
        fs::set_permissions(&path, mode())?;
    }
    for file in FILES {
        let path = root.join(file);
        fs::write(&path, "")?;
        fs::set_permissions(&path, mode())?;
    }
    symlink("/proc/mounts", root.join("etc/mtab"))
}
