//! What to run and how: plain data, also kept on disk (`run.json`).

use std::collections::BTreeMap;
use std::path::PathBuf;

use arca_types::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// Everything a shim needs to know to run one container.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RunSpec {
    /// The OCI runtime configuration (`config.json` of the runtime-spec). `root.path` is set by the
    /// shim; the root filesystem is [`RunSpec::rootfs`].
    pub oci: Box<RawValue>,
    /// The root filesystem, mounted by the shim's helper inside the container's mount namespace.
    pub rootfs: Rootfs,
    /// What the init process has as standard streams.
    #[serde(default)]
    pub stdio: Stdio,
    /// Where its output is logged.
    pub log: LogSpec,
    /// What makes the container.
    #[serde(default)]
    pub runtime: RuntimeKind,
    /// Where the container lives in the cgroup hierarchies.
    #[serde(default)]
    pub cgroup: CgroupSpec,
}

/// A root filesystem that is described, not mounted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rootfs {
    /// An overlay mount.
    Overlay {
        /// Read-only layers, the topmost first.
        lower: Vec<PathBuf>,
        /// The container's writable layer.
        upper: PathBuf,
        /// The overlay's work directory, on the filesystem of `upper`.
        work: PathBuf,
        /// Further mount options of overlay(5), such as `metacopy=on`.
        #[serde(default)]
        options: Vec<String>,
    },
    /// A directory as it is.
    Directory(PathBuf),
}

/// The standard streams of the init process (`Config.Tty`, `OpenStdin`, `StdinOnce`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stdio {
    /// One pseudo-terminal instead of three pipes.
    #[serde(default)]
    pub tty: bool,
    /// Keep standard input open, attached or not; else it is `/dev/null`.
    #[serde(default)]
    pub open_stdin: bool,
    /// Close standard input when the first attached client that has it closes its side.
    #[serde(default)]
    pub stdin_once: bool,
    /// The first size of the terminal.
    #[serde(default)]
    pub console: Option<ConsoleSize>,
}

/// The size of a terminal in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsoleSize {
    /// Columns.
    pub width: u16,
    /// Rows.
    pub height: u16,
}

/// Where and how output is logged (`HostConfig.LogConfig`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogSpec {
    /// The name of a driver of `arca_logging`.
    pub driver: String,
    /// The driver's options, checked by `arca_logging`.
    #[serde(default)]
    pub options: BTreeMap<String, String>,
    /// The log file; rotated files have its name with a suffix. Unused by `none`.
    pub path: PathBuf,
    /// What each entry is marked with: made by `arca_logging` of the options `tag`, `labels`,
    /// `labels-regex`, `env` and `env-regex`.
    #[serde(default)]
    pub attrs: BTreeMap<String, String>,
    /// What drivers that send entries elsewhere say about the container, such as its name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub info: BTreeMap<String, String>,
}

/// What makes containers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RuntimeKind {
    /// The executor that is built into the shim.
    #[default]
    BuiltIn,
    /// A program with runc's command line.
    Binary {
        /// The program.
        path: PathBuf,
        /// Arguments put before the command.
        #[serde(default)]
        args: Vec<String>,
    },
}

/// Where the container lives in the cgroup hierarchies.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CgroupSpec {
    /// `linux.cgroupsPath` of the configuration: a path, or `slice:prefix:name` for systemd.
    #[serde(default)]
    pub path: String,
    /// Let systemd make the cgroup.
    #[serde(default)]
    pub systemd: bool,
}

/// A further process in a running container.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ExecSpec {
    /// The process (`process` of the runtime-spec's `config.json`).
    pub process: Box<RawValue>,
    /// A pseudo-terminal instead of pipes.
    #[serde(default)]
    pub tty: bool,
    /// Standard input comes from the attached client; else it is `/dev/null`.
    #[serde(default)]
    pub open_stdin: bool,
    /// Standard output goes to the attached client; else it is discarded.
    #[serde(default)]
    pub open_stdout: bool,
    /// Standard error goes to the attached client; else it is discarded.
    #[serde(default)]
    pub open_stderr: bool,
    /// The first size of the terminal.
    #[serde(default)]
    pub console: Option<ConsoleSize>,
}

/// A client that takes part in a process's standard streams; its socket comes as a descriptor.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AttachSpec {
    /// Forward what the client sends.
    pub stdin: bool,
    /// Send it standard output.
    pub stdout: bool,
    /// Send it standard error.
    pub stderr: bool,
    /// The bytes that end the session of a terminal; empty for none.
    #[serde(with = "crate::hex")]
    pub detach_keys: Vec<u8>,
    /// Put Docker's 8-byte header before each piece of output; else raw.
    pub framed: bool,
    /// What the client has sent already.
    #[serde(with = "crate::hex")]
    pub early: Vec<u8>,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitStatus {
    /// Its exit code, 128 + the signal's number when a signal ended it.
    pub code: i32,
    /// The signal that ended it.
    #[serde(default)]
    pub signal: Option<i32>,
    /// The kernel killed a process of the container for want of memory while it ran.
    #[serde(default)]
    pub oom_killed: bool,
    /// When.
    pub at: Timestamp,
}
