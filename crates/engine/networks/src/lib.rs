//! What Docker means by a network.
//!
//! Owns the records of networks and of the endpoints of running containers, names, addresses and the
//! contents of a container's network files. How packets flow is `arca-net`'s business.

mod config;
mod error;
mod network;
mod spec;

pub use arca_net::{MacAddr, ParseError, PortSpec, Protocol, PublishedPort};
pub use config::{AddressPool, Config, DefaultBridge, DnsSettings};
pub use error::Error;
pub use network::{EndpointSummary, Filter, Inspected, Ipam, IpamPool, Network};
pub use spec::{Endpoint, EndpointSpec, Sandbox, SandboxMode, SandboxSpec};
