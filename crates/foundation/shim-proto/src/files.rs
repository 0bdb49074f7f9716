//! What a shim keeps in its directory, `<exec-root>/shims/<id>/`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use arca_types::ContainerId;
use serde::{Deserialize, Serialize};

use crate::message::{ExecExit, Started};
use crate::spec::{ExitStatus, RuntimeKind};

/// The OCI configuration, as the executor reads it.
pub const BUNDLE_FILE: &str = "config.json";
/// The [`crate::RunSpec`].
pub const RUN_FILE: &str = "run.json";
/// The [`StateRecord`], written when the container runs.
pub const STATE_FILE: &str = "state.json";
/// The [`ExitRecord`], written when it has ended.
pub const EXIT_FILE: &str = "exit.json";
/// The socket on which the shim listens.
pub const SOCKET_FILE: &str = "shim.sock";
/// What the shim and its helpers print.
pub const SHIM_LOG_FILE: &str = "shim.log";

/// The container's cgroup directories: by controller in version 1 (`memory`, `cpu`, ..), under the
/// empty name in version 2.
pub type CgroupPaths = BTreeMap<String, PathBuf>;

/// Who is to be looked for, or killed, when the shim does not answer.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StateRecord {
    /// The container.
    pub id: ContainerId,
    /// The shim's process.
    pub shim_pid: i32,
    /// When that process started, in the kernel's ticks since boot (field 22 of proc_pid_stat(5)):
    /// tells it from another with the same number.
    pub shim_started: u64,
    /// The init process, once there is one.
    pub init: Option<Started>,
    /// When that process started, as above.
    #[serde(default)]
    pub init_started: u64,
    /// Its cgroups.
    #[serde(default)]
    pub cgroups: CgroupPaths,
    /// What made the container.
    #[serde(default)]
    pub runtime: RuntimeKind,
}

/// How the container ended.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ExitRecord {
    /// Its init process.
    pub status: ExitStatus,
    /// Execs that ended while no arcad listened.
    #[serde(default)]
    pub execs: Vec<ExecExit>,
}

/// When a process started, as [`StateRecord`] has it; none when there is no such process.
#[must_use]
pub fn start_time(pid: i32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = text.rsplit_once(") ")?;
    fields.split(' ').nth(19)?.parse().ok()
}
