//! Requests, responses and events.

use arca_types::{ContainerId, ExecId, Signal, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::files::CgroupPaths;
use crate::spec::{AttachSpec, ConsoleSize, ExecSpec, ExitStatus, RunSpec};

/// What arcad asks of a shim. Each request is answered by one [`Response`] with the same number.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// The versions arcad speaks; makes this connection hear events. Answered by
    /// [`Response::State`].
    Hello(Hello),
    /// Make and start the container. Carries one descriptor per [`RunRequest::attach`]. Answered by
    /// [`Response::Started`].
    Run(Box<RunRequest>),
    /// Start a further process. Carries the client's descriptor if there is an
    /// [`ExecRequest::attach`]. Answered by [`Response::Started`].
    Exec(Box<ExecRequest>),
    /// Attach a client. Carries its descriptor. Answered by [`Response::Done`].
    Attach(AttachRequest),
    /// Send a signal.
    Kill(KillRequest),
    /// Freeze all processes of the container.
    Pause,
    /// Let them go on.
    Resume,
    /// Set the size of a terminal.
    Resize(ResizeRequest),
    /// Change resource limits.
    Update(UpdateRequest),
    /// Say what is the case. Answered by [`Response::State`].
    State,
    /// The end of an exec was taken note of: its clients' connections may be closed, so that who
    /// sees one closed and asks how the exec ended is told. A shim does not wait long for this.
    ExecSeen(ExecId),
}

/// The versions that one side speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The newest.
    pub version: u32,
    /// The oldest.
    pub oldest: u32,
}

/// Make and start the container.
#[derive(Debug, Serialize, Deserialize)]
pub struct RunRequest {
    /// The container's ID.
    pub id: ContainerId,
    /// What to run.
    pub spec: RunSpec,
    /// Clients attached from the first byte on.
    #[serde(default)]
    pub attach: Vec<SessionSpec>,
}

/// An [`AttachSpec`] with the number by which [`Event::AttachEnded`] names the session.
pub type SessionSpec = (u64, AttachSpec);

/// Start a further process.
#[derive(Debug, Serialize, Deserialize)]
pub struct ExecRequest {
    /// Its ID.
    pub exec: ExecId,
    /// What to run.
    pub spec: ExecSpec,
    /// The client attached from the first byte on.
    #[serde(default)]
    pub attach: Option<SessionSpec>,
}

/// Attach a client to the init process or to an exec.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AttachRequest {
    /// The exec; the init process without.
    #[serde(default)]
    pub exec: Option<ExecId>,
    /// Names the session in [`Event::AttachEnded`], which only this connection hears.
    pub session: u64,
    /// What the client takes part in.
    pub attach: AttachSpec,
}

/// Send a signal.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct KillRequest {
    /// To this exec; to the init process without.
    #[serde(default)]
    pub exec: Option<ExecId>,
    /// Which signal.
    pub signal: Signal,
}

/// Set the size of a terminal.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ResizeRequest {
    /// Of this exec; of the init process without.
    #[serde(default)]
    pub exec: Option<ExecId>,
    /// The new size.
    pub size: ConsoleSize,
}

/// Change resource limits.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct UpdateRequest {
    /// `linux.resources` of the runtime-spec; what is absent stays as it is.
    pub resources: Box<RawValue>,
}

/// What a shim answers.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Response {
    /// It is done.
    Done,
    /// The process runs.
    Started(Started),
    /// What is the case.
    State(Box<State>),
    /// It was not done.
    Failed(Failure),
}

/// A process that was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    /// Its number in the host's PID namespace.
    pub pid: i32,
    /// When.
    pub at: Timestamp,
}

/// What is the case in a shim.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct State {
    /// The versions the shim speaks.
    pub hello: Hello,
    /// The shim's own process.
    pub shim_pid: i32,
    /// What the container is doing.
    pub phase: Phase,
    /// Execs that run, with their processes.
    #[serde(default)]
    pub execs: Vec<(ExecId, i32)>,
    /// Execs that have ended, the latest last; a shim remembers the last 64.
    #[serde(default)]
    pub ended_execs: Vec<ExecExit>,
    /// The kernel has killed a process of the container for want of memory.
    #[serde(default)]
    pub oom_killed: bool,
    /// The container's cgroups.
    #[serde(default)]
    pub cgroups: CgroupPaths,
}

/// What the container is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Nothing was run yet, or it is being started.
    New,
    /// Its init process runs.
    Running(Started),
    /// Its init process is frozen.
    Paused(Started),
    /// It has ended.
    Ended(ExitStatus),
}

/// What happens in a shim, told to every connection that said hello.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// The init process has ended, its output is logged and `exit.json` is written.
    Exited(ExitStatus),
    /// The kernel has killed a process of the container for want of memory.
    Oom,
    /// A further process has ended and its output is drained.
    ExecExited(ExecExit),
    /// A client's session has ended and its socket is closed.
    AttachEnded {
        /// The session, as numbered by this connection.
        session: u64,
        /// Why.
        end: AttachEnd,
    },
}

/// An exec that has ended.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ExecExit {
    /// Which.
    pub exec: ExecId,
    /// How.
    pub status: ExitStatus,
}

/// Why a session has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttachEnd {
    /// The process has ended and the client has all its output.
    Ended,
    /// The client sent the detach keys.
    Detached,
    /// The client is gone, or closed the standard input that its session lives by.
    ClientGone,
}

/// Why something was not done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// What kind of failure it is.
    pub kind: FailureKind,
    /// The text for people, in the words of runc where it has words.
    pub message: String,
}

/// What kind of failure it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// The program does not exist in the container: exit code 127.
    CommandNotFound,
    /// The program exists and cannot be executed: exit code 126.
    CommandNotExecutable,
    /// A mount's source and target are of different kinds (`ENOTDIR`): exit code 127.
    BadMount,
    /// The configuration cannot be honoured.
    InvalidConfig,
    /// The exec or session does not exist.
    NotFound,
    /// Not now: the container does not run, runs already, or is paused.
    Conflict,
    /// The shim does not know this request, or no common version.
    Unsupported,
    /// Anything else.
    #[serde(other)]
    Internal,
}

impl Failure {
    /// A failure of `kind` with its text.
    #[must_use]
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
        }
    }
}
