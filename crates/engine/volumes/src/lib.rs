//! Volumes: directories that outlive containers.
//!
//! This crate owns the names, the records, who uses which volume, and the data below its root. Mounting
//! a volume into a container is the business of whoever runs it: it gets the path.
//!
//! Drivers other than `local`, and the mount options of `local`, are refused.

mod acquire;
mod copy_up;
mod create;
mod error;
mod filter;
mod list;
mod prune;
mod record;
mod remove;
mod volumes;

pub use create::CreateRequest;
pub use error::Error;
pub use filter::Filter;
pub use list::Listed;
pub use prune::Pruned;
pub use record::Volume;
pub use volumes::{Config, Use, Volumes};

#[cfg(test)]
mod tests;
