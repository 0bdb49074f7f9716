//! Durable tables and journals: atomic, versioned, crash-safe.
//!
//! One SQLite database in WAL mode, one thread that writes. Callers hand over a [`Batch`]; all batches
//! that wait at the same time become one transaction, and all that asked for [`Durability::Disk`] share
//! one `fdatasync`. What is stored is JSON in a versioned envelope (see [`Record`]), read once at start
//! by the service that owns the table; nothing queries the database while requests are served, but for
//! the [`Journal`] of events.
//!
//! What a record means, and when it is written, is the business of its owner.

mod batch;
mod error;
mod journal;
mod queue;
mod record;
mod store;
mod syncer;
#[cfg(test)]
mod tests;
mod writer;

pub use batch::{Batch, Durability};
pub use error::Error;
pub use journal::{Entry, Journal};
pub use record::{Record, Table};
pub use store::Store;
