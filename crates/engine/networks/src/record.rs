//! What is on disk: networks, and the sandboxes of running containers.

use std::net::IpAddr;

use arca_store::Record;
use arca_types::ContainerId;
use serde::{Deserialize, Serialize};

use crate::network::Network;
use crate::spec::Sandbox;

/// A network, under its ID.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NetworkRecord(pub(crate) Network);

impl Record for NetworkRecord {
    const TABLE: &'static str = "networks";
    const VERSION: u32 = 1;
}

/// The network of a running container, under the container's ID.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SandboxRecord {
    /// The container.
    pub(crate) container: ContainerId,
    /// Its name.
    pub(crate) name: String,
    /// Its host name.
    pub(crate) hostname: String,
    /// What it has.
    pub(crate) sandbox: Sandbox,
    /// The name servers that are asked on its behalf for names that are not ours.
    #[serde(default)]
    pub(crate) upstreams: Vec<IpAddr>,
    /// Who reaches its published ports, when the container says so.
    #[serde(default)]
    pub(crate) exposure: Option<String>,
}

impl Record for SandboxRecord {
    const TABLE: &'static str = "sandboxes";
    const VERSION: u32 = 1;
}
