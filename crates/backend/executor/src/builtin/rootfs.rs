//! Making a container's root filesystem the root: propagation, mounts, devices, `pivot_root`.

use std::fs;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use oci_spec::runtime::{Linux, Spec};
use rustix::fs::{CWD, Mode, OFlags, open};
use rustix::mount::{
    MountPropagationFlags, MoveMountFlags, UnmountFlags, mount_change, move_mount, unmount,
};
use rustix::process::{chdir, fchdir, pivot_root};

use super::mounts::{Surroundings, mount_all};
use super::tree::Tree;
use super::{devices, masks};
use crate::error::{Context, ExecError};

/// Attaches the detached mount `root` in this process's mount namespace, which is new: at `place`,
/// or on top of `/`, which is always there and may always be entered.
///
/// Mounts of the host go on arriving here, or both ways if the configuration wants it; the root
/// itself never propagates. With mounts going both ways there has to be a `place`: `/` must stay
/// what it is then.
pub(crate) fn attach(
    root: BorrowedFd<'_>,
    place: Option<&Path>,
    linux: &Linux,
) -> Result<(), ExecError> {
    let flags = match linux.rootfs_propagation().as_deref() {
        None | Some("" | "slave" | "rslave") => MountPropagationFlags::DOWNSTREAM,
        // An unbindable root would leave nothing to bind from: the host's side is private.
        Some("private" | "rprivate" | "unbindable" | "runbindable") => {
            MountPropagationFlags::PRIVATE
        }
        Some("shared" | "rshared") => MountPropagationFlags::SHARED,
        Some(other) => {
            return Err(ExecError::other(format!(
                "rootfsPropagation={other} is not supported"
            )));
        }
    };
    if flags.contains(MountPropagationFlags::SHARED) {
        let parent = mount_point_of(place.unwrap_or(Path::new("/")))?;
        mount_change(&parent, MountPropagationFlags::PRIVATE).context(|| {
            format!(
                "error preparing rootfs: propagation of {}",
                parent.display()
            )
        })?;
    } else {
        mount_change("/", flags | MountPropagationFlags::REC)
            .context(|| "error preparing rootfs: propagation of /")?;
    }
    let place = place.unwrap_or(Path::new("/"));
    move_mount(
        root,
        "",
        CWD,
        place,
        MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH,
    )
    .context(|| format!("error preparing rootfs: mount at {}", place.display()))
}

/// Says whether mounts of the container shall reach the host.
pub(crate) fn is_shared(linux: &Linux) -> bool {
    matches!(
        linux.rootfs_propagation().as_deref(),
        Some("shared" | "rshared")
    )
}

/// Finds the mount that `place` lies in.
fn mount_point_of(place: &Path) -> Result<PathBuf, ExecError> {
    let place = fs::canonicalize(place).context(|| format!("lstat {}", place.display()))?;
    let text =
        fs::read_to_string("/proc/self/mountinfo").context(|| "open /proc/self/mountinfo")?;
    let points = text.lines().filter_map(|line| line.split(' ').nth(4));
    let around = points.map(|point| PathBuf::from(point.replace("\\040", " ")));
    let deepest = around
        .filter(|point| place.starts_with(point))
        .max_by_key(|point| point.as_os_str().len());
    Ok(deepest.unwrap_or_else(|| PathBuf::from("/")))
}

/// Fills the root: mounts and devices.
pub(super) fn fill(
    tree: &Tree,
    spec: &Spec,
    around: &Surroundings<'_>,
    user_namespace: bool,
) -> Result<(), ExecError> {
    mount_all(tree, spec.mounts().as_deref().unwrap_or_default(), around)?;
    devices::set_up(tree, spec, user_namespace)
}

/// Takes away what the container may not see or change.
pub(super) fn seal(tree: &Tree, spec: &Spec, linux: &Linux) -> Result<(), ExecError> {
    masks::apply(tree, linux)?;
    if spec
        .root()
        .as_ref()
        .and_then(oci_spec::runtime::Root::readonly)
        == Some(true)
    {
        masks::read_only_root(tree)?;
    }
    Ok(())
}

/// Makes the tree this process's root and lets go of the host's.
pub(super) fn enter(tree: &Tree, linux: &Linux) -> Result<(), ExecError> {
    let what = || "error jailing process inside rootfs: pivot_root";
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let old = open("/", flags, Mode::empty()).context(what)?;
    fchdir(tree.root()).context(what)?;
    pivot_root(".", ".").context(what)?;
    // The old root lies on top of the new one. Its unmounting must not reach the host.
    fchdir(old.as_fd()).context(what)?;
    mount_change(
        ".",
        MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC,
    )
    .context(what)?;
    unmount(".", UnmountFlags::DETACH).context(what)?;
    chdir("/").context(what)?;
    let own = match linux.rootfs_propagation().as_deref() {
        Some("shared" | "rshared") => MountPropagationFlags::SHARED,
        Some("unbindable" | "runbindable") => MountPropagationFlags::UNBINDABLE,
        _ => return Ok(()),
    };
    mount_change("/", own).context(|| "error setting the propagation of the root")
}
