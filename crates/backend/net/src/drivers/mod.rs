//! The kinds of networks. Each is one file behind [`NetworkDriver`].

mod bridge;
mod sublink;

use std::fmt;
use std::os::fd::BorrowedFd;

pub use bridge::BridgeConfig;
pub(crate) use bridge::LINK_PREFIX;
pub use sublink::{SubLinkConfig, SubLinkKind};

use crate::config::EndpointConfig;
use crate::error::Error;
use crate::host::Host;

/// How the endpoints of a network come to be.
///
/// Every operation may be repeated: after a crash nobody knows how far the last one came.
pub(crate) trait NetworkDriver: fmt::Debug + Send + Sync {
    /// Makes what the network needs on the host, or completes it.
    fn set_up(&self, host: &Host) -> Result<(), Error>;

    /// Removes what [`set_up`](Self::set_up) made.
    fn tear_down(&self, host: &Host) -> Result<(), Error>;

    /// Makes the endpoint's link in the namespace `netns`: named, with its hardware address, down.
    fn join(
        &self,
        host: &Host,
        netns: BorrowedFd<'_>,
        endpoint: &EndpointConfig,
    ) -> Result<(), Error>;

    /// Asks for each link of the host that the endpoint's packets pass: see `Inside::settle`.
    fn settle(&self, host: &Host, endpoint: &EndpointConfig) -> Result<(), Error>;

    /// Cuts an endpoint off: nobody answers to its addresses any more, and nothing of it stays on the host
    /// once its link inside, or the namespace, is gone.
    fn leave(&self, host: &Host, endpoint: &EndpointConfig) -> Result<(), Error>;

    /// The name of the host's link that the network stands on.
    fn host_link(&self) -> &str;

    /// What is not as [`set_up`](Self::set_up) left it, in words.
    fn faults(&self, host: &Host) -> Result<Vec<String>, Error>;

    /// What is wrong with the host's end of an endpoint, in words.
    fn endpoint_fault(
        &self,
        host: &Host,
        endpoint: &EndpointConfig,
    ) -> Result<Option<String>, Error>;

    /// Puts the host's end of an endpoint where it belongs; `false` when there is none any more.
    fn reattach(&self, host: &Host, endpoint: &EndpointConfig) -> Result<bool, Error>;

    /// Removes links on the host that belong to this network and to none of `live`.
    fn sweep(&self, host: &Host, live: &[&EndpointConfig]) -> Result<(), Error>;
}
