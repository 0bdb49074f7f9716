//! Log drivers that keep the log in files: `json-file`, `local`, and `none`, which keeps nothing.
//!
//! Owns the formats, rotation and reading back; no thread and no runtime. The shim writes through
//! [`Writer`], arcad reads through [`Reader`]: the files are all they share, so either may be
//! restarted at any time.
//!
//! `json-file` is byte for byte what dockerd writes, because other programs read these files. `local`
//! is a compact format of its own. How much is kept when the user says nothing is arcad's
//! configuration, not this crate's.

mod attributes;
mod batch;
mod compact;
mod error;
mod files;
mod follow;
mod json;
mod options;
mod reader;
mod render;
mod rotation;
mod segment;
mod tail;
mod timetext;
mod writer;

pub use attributes::Subject;
pub use batch::{Batch, Entry, Source};
pub use error::Error;
pub use files::{disk_usage, log_files, remove};
pub use options::{log_spec, validate};
pub use reader::{Progress, ReadOptions, Reader};
pub use render::Render;
pub use rotation::{Compression, compress};
pub use writer::{MAX_ENTRY, Writer};
