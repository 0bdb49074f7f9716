//! The mounts of the configuration: each is made detached, given its attributes, and then put in
//! its place inside the root.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use arca_sys::mount_attr::change_mount;
use oci_spec::runtime::Mount;
use rustix::fs::{CWD, FileType};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, OpenTreeFlags, fsconfig_create, fsconfig_set_flag,
    fsconfig_set_string, fsmount, fsopen, open_tree,
};

use super::cgroup_mount;
use super::options::{Options, PRIVATE, propagate};
use super::tree::{Tree, stat};
use crate::cgroup::{CgroupPaths, Layout};
use crate::error::{Context, ExecError, FailureKind, os_text};

/// What mounts depend on besides themselves.
#[derive(Debug)]
pub(super) struct Surroundings<'a> {
    /// The container's cgroups.
    pub(super) cgroup: &'a CgroupPaths,
    /// The host's hierarchies.
    pub(super) layout: &'a Layout,
    /// The container has a cgroup namespace of its own.
    pub(super) cgroup_namespace: bool,
}

/// Mounts everything, in its order.
pub(super) fn mount_all(
    tree: &Tree,
    mounts: &[Mount],
    around: &Surroundings<'_>,
) -> Result<(), ExecError> {
    for mount in mounts {
        let options = Options::parse(
            mount.typ().as_deref(),
            mount.options().as_deref().unwrap_or_default(),
        );
        if mount.uid_mappings().is_some() || mount.gid_mappings().is_some() {
            return Err(ExecError::other(format!(
                "mount {}: ID mappings of mounts are not supported",
                mount.destination().display()
            )));
        }
        let result = match mount.typ().as_deref() {
            Some("cgroup" | "cgroup2") if options.bind.is_none() => {
                cgroup_mount::mount(tree, mount.destination(), &options, around)
            }
            _ => mount_one(tree, mount, &options),
        };
        result.map_err(|error| describe(mount, &options, &error))?;
    }
    Ok(())
}

fn mount_one(tree: &Tree, mount: &Mount, options: &Options) -> io::Result<()> {
    let destination = mount.destination();
    let source = mount.source().as_deref();
    let (detached, is_dir) = match options.bind {
        Some(recursive) => bind(source.unwrap_or(Path::new("")), recursive)?,
        None => {
            let kind = mount.typ().as_deref().unwrap_or_default();
            if matches!(kind, "proc" | "sysfs") {
                refuse_link(tree, destination)?;
            }
            (filesystem(kind, source, options)?, true)
        }
    };
    set_attributes(&detached, options)?;
    let place = if is_dir {
        tree.make_dirs(destination)
    } else {
        tree.make_file(destination)
    }?;
    if !is_dir && stat(place.as_fd())?.1 == FileType::Directory {
        return Err(Errno::NOTDIR.into());
    }
    Tree::attach(detached.as_fd(), place.as_fd())
}

/// Clones the mount at `source`, and says whether it is a directory.
fn bind(source: &Path, recursive: bool) -> io::Result<(OwnedFd, bool)> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    if recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    let detached = open_tree(CWD, source, flags)?;
    let is_dir = stat(detached.as_fd())?.1 == FileType::Directory;
    Ok((detached, is_dir))
}

/// Makes a new filesystem.
pub(super) fn filesystem(
    kind: &str,
    source: Option<&Path>,
    options: &Options,
) -> io::Result<OwnedFd> {
    let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    if let Some(source) = source.filter(|source| !source.as_os_str().is_empty()) {
        fsconfig_set_string(&context, "source", source)?;
    }
    for option in &options.data {
        match option.split_once('=') {
            Some((key, value)) => fsconfig_set_string(&context, key, value)?,
            None => fsconfig_set_flag(&context, option.as_str())?,
        }
    }
    match fsconfig_create(&context) {
        // A filesystem that exists already (mqueue, proc) with flags that differ.
        Err(Errno::BUSY) => fsconfig_create(&context)?,
        result => result?,
    }
    Ok(fsmount(
        &context,
        FsMountFlags::FSMOUNT_CLOEXEC,
        MountAttrFlags::empty(),
    )?)
}

/// Gives the detached mount its attributes. Attributes come first: nothing can be done through the
/// mount that they forbid.
fn set_attributes(mount: &OwnedFd, options: &Options) -> io::Result<()> {
    if !options.change.is_empty() {
        change_mount(mount.as_fd(), options.change, false)?;
    }
    if !options.recursive.is_empty() {
        change_mount(mount.as_fd(), options.recursive, true)?;
    }
    // As runc does it: a bind without a propagation is private like the rest of the container.
    let (propagation, recursive) = options.propagation.unwrap_or((PRIVATE, true));
    if options.bind.is_some() || options.propagation.is_some() {
        change_mount(mount.as_fd(), propagate(propagation), recursive)?;
    }
    Ok(())
}

/// `/proc` and `/sys` must be where they are looked for, or the paths that are masked later are
/// somewhere else.
fn refuse_link(tree: &Tree, destination: &Path) -> io::Result<()> {
    let (dir, name) = tree.parent(destination)?;
    match rustix::fs::statat(&dir, name, rustix::fs::AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) if FileType::from_raw_mode(stat.st_mode) != FileType::Directory => {
            Err(io::Error::from(Errno::NOTDIR))
        }
        Ok(_) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Says what failed as dockerd does, with its hint about files and directories.
fn describe(mount: &Mount, options: &Options, error: &io::Error) -> ExecError {
    let destination = mount.destination().display();
    let source = mount.source().as_deref().unwrap_or(Path::new("")).display();
    let mut failure = ExecError::os("", error);
    let hint = if error.kind() == io::ErrorKind::NotADirectory {
        ": Are you trying to mount a directory onto a file (or vice-versa)? Check if the specified \
         host path exists and is the expected type"
    } else {
        ""
    };
    failure.message = format!(
        "error mounting \"{source}\" to rootfs at \"{destination}\": mount src={source}, \
         dst={destination}, flags={}: {}{hint}",
        options.flag_names(),
        os_text(error)
    );
    if error.kind() == io::ErrorKind::NotFound {
        failure.kind = FailureKind::NotFound;
    }
    failure
}

/// Opens `path` below the root; `None` when there is nothing.
pub(super) fn existing(tree: &Tree, path: &Path) -> Result<Option<OwnedFd>, ExecError> {
    match tree.place(path) {
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            Ok(None)
        }
        result => result
            .map(Some)
            .context(|| format!("open {}", path.display())),
    }
}
