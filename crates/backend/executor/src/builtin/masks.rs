//! What a container may not see or not change: masked paths, read-only paths, a read-only root.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use arca_sys::mount_attr::change_mount;
use oci_spec::runtime::Linux;
use rustix::fs::{FileType, OFlags};
use rustix::mount::{OpenTreeFlags, open_tree};

use super::devices::open_null;
use super::mounts::{existing, filesystem};
use super::options::{Options, read_only};
use super::tree::{Tree, stat};
use crate::error::{Context, ExecError};

/// Makes `readonlyPaths` read-only and hides `maskedPaths`.
pub(super) fn apply(tree: &Tree, linux: &Linux) -> Result<(), ExecError> {
    for path in linux.readonly_paths().iter().flatten() {
        let Some(place) = existing(tree, Path::new(path))? else {
            continue;
        };
        let what = || format!("failed to set {path} read-only");
        let mount = clone(place.as_fd(), true).context(what)?;
        change_mount(mount.as_fd(), read_only(), false).context(what)?;
        Tree::attach(mount.as_fd(), place.as_fd()).context(what)?;
    }
    let mut masks = Masks::default();
    for path in linux.masked_paths().iter().flatten() {
        let Some(place) = existing(tree, Path::new(path))? else {
            continue;
        };
        masks
            .hide(tree, &place)
            .map_err(|error| error.within(format!("can't mask path \"{path}\"")))?;
    }
    Ok(())
}

/// Makes the root itself read-only; mounts in it stay as they are.
pub(super) fn read_only_root(tree: &Tree) -> Result<(), ExecError> {
    change_mount(tree.root(), read_only(), false)
        .context(|| "failed to set the root filesystem read-only")
}

/// What lies on masked paths: made once, then cloned.
#[derive(Default)]
struct Masks {
    null: Option<OwnedFd>,
    empty: Option<OwnedFd>,
}

impl Masks {
    fn hide(&mut self, tree: &Tree, place: &OwnedFd) -> Result<(), ExecError> {
        let (_, kind) = stat(place.as_fd()).context(|| "stat")?;
        let mount = if kind == FileType::Directory {
            match &self.empty {
                Some(attached) => clone(attached.as_fd(), false).context(|| "open_tree")?,
                None => {
                    let mount = empty_dir().context(|| "mount tmpfs")?;
                    self.empty.insert(mount).try_clone().context(|| "dup")?
                }
            }
        } else {
            let null = match self.null.take() {
                Some(null) => null,
                None => open_null(tree, OFlags::PATH).context(|| "/dev/null")?,
            };
            clone(self.null.insert(null).as_fd(), false).context(|| "open_tree")?
        };
        Tree::attach(mount.as_fd(), place.as_fd()).context(|| "move_mount")
    }
}

fn empty_dir() -> std::io::Result<OwnedFd> {
    let data = ["nr_blocks=1", "nr_inodes=1"].map(str::to_owned).to_vec();
    let options = Options {
        data,
        ..Options::default()
    };
    let mount = filesystem("tmpfs", Some(Path::new("tmpfs")), &options)?;
    change_mount(mount.as_fd(), read_only(), false)?;
    Ok(mount)
}

fn clone(of: std::os::fd::BorrowedFd<'_>, recursive: bool) -> std::io::Result<OwnedFd> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH;
    if recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    Ok(open_tree(of, "", flags)?)
}
