//! OCI configuration to process: namespaces, mounts, cgroups v1 and v2, seccomp, capabilities.
//!
//! This crate owns what happens between "here is a `config.json`" and "here is a pid"; it knows
//! nothing of images, networks, logs or clients. It is used by shims only.
//!
//! [`run`] and [`exec`] belong into a short-lived, single-threaded *helper*: a process that the shim
//! makes by executing itself again (through [`sealed_self`], so that no container can ever write to
//! the program). They change the namespaces of their caller, and the container's process is the
//! helper's child: when the helper exits it becomes the child of the shim, which is the subreaper.
//! Everything else ([`pause`], [`resume`], [`update`], [`kill`], [`pids`], [`delete`]) only reads and
//! writes files, or runs the foreign runtime, and may be called by the shim itself.
//!
//! Why this is not built on a library is in `docs/design/executor.md`.

mod binary;
mod builtin;
mod cgroup;
mod error;
mod operations;
mod request;
mod seccomp;

pub use builtin::{keep_network_namespace, keep_user_namespace};
pub use cgroup::CgroupPaths;
pub use error::{ExecError, FailureKind};
pub use operations::{cgroups, delete, exec, kill, pause, pids, resume, run, sealed_self, update};
pub use request::{Container, ExecRequest, RunRequest, Started, Streams};
