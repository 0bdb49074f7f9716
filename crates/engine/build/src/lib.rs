//! Builds: one solver for all front ends.
//!
//! A front end turns a request into a graph ([`graph`]); the solver runs what the target needs of it,
//! takes from the cache what it can, and exports the result. `docs/design/build.md` has the whole.
//!
//! - [`Builder`] is the service, [`Job`] one build: it solves, resolves images, reads files, exports.
//! - [`BuildSession`] is the client's side: its files, secrets, credentials; where results are sent to.
//! - [`progress`] is what happens, as a client is told.
//! - [`Tree`] is the result of a step: files.

mod builder;
mod cache;
mod classic;
mod error;
mod exec;
pub mod export;
mod file;
pub mod frontend;
mod fs;
pub mod graph;
mod history;
mod job;
mod material;
pub mod progress;
mod request;
pub mod session;
mod solve;
mod source;
mod tree;

pub use builder::{Backends, Builder, Config};
pub use cache::{CacheItem, GcPolicy, PruneRequest, Pruned};
pub use classic::{ClassicContext, ClassicLine, ClassicRequest, ClassicSink};
pub use error::Error;
pub use export::{CacheExport, CacheImport, ExporterKind, ExporterSpec};
pub use history::{HistoryConfig, Part, PastBuild};
pub use job::Job;
pub use material::Material;
pub use request::{
    BuildResult, Entitlement, Exported, JobRequest, Limits, ResolvedImage, SolveInput,
};
pub use session::BuildSession;
pub use tree::{FileStat, Tree};
