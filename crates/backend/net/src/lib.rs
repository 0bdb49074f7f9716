//! Network namespaces, links, addresses, firewall and published ports.
//!
//! Speaks to the kernel by netlink alone: no program is run. Knows nothing of containers: a sandbox is
//! a network namespace with an ID, an endpoint is a link into it. What exists is told by the caller;
//! nothing is kept on disk but the files that keep namespaces alive.

mod clear;
mod config;
mod dns;
mod drivers;
mod error;
mod firewall;
mod forwarding;
mod host;
mod inner;
pub mod ipam;
mod net;
mod netlink;
mod netns;
mod ports;
mod repair;
mod resolvers;
mod sandbox;
mod sysctl;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod types;

pub use config::{
    Config, DriverConfig, EndpointConfig, NetworkConfig, SandboxConfig, Targets, UserNamespace,
};
#[doc(hidden)]
pub use dns::survives as dns_survives;
pub use dns::{DnsConfig, Named, Names, keep_names};
pub use drivers::{BridgeConfig, SubLinkConfig, SubLinkKind};
pub use error::{BindError, Error};
pub use firewall::Obstacle;
pub use net::Net;
pub use ports::{Ports, Reservation};
pub use repair::Repair;
pub use types::{Exposure, MacAddr, ParseError, PortSpec, Protocol, PublishedPort};
