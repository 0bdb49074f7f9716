//! Volumes: directories that outlive containers.
//!
//! This crate owns the names, the records, who uses which volume, and the data below its root. Drivers make the
//! data accessible on this host (`drivers`): `local` and `block` are here, others are plugins. Mounting a
//! volume into a container is the business of whoever runs it: it gets the path.

mod acquire;
mod copy_up;
mod create;
mod drivers;
mod error;
mod filter;
mod list;
mod mount;
mod prune;
mod record;
mod remove;
mod volumes;

pub use arca_plugin_client::Config as PluginConfig;
pub use create::CreateRequest;
pub use drivers::Told;
pub use error::Error;
pub use filter::Filter;
pub use list::Listed;
pub use mount::Held;
pub use prune::Pruned;
pub use record::Volume;
pub use volumes::{Config, Use, Volumes};

#[cfg(test)]
mod tests;
