//! What Docker means by a network.
//!
//! Owns the records of networks and of the endpoints of running containers, names, addresses and the
//! contents of a container's network files. How packets flow is `arca-net`'s business.

mod addresses;
mod attach;
mod check;
mod config;
mod connect;
mod create;
mod create_check;
mod detach;
mod endpoint;
mod error;
mod files;
mod list;
mod network;
mod options;
mod predefined;
mod record;
mod recover;
mod remove;
mod repairs;
mod service;
mod spec;
mod sublink;
mod subnets;
mod teardown;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod translate;

pub use arca_net::{
    Exposure, MacAddr, ParseError, PortSpec, Protocol, PublishedPort, UserNamespace,
};
pub use check::Present;
pub use config::{AddressPool, Config, DefaultBridge, DnsSettings};
pub use create::NetworkSpec;
pub use error::Error;
pub use files::{FilesSpec, NetworkFiles};
pub use network::{EndpointSummary, Filter, Inspected, Ipam, IpamPool, Network};
pub use options::EXPOSURE;
pub use remove::PruneFilter;
pub use service::Networks;
pub use spec::{Endpoint, EndpointSpec, Sandbox, SandboxMode, SandboxSpec};
pub use subnets::PoolSpec;
