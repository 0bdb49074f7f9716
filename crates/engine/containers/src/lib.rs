//! What Docker means by a container: its configuration, its life, and what can be done with it.
//!
//! [`Containers`] has one operation per endpoint, in a file of the same name. One actor per
//! container (`actor.rs`) is the only writer of its state; readers share published snapshots
//! ([`Container`]). What is on disk is in `record.rs`, what happens after a crash in `recover.rs`.
//! How a process is isolated is left to the runtime; this crate only writes it down (`spec`).

pub mod model;

mod container;
mod error;
mod requests;
mod state;

pub use container::{Container, Ends, human_duration};
pub use error::Error;
pub use requests::{
    AttachRequest, CreateRequest, Created, ExecRequest, ExecStartRequest, ExecView, Filters,
    Inspection, ListRequest, Listed, LogsRequest, Pruned, RemoveRequest, Size, Started,
    StopRequest, Stopped, Top, UpdateRequest, WaitCondition, WaitOutcome,
};
pub use state::{Before, Input, Process, Refused, Run, State};
