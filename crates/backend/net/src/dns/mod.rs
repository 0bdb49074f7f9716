//! Names: a DNS server at 127.0.0.11 in every sandbox that asks for one.
//!
//! It listens on ports that the kernel chose, and a firewall table *inside* the sandbox leads port 53 of
//! that address there, so that programs in the sandbox may have port 53 for themselves.

mod message;
mod names;
mod server;
mod upstream;

use std::net::IpAddr;

pub use names::{Named, Names};
pub(crate) use server::{ADDRESS, Server, Sockets};
pub(crate) use upstream::Upstreams;

/// The port of DNS.
const PORT: u16 = 53;

/// The DNS server of a sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsConfig {
    /// The networks whose names it knows, by ID, in order.
    pub networks: Vec<String>,
    /// The servers, as the host reaches them, that are asked for other names.
    pub upstreams: Vec<IpAddr>,
}

impl DnsConfig {
    pub(crate) fn upstreams(&self) -> Upstreams {
        Upstreams::new(&self.upstreams, PORT)
    }
}

#[cfg(test)]
mod tests;
