//! What devices need, with what the files leave to the host filled in.

use std::path::PathBuf;

use rustix::fs::{FileType, major, minor, stat};

use crate::{Error, spec};

/// All that a container needs for its devices.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Edits {
    /// Variables, `NAME=value`.
    pub env: Vec<String>,
    /// Device nodes.
    pub device_nodes: Vec<DeviceNode>,
    /// Mounts.
    pub mounts: Vec<Mount>,
    /// Hooks.
    pub hooks: Vec<Hook>,
    /// Groups of the process.
    pub additional_gids: Vec<u32>,
}

/// A device node of the container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceNode {
    /// Where it is in the container.
    pub path: String,
    /// `b`, `c` or `p`.
    pub kind: char,
    /// Its number.
    pub major: u32,
    /// Its number.
    pub minor: u32,
    /// Permission bits.
    pub file_mode: u32,
    /// Owner; `None` for the container's user.
    pub uid: Option<u32>,
    /// Group; `None` for the container's group.
    pub gid: Option<u32>,
    /// Any of `r`, `w`, `m`.
    pub access: String,
}

/// A mount of the container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// The path on the host.
    pub source: String,
    /// The path in the container.
    pub destination: String,
    /// The type; empty for a bind.
    pub kind: String,
    /// Options in the OCI's words.
    pub options: Vec<String>,
}

/// A program of the host that is run at a moment of the container's life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    /// The moment, in the OCI's words: `createContainer`.
    pub moment: String,
    /// The program.
    pub path: PathBuf,
    /// Its arguments, the name first.
    pub args: Vec<String>,
    /// Its environment.
    pub env: Vec<String>,
    /// Seconds.
    pub timeout: Option<i64>,
}

impl Edits {
    /// Adds what a file says.
    pub(crate) fn add(&mut self, more: &spec::ContainerEdits) -> Result<(), Error> {
        self.env.extend(more.env.iter().cloned());
        for node in &more.device_nodes {
            self.device_nodes.push(device_node(node)?);
        }
        self.mounts.extend(more.mounts.iter().map(|mount| Mount {
            source: mount.host_path.clone(),
            destination: mount.container_path.clone(),
            kind: mount.kind.clone(),
            options: mount.options.clone(),
        }));
        self.hooks.extend(more.hooks.iter().map(|hook| Hook {
            moment: hook.hook_name.clone(),
            path: PathBuf::from(&hook.path),
            args: hook.args.clone(),
            env: hook.env.clone(),
            timeout: hook.timeout,
        }));
        let groups = more.additional_gids.iter().filter(|gid| **gid != 0);
        self.additional_gids.extend(groups);
        Ok(())
    }
}

/// Numbers that a file does not give are those of the host's node.
fn device_node(node: &spec::DeviceNode) -> Result<DeviceNode, Error> {
    let host = if node.host_path.is_empty() {
        &node.path
    } else {
        &node.host_path
    };
    let told = node.kind.chars().next();
    let fifo = told == Some('p');
    let (kind, major, minor, mode) = match (told, node.major, node.minor) {
        (Some(kind), Some(major), Some(minor)) => (kind, major, minor, 0o666),
        (Some(kind), ..) if fifo => (kind, 0, 0, 0o666),
        _ => of_host(host)?,
    };
    Ok(DeviceNode {
        path: node.path.clone(),
        kind: if kind == 'u' { 'c' } else { kind },
        major: node.major.unwrap_or(major),
        minor: node.minor.unwrap_or(minor),
        file_mode: node.file_mode.unwrap_or(mode),
        uid: node.uid,
        gid: node.gid,
        access: if node.permissions.is_empty() {
            "rwm".to_owned()
        } else {
            node.permissions.clone()
        },
    })
}

fn of_host(path: &str) -> Result<(char, u32, u32, u32), Error> {
    let found = stat(path).map_err(|errno| Error::Device {
        path: PathBuf::from(path),
        cause: errno.into(),
    })?;
    let kind = match FileType::from_raw_mode(found.st_mode) {
        FileType::CharacterDevice => 'c',
        FileType::BlockDevice => 'b',
        FileType::Fifo => 'p',
        _ => return Err(Error::NoDevice(PathBuf::from(path))),
    };
    Ok((
        kind,
        major(found.st_rdev),
        minor(found.st_rdev),
        found.st_mode & 0o7777,
    ))
}
