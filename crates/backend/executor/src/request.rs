//! What callers ask for: plain data and descriptors.

use std::os::fd::OwnedFd;
use std::path::PathBuf;

use arca_shim_proto::{CgroupSpec, Rootfs, RuntimeKind};
use oci_spec::runtime::{Process, Spec};

/// A container as the executor finds it again: its directory of state and its ID.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    /// The directory below which each container has a directory of its ID. Local to this boot.
    pub state_root: PathBuf,
    /// The container's ID.
    pub id: String,
    /// What made or makes it.
    pub runtime: RuntimeKind,
}

/// The standard streams of a process.
#[derive(Debug)]
pub enum Streams {
    /// Standard input, output and error, handed to the process as they are.
    Pipes([OwnedFd; 3]),
    /// A terminal: its master is sent over this connected unix stream socket (`SCM_RIGHTS`, one
    /// descriptor) before the process runs. `process.terminal` must be set; the first size is
    /// `process.consoleSize`.
    Console(OwnedFd),
}

/// A container to create and start in one go.
#[derive(Debug)]
pub struct RunRequest {
    /// Where it is found again.
    pub container: Container,
    /// The directory that holds, or gets, `config.json`; used by foreign runtimes and hooks.
    pub bundle: PathBuf,
    /// The configuration; `root.path` is ignored in favour of `rootfs`.
    pub spec: Spec,
    /// The root filesystem, mounted inside the container's mount namespace only.
    pub rootfs: Rootfs,
    /// Where it lives in the cgroup hierarchies; overrides `linux.cgroupsPath`.
    pub cgroup: CgroupSpec,
    /// The init process's standard streams.
    pub streams: Streams,
}

/// A further process for a running container.
#[derive(Debug)]
pub struct ExecRequest {
    /// The container.
    pub container: Container,
    /// The process, complete: user, groups, environment, capabilities are taken from here alone.
    pub process: Process,
    /// Its standard streams.
    pub streams: Streams,
}

/// A process that runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Started {
    /// Its ID in the caller's pid namespace; a child of the caller until the caller exits.
    pub pid: i32,
}
