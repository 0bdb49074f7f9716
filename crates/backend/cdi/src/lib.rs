//! Devices described by files (Container Device Interface, `cncf-tags/container-device-interface`).
//!
//! A vendor's file says what a container needs to use a device: nodes, mounts, variables, hooks. This
//! crate reads the files and says what the named devices need together; putting that into a
//! container's configuration is the engine's matter. Everything here blocks.

mod edits;
mod name;
mod registry;
mod spec;
mod yaml;

use std::io;
use std::path::PathBuf;

pub use edits::{DeviceNode, Edits, Hook, Mount};
pub use name::is_qualified;
pub use registry::Registry;

/// Where specifications are by default; the later directory wins.
pub const SPEC_DIRS: [&str; 2] = ["/etc/cdi", "/var/run/cdi"];

/// What can fail.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No file, or contradicting ones, describe these devices.
    #[error("unresolvable CDI devices {}", .0.join(", "))]
    Unresolvable(Vec<String>),
    /// A device node of the host that a device needs.
    #[error("failed to stat CDI host device {}", path.display())]
    Device {
        /// The node.
        path: PathBuf,
        /// Why it cannot be looked at.
        #[source]
        cause: io::Error,
    },
    /// A path that a device needs is not a device node.
    #[error("{} is not a device node", .0.display())]
    NoDevice(PathBuf),
    /// A specification that is not read.
    #[error("failed to load CDI Spec {}: {reason}", path.display())]
    Spec {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}
