//! What Docker means by a container: its configuration, its life, and what can be done with it.
//!
//! [`Containers`] has one operation per endpoint, in a file of the same name. One actor per
//! container (`actor.rs`) is the only writer of its state; readers share published snapshots
//! ([`Container`]). What is on disk is in `record.rs`, what happens after a crash in `recover.rs`.
//! How a process is isolated is left to the runtime; this crate only writes it down (`spec`).

pub mod model;
mod mounting;

mod abilities;
mod actor;
mod apparmor;
mod archive;
mod arriving;
mod attach;
mod backend;
mod binds;
mod changes;
mod check;
mod commit;
mod config;
mod connect;
mod container;
mod create;
mod creating;
mod ended;
mod error;
mod exec_create;
mod exec_inspect;
mod exec_record;
mod exec_start;
mod execs;
mod export;
mod filters;
mod health;
mod index;
mod injected;
mod inspect;
mod keys;
mod kill;
mod limits;
mod links;
mod list;
mod logs;
mod merge;
mod names;
mod network;
mod pause;
mod ports;
mod prune;
mod prune_filter;
mod record;
mod recover;
mod remove;
mod rename;
mod requests;
mod resize;
mod restart;
mod seccomp;
mod service;
mod spec;
mod start;
mod state;
mod stats;
mod step;
mod stop;
mod sweep;
#[cfg(test)]
mod testing;
mod timers;
mod top;
mod undo;
mod update;
mod users;
mod volumes;
mod wait;

pub use abilities::Abilities;
pub use arca_logging::DRIVERS as LOG_DRIVERS;
pub use arca_storage::{Change, ChangeKind};
pub use archive::{Archive, ExtractRequest, PathStat};
pub use attach::Attachment;
pub use commit::CommitRequest;
pub use config::{Config, UserNamespace};
pub use container::{Container, Ends, human_duration};
pub use error::Error;
pub use exec_start::ExecSession;
pub use export::Export;
pub use logs::LogStream;
pub use model::{CgroupnsMode, IpcMode, LogConfig, Ulimit};
pub use requests::{
    AttachRequest, CreateRequest, Created, ExecRequest, ExecStartRequest, ExecView, Filters,
    Inspection, ListRequest, Listed, LogsRequest, Pruned, RemoveRequest, Size, Started,
    StopRequest, Stopped, Top, UpdateRequest, WaitCondition, WaitOutcome,
};
pub use seccomp::SeccompError;
pub use service::{Backends, Containers};
pub use state::{Before, Input, Process, Refused, Run, State};
pub use stats::{Sample, StatsRequest, StatsStream};
pub use step::{StepEnd, StepMount, StepOutput, StepRequest, read_frames};
pub use wait::Waiting;
