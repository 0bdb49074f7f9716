//! Content-addressed blobs, layers, snapshots and their garbage collection.
//!
//! - A **blob** is a file named by its digest: manifests, configurations, layers as they were received.
//! - A **layer** is a directory with the unpacked contents of one, in overlayfs's own format, stored once
//!   under its diff ID whatever images it occurs in. [`LayerIngest`] makes blob and layer of a stream.
//! - A **snapshot** is a container's writable layer on top of others.
//!
//! Every one has a row in the database and a place on the disk; opening the storage brings the two into
//! agreement. Nothing is deleted where somebody waits for it: what goes is renamed into `trash/`, which a
//! thread empties. What belongs to an image is not known here: [`Storage::collect`] is told.
//!
//! Writing does not wait for the disk. Whoever writes a record that refers to blobs or layers and has to
//! survive a power failure calls [`Storage::sync`] before: what was not synced is dropped after a reboot,
//! because nothing can tell whether it is whole.

mod blobs;
mod changes;
mod collect;
mod commit;
mod digest;
mod error;
mod ingest;
mod init;
mod layers;
mod lease;
mod limit;
mod mount;
mod paths;
mod reaper;
mod record;
mod snapshots;
mod space;
mod state;
mod storage;
mod sweep;
#[cfg(test)]
mod tests;
mod trees;
mod verify;

pub use blobs::BlobInfo;
pub use changes::{Change, ChangeKind};
pub use collect::{Collected, Roots};
pub use error::Error;
pub use ingest::{Compression, Layer, LayerIngest, LayerSource};
pub use layers::LayerInfo;
pub use lease::Lease;
pub use record::Driver;
pub use snapshots::Rootfs;
pub use space::Space;
pub use storage::{Config, Storage};
pub use verify::{Aside, Check, Contents};
