//! Tar archives: reading them, unpacking them below a directory, making them of one.
//!
//! The `tar` crate decodes single header fields; everything else is done here, because layers need what
//! it does not do: whiteouts, opaque directories, extended attributes, and a root that nothing leaves.
//! Trees are addressed by directory descriptor: a path of an archive or a client is resolved by the
//! kernel with `RESOLVE_IN_ROOT`, and what it names is then used by its descriptor.
//!
//! - [`Reader`] parses: the ustar, GNU and PAX formats, long names, sparse files, with limits on what a
//!   header may make it hold in memory.
//! - [`extract`] unpacks: a layer into the upper directory of an overlay, a layer on top of a tree, or an
//!   ordinary archive as of `docker cp`.
//! - [`pack`] makes an archive: of a tree, or of an overlay's upper directory as a layer.
//! - [`clamp_times`] copies an archive in which nothing is later than a time.
//! - [`Transfer`] copies parts of a tree with changes, [`Walk`] goes through one.
//! - [`copy_tree`], [`remove_tree`] and [`tree_size`] do to trees what these do to archives.
//!
//! Everything blocks. Compression and digests are the business of others.

mod clamp;
mod copy;
mod error;
mod extract;
mod fields;
mod header;
mod node;
mod pack;
mod path;
mod pax;
mod reader;
mod remove;
mod size;
mod sparse;
mod spread;
#[cfg(test)]
mod tests;
mod transfer;
mod walk;

pub use clamp::clamp_times;
pub use copy::copy_tree;
pub use error::Error;
pub use extract::{ExtractOptions, Extracted, Whiteouts, extract};
pub use node::{Xattrs, xattrs};
pub use pack::{PackFormat, PackOptions, Packer, pack};
pub use path::{open_in_root, open_root};
pub use reader::{Entry, Kind, Reader};
pub use remove::{remove_contents, remove_tree};
pub use size::tree_size;
pub use spread::spread_directories;
pub use transfer::{Select, Transfer};
pub use walk::{Node, Walk};
