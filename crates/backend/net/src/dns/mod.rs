//! Names: a DNS server at 127.0.0.11 in every sandbox that asks for one.
//!
//! It listens on ports that the kernel chose, and a firewall table *inside* the sandbox leads port 53 of
//! that address there, so that programs in the sandbox may have port 53 for themselves.

mod cache;
mod keeper;
mod kept;
mod message;
mod names;
mod orders;
mod server;
mod upstream;

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

pub use keeper::keep_names;
pub(crate) use kept::Kept;
pub use names::{Named, Names};
pub(crate) use orders::Order;
pub(crate) use server::{ADDRESS, Server, Sockets};
pub(crate) use upstream::Upstreams;

/// The port of DNS.
const PORT: u16 = 53;

/// The DNS server of a sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DnsConfig {
    /// The networks whose names it knows, by ID, in order.
    pub networks: Vec<String>,
    /// The servers, as the host reaches them, that are asked for other names.
    pub upstreams: Vec<IpAddr>,
    /// Further names that are known here alone, in lower case, each for another name.
    #[serde(default)]
    pub links: BTreeMap<String, String>,
}

impl DnsConfig {
    pub(crate) fn upstreams(&self) -> Upstreams {
        Upstreams::new(&self.upstreams, PORT)
    }
}

/// Reads a message as a server does, and makes the answer of one that knows an address for every name; for
/// tests with bytes that nobody chose.
#[doc(hidden)]
#[must_use]
pub fn survives(bytes: &[u8]) -> Option<Vec<u8>> {
    let Some(query) = message::parse(bytes) else {
        return message::malformed(bytes);
    };
    let _address = message::reverse(&query.name);
    let answers = vec![message::Answer::Address(IpAddr::from([192, 0, 2, 1])); 40];
    let response = message::respond(bytes, &query, message::code::OK, &answers);
    let fitting = message::fit(response, &query);
    let _own = message::answers(&fitting, bytes, &query);
    let mut old = bytes.to_vec();
    let _good = message::good_for(&old);
    message::grow_older(&mut old, 7);
    Some(fitting)
}

#[cfg(test)]
mod tests;
