//! Docker's plugin protocol, from the engine's side: programs of the host that answer JSON requests on a
//! socket (docs.docker.com, "Docker Plugin API" and "Docker volume plugins").
//!
//! - [`Plugins`] finds them by name, in the directories that dockerd looks in, and activates them.
//! - [`Plugin`] is one that has been activated; [`Plugin::call`] asks it something.
//! - [`volume`] has the requests of volume drivers.

mod client;
mod discovery;
mod error;
pub mod volume;

pub use client::Plugin;
pub use discovery::{Config, Plugins};
pub use error::Error;
