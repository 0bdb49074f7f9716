//! The protocol between arcad and any shim: length-prefixed frames over a unix socket, descriptors by
//! `SCM_RIGHTS`, and the plain data in them. `docs/design/shim-protocol.md` is its specification.
//!
//! Owns the encoding and the types. When a request may be made and what it does is the shim's
//! matter; what to make of the answers is `arca-runtime`'s.
//!
//! Both sides tolerate what they do not know: unknown fields are ignored, an unknown request is
//! answered with [`FailureKind::Unsupported`], an unknown event is dropped. New fields therefore have a
//! default that means "as before", and nothing is ever renamed or given another meaning.

mod channel;
mod files;
mod frame;
mod hex;
mod message;
mod spec;

pub use channel::{Channel, ChannelError};
pub use files::{BUNDLE_FILE, STATE_FILE, StateRecord, start_time};
pub use files::{CgroupPaths, EXIT_FILE, ExitRecord, RUN_FILE, SHIM_LOG_FILE, SOCKET_FILE};
pub use frame::{Frame, FrameError, FrameKind, MAX_DESCRIPTORS, MAX_PAYLOAD};
pub use message::{
    AttachEnd, AttachRequest, Event, ExecExit, ExecRequest, Failure, FailureKind, Hello,
    KillRequest, Phase, Request, ResizeRequest, Response, RunRequest, SessionSpec, Started, State,
    UpdateRequest,
};
pub use spec::{
    AttachSpec, CgroupSpec, ConsoleSize, ExecSpec, ExitStatus, LogSpec, Rootfs, RunSpec,
    RuntimeKind, Stdio,
};

/// The version of the protocol that this build speaks.
pub const VERSION: u32 = 1;

/// The oldest version of the protocol that this build can still talk to.
pub const OLDEST: u32 = 1;
