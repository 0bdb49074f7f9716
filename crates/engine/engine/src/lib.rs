//! The engine: its services, wired.
//!
//! [`Engine`] owns the services and has no behaviour of its own: [`Engine::open`] opens them in their
//! order and brings back what was there. [`System`] only reads (`info`, `version`, `df`). [`teardown`] is for
//! a host that the engine leaves.

mod engine;
mod error;
mod host;
mod identity;
mod info;
mod system;
mod teardown;
mod usage;

pub use arca_images::GcPolicy;
pub use engine::{Config, Engine};
pub use error::Error;
pub use info::{Info, Runtime};
pub use system::{Component, System, SystemConfig, Version};
pub use teardown::teardown;
pub use usage::{DiskUsage, Kinds, VolumeUsage};
