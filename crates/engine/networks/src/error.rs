//! Everything that can go wrong with a network. The texts are part of the API.

use arca_types::{Classify, ContainerId, EndpointId, ErrorKind, NetworkId};

/// A failure of a network operation.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum Error {
    #[error("network {0} not found")]
    NotFound(String),
    #[error("network {0} is ambiguous ({1} matches found based on ID prefix)")]
    Ambiguous(String, usize),
    #[error("configuration network \"{0}\" does not exist")]
    NoConfiguration(String),
    #[error("network with name {0} already exists")]
    Exists(String),
    #[error("{0} is a pre-defined network and cannot be removed")]
    Predefined(String),
    #[error("operation is not permitted on predefined {0} network ")]
    PredefinedName(String),
    #[error("error while removing network: network {network} has active endpoints ({endpoints})")]
    InUse { network: String, endpoints: String },
    #[error("plugin \"{0}\" not found")]
    NoDriver(String),
    #[error("endpoint with name {name} already exists in network {network}")]
    EndpointExists { name: String, network: String },
    #[error("container {container} is not connected to network {network}")]
    NotConnected {
        container: ContainerId,
        network: String,
    },
    #[error("container {0} is not connected to any network")]
    NoSandbox(ContainerId),
    #[error("cannot join network namespace of a non running container: {0}")]
    NotRunning(ContainerId),
    #[error("container {container} is not connected to the network {network}")]
    NotPlanned {
        container: ContainerId,
        network: String,
    },
    #[error("invalid endpoint settings:\n{0}")]
    EndpointSettings(String),
    #[error("invalid config for network {network}: {problem}")]
    InvalidEndpoint { network: String, problem: String },
    #[error("{0} is not supported")]
    Unsupported(String),
    #[error("{0}")]
    Invalid(String),
    #[error("{0}")]
    Conflict(String),
    #[error("{0}")]
    Forbidden(String),
    /// What dockerd answers with 500, in full words.
    #[error("{0}")]
    Failed(String),
    #[error("Address already in use")]
    AddressInUse,
    #[error(
        "no available IPv{version} addresses on this network's address pools: {network} ({id})"
    )]
    Exhausted {
        version: u8,
        network: String,
        id: NetworkId,
    },
    #[error("invalid pool request: Pool overlaps with other one on this address space")]
    PoolOverlap,
    #[error("all predefined address pools have been fully subnetted")]
    NoPool,
    #[error("driver failed programming external connectivity on endpoint {name} ({endpoint})")]
    Publish {
        name: String,
        endpoint: EndpointId,
        #[source]
        cause: arca_net::Error,
    },
    #[error("failed to set up the network of container {container}")]
    Backend {
        container: String,
        #[source]
        cause: arca_net::Error,
    },
    #[error(transparent)]
    Driver(arca_net::Error),
    #[error("failed to set up network {network}")]
    Network {
        network: String,
        #[source]
        cause: arca_net::Error,
    },
    #[error("cannot store the state of networks")]
    Store(#[source] arca_store::Error),
}

impl Classify for Error {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NotFound(_)
            | Self::NoConfiguration(_)
            | Self::NoDriver(_)
            | Self::NoSandbox(_) => ErrorKind::NotFound,
            Self::Exists(_) | Self::Conflict(_) | Self::NotRunning(_) => ErrorKind::Conflict,
            Self::NoPool
            | Self::Ambiguous(..)
            | Self::InvalidEndpoint { .. }
            | Self::EndpointSettings(_)
            | Self::Invalid(_) => ErrorKind::InvalidParameter,
            Self::Predefined(_)
            | Self::PredefinedName(_)
            | Self::InUse { .. }
            | Self::PoolOverlap
            | Self::AddressInUse
            | Self::EndpointExists { .. }
            | Self::Forbidden(_) => ErrorKind::Forbidden,
            Self::Unsupported(_) => ErrorKind::NotImplemented,
            Self::Failed(_)
            | Self::NotConnected { .. }
            | Self::NotPlanned { .. }
            | Self::Exhausted { .. }
            | Self::Publish { .. }
            | Self::Backend { .. }
            | Self::Network { .. }
            | Self::Driver(_)
            | Self::Store(_) => ErrorKind::Internal,
        }
    }
}
