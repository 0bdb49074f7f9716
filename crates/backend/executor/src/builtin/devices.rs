//! What a container finds in `/dev`: device nodes and a few links.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use oci_spec::runtime::{LinuxDevice, LinuxDeviceType, Spec};
use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, chmodat, chownat, makedev, mknodat, symlinkat, unlinkat,
};
use rustix::io::Errno;
use rustix::mount::{OpenTreeFlags, open_tree};
use rustix::process::{Gid, Uid};

use super::tree::{Tree, stat};
use crate::error::{Context, ExecError};

/// Every container has these: path, major, minor.
const DEFAULT: [(&str, u32, u32); 6] = [
    ("/dev/null", 1, 3),
    ("/dev/zero", 1, 5),
    ("/dev/full", 1, 7),
    ("/dev/random", 1, 8),
    ("/dev/urandom", 1, 9),
    ("/dev/tty", 5, 0),
];

/// A device node to make.
struct Node<'a> {
    path: &'a Path,
    kind: FileType,
    device: u64,
    mode: u32,
    owner: (u32, u32),
}

/// Fills `/dev`, unless the configuration binds the host's.
pub(super) fn set_up(tree: &Tree, spec: &Spec, user_namespace: bool) -> Result<(), ExecError> {
    let host_dev = spec.mounts().iter().flatten().any(|mount| {
        let bind = |option: &String| option == "bind" || option == "rbind";
        mount.destination() == Path::new("/dev")
            && (mount.typ().as_deref() == Some("bind")
                || mount.options().iter().flatten().any(bind))
    });
    if host_dev {
        return Ok(());
    }
    let devices = spec
        .linux()
        .as_ref()
        .and_then(|linux| linux.devices().as_deref());
    let devices = devices.unwrap_or_default();
    let make = |node: Node<'_>| {
        let what = node.path.display().to_string();
        let made = if user_namespace {
            bind(tree, &node)
        } else {
            make(tree, &node)
        };
        made.context(|| format!("error creating device node {what}"))
    };
    for (path, major, minor) in DEFAULT {
        if devices
            .iter()
            .all(|device| device.path() != Path::new(path))
        {
            let device = makedev(major, minor);
            let path = Path::new(path);
            make(Node {
                path,
                kind: FileType::CharacterDevice,
                device,
                mode: 0o666,
                owner: (0, 0),
            })?;
        }
    }
    for device in devices {
        make(node(device)?)?;
    }
    links(tree).context(|| "error creating the links of /dev")
}

fn node(device: &LinuxDevice) -> Result<Node<'_>, ExecError> {
    let kind = match device.typ() {
        LinuxDeviceType::B => FileType::BlockDevice,
        LinuxDeviceType::C | LinuxDeviceType::U => FileType::CharacterDevice,
        LinuxDeviceType::P => FileType::Fifo,
        LinuxDeviceType::A => {
            return Err(ExecError::other(format!(
                "a is not a valid device type for {}",
                device.path().display()
            )));
        }
    };
    let number = |number: i64| u32::try_from(number).unwrap_or(0);
    Ok(Node {
        path: device.path(),
        kind,
        device: makedev(number(device.major()), number(device.minor())),
        mode: device.file_mode().unwrap_or(0o666),
        owner: (device.uid().unwrap_or(0), device.gid().unwrap_or(0)),
    })
}

fn make(tree: &Tree, node: &Node<'_>) -> io::Result<()> {
    let (dir, name) = tree.parent(node.path)?;
    let mode = Mode::from_bits_truncate(node.mode & 0o7777);
    match mknodat(&dir, name, node.kind, mode, node.device) {
        Ok(()) => {}
        Err(Errno::EXIST) => return Ok(()),
        Err(error) => return Err(error.into()),
    }
    chmodat(&dir, name, mode, AtFlags::empty())?;
    let (uid, gid) = node.owner;
    if (uid, gid) != (0, 0) {
        let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
        chownat(&dir, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
    }
    Ok(())
}

/// In a user namespace nodes cannot be made: the host's are bound.
fn bind(tree: &Tree, node: &Node<'_>) -> io::Result<()> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let mount = open_tree(CWD, node.path, flags)?;
    let place = tree.make_file(node.path)?;
    Tree::attach(mount.as_fd(), place.as_fd())
}

fn links(tree: &Tree) -> io::Result<()> {
    let dev = tree.make_dirs(Path::new("/dev"))?;
    let mut links = vec![
        ("/proc/self/fd", "fd"),
        ("/proc/self/fd/0", "stdin"),
        ("/proc/self/fd/1", "stdout"),
        ("/proc/self/fd/2", "stderr"),
    ];
    if Path::new("/proc/kcore").exists() {
        links.push(("/proc/kcore", "core"));
    }
    for (target, name) in links {
        match symlinkat(target, &dev, name) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
    }
    match unlinkat(&dev, "ptmx", AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(symlinkat("pts/ptmx", &dev, "ptmx")?)
}

/// Opens the container's `/dev/null`, having checked that it is that device.
pub(super) fn open_null(tree: &Tree, flags: OFlags) -> io::Result<OwnedFd> {
    let null = tree.open(Path::new("/dev/null"), flags)?;
    if is_null(&null)? {
        Ok(null)
    } else {
        Err(io::Error::from(Errno::NODEV))
    }
}

/// Says whether `fd` is a null device.
pub(super) fn is_null(fd: impl AsFd) -> io::Result<bool> {
    let (stat, kind) = stat(fd.as_fd())?;
    Ok(kind == FileType::CharacterDevice && stat.st_rdev == makedev(1, 3))
}
