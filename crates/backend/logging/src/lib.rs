//! Log drivers: what a container writes is kept in files (`json-file`, `local`), sent to somebody else
//! (`syslog`, `gelf`, `fluentd`, `journald`), or dropped (`none`).
//!
//! Owns the formats, rotation, reading back and the protocols; no thread and no runtime. The shim
//! writes through [`Writer`], arcad reads through [`Reader`]: the files are all they share, so either
//! may be restarted at any time. What is sent elsewhere is kept in files too, in the format of `local`:
//! [`Delivery`] reads it there and remembers how far it has come.
//!
//! `json-file` is byte for byte what dockerd writes, because other programs read these files. `local`
//! is a compact format of its own.

mod attributes;
mod batch;
mod compact;
mod error;
mod files;
mod follow;
mod functions;
mod json;
mod limits;
mod options;
mod reader;
mod remote;
mod render;
mod ring;
mod rotation;
mod segment;
mod tail;
mod template;
mod timetext;
mod values;
mod writer;

pub use attributes::Subject;
pub use batch::{Batch, Entry, Source};
pub use error::Error;
pub use files::{disk_usage, log_files, remove};
pub use options::{DRIVERS, is_readable, log_spec, validate};
pub use reader::{Cursor, Progress, ReadOptions, Reader};
pub use remote::{Delivery, is_delivered, reach};
pub use render::Render;
pub use rotation::{Compression, compress};
pub use writer::{MAX_ENTRY, Writer};
