//! What the operations take and give back.

use std::collections::BTreeMap;
use std::sync::Arc;

use arca_types::{ContainerId, ExecId, Platform, Timestamp};

use serde::{Deserialize, Serialize};

use crate::container::Container;
use crate::model::{ContainerSpec, Resources, RestartPolicy, Streams};

/// Filters of list and prune: each name with its values.
pub type Filters = BTreeMap<String, Vec<String>>;

/// `ContainerCreate`.
#[derive(Debug, Clone, Default)]
pub struct CreateRequest {
    /// Name, with or without a leading slash; `None` for a generated one.
    pub name: Option<String>,
    /// Configuration as sent.
    pub spec: ContainerSpec,
    /// Platform of the image; `None` for any that is there.
    pub platform: Option<Platform>,
}

/// What `ContainerCreate` answers.
#[derive(Debug, Clone)]
pub struct Created {
    /// ID of the new container.
    pub id: ContainerId,
    /// Warnings for people.
    pub warnings: Vec<String>,
}

/// Outcome of `ContainerStart`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Started {
    /// This call started it.
    Now,
    /// It was running.
    Already,
}

/// Outcome of `ContainerStop`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    /// This call stopped it.
    Now,
    /// It was not running.
    Already,
}

/// `ContainerStop` and `ContainerRestart`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StopRequest {
    /// Seconds until `SIGKILL`, -1 for never; `None` for the container's own.
    pub timeout: Option<i32>,
    /// Signal by name or number; `None` for the container's own.
    pub signal: Option<String>,
}

/// `ContainerDelete`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RemoveRequest {
    /// Whether its anonymous volumes go too.
    pub volumes: bool,
    /// Whether it is killed if it runs.
    pub force: bool,
    /// Whether only a link is removed, not the container.
    pub link: bool,
}

/// `ContainerUpdate`: zero, empty and `None` change nothing.
#[derive(Debug, Clone, Default)]
pub struct UpdateRequest {
    /// Limits.
    pub resources: Resources,
    /// Restart policy.
    pub restart_policy: Option<RestartPolicy>,
}

/// What `ContainerWait` waits for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum WaitCondition {
    /// It does not run (at once if so already).
    #[default]
    NotRunning,
    /// It ends the next time.
    NextExit,
    /// It is removed.
    Removed,
}

/// What `ContainerWait` answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaitOutcome {
    /// Exit code of the last run.
    pub exit_code: i32,
    /// What went wrong, if something did.
    pub error: Option<String>,
}

/// `ContainerAttach` and `ContainerAttachWebsocket`.
#[derive(Debug, Clone, Default)]
pub struct AttachRequest {
    /// Streams to attach.
    pub streams: Streams,
    /// Whether what was logged before is sent first.
    pub logs: bool,
    /// Whether to follow what comes (and take input).
    pub stream: bool,
    /// Key sequence that detaches, `ctrl-p,ctrl-q`; `None` for the default.
    pub detach_keys: Option<String>,
    /// Whether output is framed; `None` for: unless the container has a terminal.
    pub framed: Option<bool>,
}

/// `ContainerLogs`.
#[derive(Debug, Clone, Default)]
pub struct LogsRequest {
    /// Whether to go on with what comes.
    pub follow: bool,
    /// Whether standard output is wanted.
    pub stdout: bool,
    /// Whether standard error is wanted.
    pub stderr: bool,
    /// Nothing before.
    pub since: Option<Timestamp>,
    /// Nothing after.
    pub until: Option<Timestamp>,
    /// Whether each line begins with its time.
    pub timestamps: bool,
    /// Only so many of the last lines.
    pub tail: Option<u64>,
    /// Whether each line begins with its attributes.
    pub details: bool,
}

/// `ContainerList`.
#[derive(Debug, Clone, Default)]
pub struct ListRequest {
    /// Also those that do not run.
    pub all: bool,
    /// Only so many of the newest; 0 for all. Implies `all`.
    pub limit: usize,
    /// Whether sizes are computed.
    pub size: bool,
    /// Filters.
    pub filters: Filters,
}

/// Bytes on disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Size {
    /// What the container wrote.
    pub rw: u64,
    /// That and its image.
    pub root_fs: u64,
}

/// A container in a list.
#[derive(Debug, Clone)]
pub struct Listed {
    /// The container.
    pub container: Arc<Container>,
    /// The image as it is to be shown: the name while it still means the same image, or the ID.
    pub image: String,
    /// Its further names, by the links of other containers.
    pub link_names: Vec<String>,
    /// Size, when asked for.
    pub size: Option<Size>,
}

/// A container in full.
#[derive(Debug, Clone)]
pub struct Inspection {
    /// The container.
    pub container: Arc<Container>,
    /// Its exec sessions that run or have not been forgotten; `None` when there are none.
    pub exec_ids: Option<Vec<ExecId>>,
    /// Its links, `/child:/parent/alias`; `None` when it has none.
    pub links: Option<Vec<String>>,
    /// `GraphDriver.Data`.
    pub graph: BTreeMap<String, String>,
    /// Size, when asked for.
    pub size: Option<Size>,
    /// The AppArmor profile of its processes since it was started first; empty where there is none.
    pub apparmor_profile: String,
}

/// What prune removed.
#[derive(Debug, Clone, Default)]
pub struct Pruned {
    /// IDs of the removed containers.
    pub deleted: Vec<ContainerId>,
    /// Bytes.
    pub space_reclaimed: u64,
}

/// What `ContainerTop` answers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Top {
    /// Column titles.
    pub titles: Vec<String>,
    /// One row a process.
    pub processes: Vec<Vec<String>>,
}

/// `ContainerExec`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecRequest {
    /// Streams the client will attach.
    pub streams: Streams,
    /// Whether the process has a terminal.
    pub tty: bool,
    /// Command.
    pub cmd: Vec<String>,
    /// Environment in addition to the container's.
    pub env: Vec<String>,
    /// User; empty for the container's.
    pub user: String,
    /// Whether it has all capabilities.
    pub privileged: bool,
    /// Working directory; empty for the container's.
    pub working_dir: String,
    /// Keys that detach; `None` for the default.
    pub detach_keys: Option<String>,
    /// Terminal size at the start: rows, columns.
    pub console_size: Option<(u32, u32)>,
}

/// `ExecStart`.
#[derive(Debug, Clone, Copy, Default)]
pub struct ExecStartRequest {
    /// Whether nobody attaches.
    pub detach: bool,
    /// Whether the client takes the session for one with a terminal.
    pub tty: bool,
    /// Terminal size: rows, columns.
    pub console_size: Option<(u32, u32)>,
}

/// An exec session as `ExecInspect` shows it.
#[derive(Debug, Clone)]
pub struct ExecView {
    /// ID.
    pub id: ExecId,
    /// Container.
    pub container: ContainerId,
    /// What was asked for.
    pub request: Arc<ExecRequest>,
    /// The first word of the command.
    pub entrypoint: String,
    /// The others.
    pub arguments: Vec<String>,
    /// User it runs as.
    pub user: String,
    /// Whether it runs.
    pub running: bool,
    /// Exit code, once it has ended.
    pub exit_code: Option<i32>,
    /// Process ID on the host; 0 before the start.
    pub pid: u32,
    /// The keys that detach; empty for the default ones.
    pub detach_keys: Vec<u8>,
    /// Whether it is about to be forgotten.
    pub can_remove: bool,
}
