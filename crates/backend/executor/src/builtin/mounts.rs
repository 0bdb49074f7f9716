//! The mounts of the configuration: each is made detached, given its attributes, and then put in
//! its place inside the root.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use arca_sys::mount_attr::change_mount;
use oci_spec::runtime::Mount;
use rustix::fs::{CWD, FileType, fstatfs};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, OpenTreeFlags, fsconfig_create, fsconfig_set_flag,
    fsconfig_set_string, fsmount, fsopen, open_tree,
};

use super::cgroup_mount;
use super::foreign::Foreign;
use super::options::{Options, PRIVATE, propagate};
use super::prepared::Prepared;
use super::tree::{Tree, stat};
use crate::cgroup::{CgroupPaths, Layout};
use crate::error::{Context, ExecError, FailureKind, os_text};

/// `PROC_SUPER_MAGIC` of linux/magic.h.
const PROC: rustix::fs::FsWord = 0x9fa0;

/// What mounts depend on besides themselves.
#[derive(Debug)]
pub(super) struct Surroundings<'a> {
    /// The container's cgroups.
    pub(super) cgroup: &'a CgroupPaths,
    /// The host's hierarchies.
    pub(super) layout: &'a Layout,
    /// The container has a cgroup namespace of its own.
    pub(super) cgroup_namespace: bool,
    /// Mounts of other containers, opened before the container's process was made.
    pub(super) foreign: &'a Foreign,
    /// Mounts that were made before the container's process.
    pub(super) prepared: &'a Prepared,
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
        let result = match mount.typ().as_deref() {
            Some("cgroup" | "cgroup2") if options.bind.is_none() => {
                cgroup_mount::mount(tree, mount.destination(), &options, around)
            }
            _ => mount_one(tree, mount, &options, around),
        };
        result.map_err(|error| describe(mount, &options, &error))?;
    }
    Ok(())
}

fn mount_one(
    tree: &Tree,
    mount: &Mount,
    options: &Options,
    around: &Surroundings<'_>,
) -> io::Result<()> {
    let destination = mount.destination();
    let source = mount.source().as_deref();
    let (detached, is_dir) = match (around.prepared.take(destination)?, options.bind) {
        (Some(made), _) => made,
        (None, Some(recursive)) => {
            let source = source.unwrap_or(Path::new(""));
            match around.foreign.take(source)? {
                Some(theirs) => (theirs, true),
                None => bind(source, recursive)?,
            }
        }
        (None, None) => {
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
    if !matches!(mount.typ().as_deref(), Some("proc")) {
        check_proc(place.as_fd(), detached.as_fd(), destination)?;
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

/// Refuses to cover what the engine and programs trust in `/proc`, wherever links of the image lead:
/// only a procfs may lie on the whole of it, and only files that tools replace on a part.
fn check_proc(place: BorrowedFd<'_>, mounted: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    const REPLACED: [&str; 9] = [
        "/proc/cpuinfo",
        "/proc/diskstats",
        "/proc/meminfo",
        "/proc/stat",
        "/proc/swaps",
        "/proc/uptime",
        "/proc/loadavg",
        "/proc/slabinfo",
        "/proc/sys/kernel/ns_last_pid",
    ];
    if path == Path::new("/proc") {
        if is_proc(mounted)? {
            return Ok(());
        }
        return Err(io::Error::other(
            "check proc-safety of /proc mount: \"/proc\" cannot be mounted because it is not of type proc",
        ));
    }
    if !is_proc(place)? || REPLACED.iter().any(|one| path == Path::new(one)) {
        return Ok(());
    }
    let path = path.display();
    Err(io::Error::other(format!(
        "check proc-safety of {path} mount: \"{path}\" cannot be mounted because it is inside /proc"
    )))
}

/// Says whether `fd` is of a procfs (`PROC_SUPER_MAGIC`).
pub(super) fn is_proc(fd: BorrowedFd<'_>) -> io::Result<bool> {
    Ok(fstatfs(fd)?.f_type == PROC)
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
    let data = match options.data.join(",") {
        data if data.is_empty() || options.bind.is_some() => String::new(),
        data => format!(", data={data}"),
    };
    failure.message = format!(
        "error mounting \"{source}\" to rootfs at \"{destination}\": mount src={source}, \
         dst={destination}, flags={}{data}: {}{hint}",
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
