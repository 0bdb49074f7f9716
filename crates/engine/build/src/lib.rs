//! Builds: one solver for all front ends.
//!
//! A front end turns a request into a graph ([`graph`]); the solver runs what the target needs of it,
//! takes from the cache what it can, and exports the result. `docs/design/build.md` has the whole.
//!
//! - [`BuildSession`] is the client's side: its files, secrets, credentials; where results are sent to.
//! - [`progress`] is what happens, as a client is told.
//! - [`Tree`] is the result of a step: files.

mod error;
pub mod export;
pub mod frontend;
pub mod graph;
pub mod progress;
mod request;
pub mod session;
mod tree;

pub use error::Error;
pub use export::{CacheExport, CacheImport, ExporterKind, ExporterSpec};
pub use request::{
    BuildResult, Entitlement, Exported, JobRequest, Limits, ResolvedImage, SolveInput,
};
pub use session::BuildSession;
pub use tree::{FileStat, Tree};
