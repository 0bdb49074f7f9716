//! Containers.

mod answers;
mod config;
mod create;
mod host_config;
mod inspect;
mod list;
mod mount;
mod stats;

pub use answers::*;
pub use config::*;
pub use create::*;
pub use host_config::*;
pub use inspect::*;
pub use list::*;
pub use mount::*;
pub use stats::*;
