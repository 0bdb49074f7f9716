//! Network namespaces, links, addresses, firewall and published ports.
//!
//! Speaks to the kernel by netlink alone: no program is run. Knows nothing of containers: a sandbox is
//! a network namespace with an ID, an endpoint is a link into it.

mod error;
mod types;

pub use error::{BindError, Error};
pub use types::{MacAddr, ParseError, PortSpec, Protocol, PublishedPort};
