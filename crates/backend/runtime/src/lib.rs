//! Containers' processes as arcad sees them: starts and adopts shims, speaks their protocol, reads
//! counters of resources.
//!
//! A shim runs one container and outlives arcad (`docs/design/shim-protocol.md`). This crate owns the
//! directories of shims below the exec root and the connections to them. What the configuration of a
//! container is, and what its end means, is the engine's matter.
//!
//! Every wait has a deadline. What happens is told by [`Runtime::subscribe`]; subscribe before the
//! first [`Runtime::adopt`] or [`Runtime::start`], and nothing is missed.

mod adopt;
mod directory;
mod error;
mod events;
mod link;
mod lost;
mod operations;
mod remove;
mod runtime;
mod start;
mod stats;

pub use adopt::{Adopted, AdoptedState};
pub use arca_shim_proto::{
    AttachEnd, AttachSpec, CgroupSpec, ConsoleSize, ExecExit, ExecSpec, ExitStatus, FailureKind,
    LogSpec, Rootfs, RunSpec, RuntimeKind, Started, Stdio,
};
pub use error::Error;
pub use events::{Event, Happening, Seen};
pub use operations::ExecStarted;
pub use runtime::{Config, Runtime, boot_id};
pub use start::{Client, ContainerStarted, Session};
pub use stats::{Blkio, BlkioEntry, Cpu, Interface, Memory, Pids, Stats, Throttling};
