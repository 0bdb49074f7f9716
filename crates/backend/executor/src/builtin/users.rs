//! User namespaces: making them, keeping them, and showing files with owners that one maps.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::Path;

use arca_sys::mount_attr::map_mount;
use arca_sys::process::{Namespace, Namespaces, join_namespace, spawn, unshare};
use oci_spec::runtime::{Linux, LinuxIdMapping, LinuxIdMappingBuilder, LinuxNamespaceType};
use rustix::fs::{CWD, FileType, Gid, Uid};
use rustix::mount::{
    MountPropagationFlags, MoveMountFlags, OpenTreeFlags, mount_bind, mount_change, move_mount,
    open_tree,
};

use crate::error::{Context, ExecError};
use crate::request::Streams;

/// Who files belong to that the kernel itself makes in an overlay's work directory, as the host's root: on
/// the disk, an ID that no mapping has.
const KERNELS: u32 = u32::MAX - 1;

/// How the IDs of a container are those of the host: of users, and of groups.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Maps {
    /// Of users.
    pub(crate) users: Vec<LinuxIdMapping>,
    /// Of groups.
    pub(crate) groups: Vec<LinuxIdMapping>,
}

impl Maps {
    /// Those of a container with a user namespace; `None` for one without.
    pub(crate) fn of(linux: &Linux) -> Option<Self> {
        let mut namespaces = linux.namespaces().iter().flatten();
        namespaces
            .any(|one| one.typ() == LinuxNamespaceType::User)
            .then(|| Self {
                users: linux.uid_mappings().clone().unwrap_or_default(),
                groups: linux.gid_mappings().clone().unwrap_or_default(),
            })
    }

    /// Those that process `pid` lives with.
    fn of_process(pid: i32) -> io::Result<Self> {
        let read = |file: &str| {
            let text = fs::read_to_string(format!("/proc/{pid}/{file}"))?;
            Ok::<_, io::Error>(text.lines().filter_map(line).collect())
        };
        Ok(Self {
            users: read("uid_map")?,
            groups: read("gid_map")?,
        })
    }

    /// The same, with an owner for what the kernel makes.
    fn for_overlay(&self) -> Self {
        let with = |all: &[LinuxIdMapping]| {
            let kernels = mapping(KERNELS, 0, 1);
            all.iter().copied().chain(kernels).collect()
        };
        Self {
            users: with(&self.users),
            groups: with(&self.groups),
        }
    }

    /// The host's number of a user of the container.
    fn host_user(&self, user: u32) -> Option<u32> {
        outside(&self.users, user)
    }
}

fn outside(ranges: &[LinuxIdMapping], inside: u32) -> Option<u32> {
    ranges.iter().find_map(|one| {
        let offset = inside.checked_sub(one.container_id())?;
        (offset < one.size()).then(|| one.host_id().checked_add(offset))?
    })
}

fn mapping(container: u32, host: u32, size: u32) -> Option<LinuxIdMapping> {
    LinuxIdMappingBuilder::default()
        .container_id(container)
        .host_id(host)
        .size(size)
        .build()
        .ok()
}

/// Reads `CONTAINER HOST SIZE` (user_namespaces(7)).
fn line(text: &str) -> Option<LinuxIdMapping> {
    let mut numbers = text.split_whitespace().map(|word| word.parse::<u32>().ok());
    mapping(numbers.next()??, numbers.next()??, numbers.next()??)
}

/// Reads `CONTAINER:HOST:SIZE` with commas between several.
fn list(text: &str) -> Option<Vec<LinuxIdMapping>> {
    text.split(',')
        .map(|one| line(&one.replace(':', " ")))
        .collect()
}

/// Makes a user namespace, by a process that does nothing but be in it.
pub(super) fn user_namespace(maps: &Maps) -> io::Result<OwnedFd> {
    let namespaces = Namespaces::default().with(Namespace::User);
    in_process(
        namespaces,
        || 0,
        |pid| {
            write_mappings(pid, maps)?;
            Ok(File::open(format!("/proc/{pid}/ns/user"))?.into())
        },
    )
}

/// Makes a process in new namespaces that runs `begin` and, if that returns 0, waits; returns what `work`
/// makes of it meanwhile.
fn in_process<T>(
    namespaces: Namespaces,
    begin: impl FnOnce() -> u8,
    work: impl FnOnce(i32) -> io::Result<T>,
) -> io::Result<T> {
    let (wait, end) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    let (ready, begun) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    let owned = ((wait, end), (ready, begun));
    let (pid, ((wait, end), (ready, begun))) = spawn(namespaces, None, owned, |owned| {
        let ((wait, end), (_ready, begun)) = owned;
        drop(end);
        let code = begin();
        if code == 0 {
            rustix::io::write(&begun, b"1").ok();
            // Until the other end is closed.
            rustix::io::read(&wait, &mut [0_u8]).ok();
        }
        code
    })?;
    drop((wait, begun));
    let began = rustix::io::read(&ready, &mut [0_u8]).map_err(io::Error::from);
    let result = match began {
        Ok(1) => work(pid),
        other => other
            .map(|_| 0)
            .and(Err(io::ErrorKind::UnexpectedEof.into())),
    };
    drop(end);
    let status = rustix::process::Pid::from_raw(pid)
        .map(|pid| rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty()))
        .transpose()?
        .flatten();
    let code = status.and_then(|(_, status)| status.exit_status());
    match (result, code) {
        (Err(_), Some(code)) if code != 0 => Err(io::Error::from_raw_os_error(code)),
        (result, _) => result,
    }
}

fn write_mappings(pid: i32, maps: &Maps) -> io::Result<()> {
    for (file, mappings) in [("gid_map", &maps.groups), ("uid_map", &maps.users)] {
        let line = |one: &LinuxIdMapping| {
            format!("{} {} {}\n", one.container_id(), one.host_id(), one.size())
        };
        let lines: String = mappings.iter().map(line).collect();
        fs::write(format!("/proc/{pid}/{file}"), lines)?;
    }
    Ok(())
}

/// Lets `make` make a mount of `directories` with mapped owners.
///
/// In a mount namespace of its own, which is left again, each directory is covered by itself, mapped.
pub(super) fn with_mapped(
    maps: &Maps,
    directories: &[&Path],
    make: impl FnOnce() -> io::Result<OwnedFd>,
) -> io::Result<OwnedFd> {
    let users = user_namespace(&maps.for_overlay())?;
    let home = File::open("/proc/thread-self/ns/mnt")?;
    unshare(Namespace::Mount)?;
    let made = cover(users.as_fd(), directories).and_then(|()| make());
    join_namespace(home.as_fd(), Namespace::Mount)?;
    made
}

fn cover(users: BorrowedFd<'_>, directories: &[&Path]) -> io::Result<()> {
    mount_change(
        "/",
        MountPropagationFlags::PRIVATE | MountPropagationFlags::REC,
    )?;
    for (number, directory) in directories.iter().enumerate() {
        let before = directories.get(..number).unwrap_or_default();
        if before.contains(directory) {
            continue;
        }
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        let mount = open_tree(CWD, *directory, flags)?;
        map_mount(mount.as_fd(), users, false)?;
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
        move_mount(&mount, "", CWD, *directory, flags)?;
    }
    Ok(())
}

/// Makes pipes belong to the user of the container whose standard streams they are to be: the root of a
/// user namespace cannot take them.
pub(super) fn give(maps: &Maps, streams: &Streams, user: u32) -> Result<(), ExecError> {
    let Streams::Pipes(pipes) = streams else {
        return Ok(());
    };
    let Some(owner) = maps.host_user(user) else {
        return Ok(());
    };
    let group = outside(&maps.groups, 0).map(Gid::from_raw);
    for pipe in pipes {
        let stat = rustix::fs::fstat(pipe).context(|| "standard streams")?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::Fifo {
            rustix::fs::fchown(pipe, Some(Uid::from_raw(owner)), group)
                .context(|| "standard streams")?;
        }
    }
    Ok(())
}

/// [`give`] for a process beside process `pid`.
pub(super) fn give_beside(pid: i32, streams: &Streams, user: u32) -> Result<(), ExecError> {
    let maps = Maps::of_process(pid).context(|| "read the container's mappings")?;
    give(&maps, streams, user)
}

/// Makes a user namespace and keeps it by the file `path`; and beside it, with the extension `files`, one that
/// has an owner for what the host's root makes, too, to map mounts by. Both maps are `CONTAINER:HOST:SIZE` with commas
/// between several.
///
/// It is also tried whether the owners of an overlay in `directory`, which exists and is empty, can be mapped.
///
/// # Errors
/// When a map is none; when the kernel has no user namespaces, or allows none; when it or the file system
/// of the directory cannot map owners.
pub fn keep_user_namespace(
    path: &Path,
    (users, groups): (&str, &str),
    directory: &Path,
) -> Result<(), ExecError> {
    let parse = |text: &str| {
        let parsed = list(text).filter(|all| !all.is_empty());
        parsed.ok_or_else(|| ExecError::other(format!("{text:?} is no mapping of IDs")))
    };
    let maps = Maps {
        users: parse(users)?,
        groups: parse(groups)?,
    };
    let missing = || "cannot make a user namespace (CONFIG_USER_NS, user.max_user_namespaces)";
    let made = user_namespace(&maps).context(missing)?;
    try_overlay(&maps, directory).context(|| {
        format!(
            "cannot mount an overlay with mapped owners in {} (this needs Linux 5.19, and a file system \
             that can map owners, such as ext4, xfs or btrfs)",
            directory.display()
        )
    })?;
    let files = user_namespace(&maps.for_overlay()).context(missing)?;
    // Who finds the one for containers finds the other.
    keep(files.as_fd(), &path.with_extension("files"))?;
    keep(made.as_fd(), path)
}

fn keep(namespace: BorrowedFd<'_>, path: &Path) -> Result<(), ExecError> {
    let what = || format!("cannot keep a user namespace by {}", path.display());
    File::create(path).context(what)?;
    let link = format!("/proc/self/fd/{}", namespace.as_raw_fd());
    mount_bind(link, path).context(what)
}

fn try_overlay(maps: &Maps, directory: &Path) -> io::Result<()> {
    let [lower, upper, work] = ["lower", "upper", "work"].map(|name| directory.join(name));
    for one in [&lower, &upper, &work] {
        fs::create_dir(one)?;
    }
    let rootfs = arca_shim_proto::Rootfs::Overlay {
        lower: vec![lower],
        upper,
        work,
        options: Vec::new(),
    };
    let root = super::overlay::mounted(&rootfs, Some(maps))?;
    let owner = rustix::fs::fstat(&root)?.st_uid;
    if Some(owner) == maps.host_user(0) {
        return Ok(());
    }
    Err(io::Error::from(io::ErrorKind::Unsupported))
}

/// Makes a network namespace that belongs to the user namespace kept by the file `users`, and keeps it by the
/// file `path`, which exists.
///
/// # Errors
/// When one of the files cannot be used, or the kernel refuses.
pub fn keep_network_namespace(path: &Path, users: &Path) -> Result<(), ExecError> {
    let users = File::open(users).context(|| format!("open {}", users.display()))?;
    let errno = |error: io::Error| {
        let code = error
            .raw_os_error()
            .and_then(|code| u8::try_from(code).ok());
        code.unwrap_or(1)
    };
    let begin = || {
        let joined = join_namespace(users.as_fd(), Namespace::User);
        let made = joined.and_then(|()| unshare(Namespace::Network));
        made.map_or_else(errno, |()| 0)
    };
    let keep = |pid| Ok(mount_bind(format!("/proc/{pid}/ns/net"), path)?);
    in_process(Namespaces::default(), begin, keep)
        .context(|| format!("cannot make a network namespace for {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_of_the_container_is_one_of_the_host() {
        let maps = Maps {
            users: list("0:100000:1000,1000:300000:10").unwrap(),
            groups: Vec::new(),
        };
        assert_eq!(maps.host_user(0), Some(100_000));
        assert_eq!(maps.host_user(999), Some(100_999));
        assert_eq!(maps.host_user(1009), Some(300_009));
        assert_eq!(maps.host_user(1010), None);
        assert!(list("0:1").is_none() && list("").is_none() && list("0:x:1").is_none());
    }
}
