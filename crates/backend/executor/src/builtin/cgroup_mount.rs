//! `/sys/fs/cgroup` of a container: its own cgroups and no others.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use arca_sys::mount_attr::change_mount;
use rustix::fs::CWD;
use rustix::mount::{OpenTreeFlags, open_tree};

use super::mounts::{Surroundings, filesystem};
use super::options::{Options, PRIVATE, propagate};
use super::tree::Tree;

/// Mounts the hierarchies at `destination`.
///
/// The container's directory of a hierarchy is bound, in place of a new mount of the hierarchy: in a
/// cgroup namespace both show the same. On v2 without a namespace of its own a container sees the
/// whole hierarchy, as with runc.
pub(super) fn mount(
    tree: &Tree,
    destination: &Path,
    options: &Options,
    around: &Surroundings<'_>,
) -> io::Result<()> {
    if around.cgroup.is_v2() {
        let own = if around.cgroup_namespace {
            around.cgroup.unified.as_deref()
        } else {
            around.layout.unified.as_deref()
        };
        let Some(own) = own else { return Ok(()) };
        let place = tree.make_dirs(destination)?;
        return Tree::attach(bind(own, options)?.as_fd(), place.as_fd());
    }
    let mut root = options.clone();
    root.data = vec!["mode=755".to_owned()];
    let tmpfs = filesystem("tmpfs", Some(Path::new("tmpfs")), &root)?;
    let place = tree.make_dirs(destination)?;
    Tree::attach(tmpfs.as_fd(), place.as_fd())?;
    for hierarchy in &around.layout.v1 {
        let (Some(name), Some(first)) =
            (hierarchy.mount.file_name(), hierarchy.controllers.first())
        else {
            continue;
        };
        let Some(own) = around.cgroup.v1.get(first) else {
            continue;
        };
        let place = tree.make_dirs(&destination.join(name))?;
        Tree::attach(bind(own, options)?.as_fd(), place.as_fd())?;
        // Controllers that are mounted together have a name each.
        for controller in &hierarchy.controllers {
            if hierarchy.controllers.len() > 1 && name != controller.as_str() {
                rustix::fs::symlinkat(name, &tmpfs, controller.as_str())?;
            }
        }
    }
    change_mount(tmpfs.as_fd(), root.change, false)
}

fn bind(dir: &Path, options: &Options) -> io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let mount = open_tree(CWD, dir, flags)?;
    change_mount(mount.as_fd(), options.change, false)?;
    change_mount(mount.as_fd(), propagate(PRIVATE), false)?;
    Ok(mount)
}
