//! What something outside has broken: noticed, mended, told.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use crate::config::{EndpointConfig, NetworkConfig};
use crate::error::Error;
use crate::inner::{Inner, lock};
use crate::netlink::watch::{Watch, drain};
use crate::netlink::{Received, Socket, notice};

/// Between two looks at everything: what is broken over and over is not mended faster.
const REST: Duration = Duration::from_millis(500);
/// How many reports may wait to be read; more are in the log alone.
const WAITING: usize = 64;

/// Something that was broken from outside and works again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repair {
    /// The ID of the network; `None` is the firewall's table.
    pub network: Option<String>,
    /// What was wrong.
    pub what: String,
}

/// Where repairs are told.
#[derive(Debug, Clone)]
pub(crate) struct Reports(mpsc::Sender<Repair>);

impl Reports {
    /// A channel for reports.
    pub(crate) fn channel() -> (Self, mpsc::Receiver<Repair>) {
        let (sender, receiver) = mpsc::channel(WAITING);
        (Self(sender), receiver)
    }

    /// Tells a repair, if anybody reads.
    pub(crate) fn tell(&self, repair: Repair) {
        if let Err(error) = self.0.try_send(repair) {
            tracing::debug!(%error, "nobody reads of a repair");
        }
    }
}

/// Watches the links of the host until what is returned is dropped.
///
/// # Errors
/// When the kernel's notifications cannot be had.
pub(crate) fn watch(inner: &Arc<Inner>) -> Result<Watch, Error> {
    let failed = || Error::system("watch the links of the host");
    let socket = Socket::route_notifications(notice::GROUPS).map_err(failed())?;
    let inner: Weak<Inner> = Arc::downgrade(inner);
    let mut last: Option<Instant> = None;
    let mut due = false;
    let notified = move |socket: &mut Socket| {
        let inner = inner.upgrade()?;
        let read = drain(socket, |message| due |= inner.is_suspicious(&message));
        match read {
            Ok(lost) => due |= lost,
            Err(error) => tracing::warn!(%error, "cannot read a change of links"),
        }
        if !due {
            return None;
        }
        let since = last.map_or(REST, |last| last.elapsed());
        if since < REST {
            return Some(REST.saturating_sub(since));
        }
        due = false;
        inner.mend();
        last = Some(Instant::now());
        None
    };
    Watch::start("links", socket, notified).map_err(failed())
}

impl Inner {
    /// Whether a notification may be about damage.
    fn is_suspicious(&self, message: &Received<'_>) -> bool {
        match notice::read(message) {
            notice::Notice::Link(change) => {
                let ours = |name: &str| {
                    let networks = lock(&self.networks);
                    networks
                        .values()
                        .any(|network| network.driver.driver().host_link() == name)
                };
                if lock(&self.attached).contains_key(&change.name) {
                    return change.gone || !change.up || change.master.is_none();
                }
                if ours(&change.name) {
                    return change.gone || !change.up;
                }
                // An uplink, perhaps, with another size of packets.
                !change.gone && !["veth", "bridge"].contains(&change.kind.as_str())
            }
            notice::Notice::AddressGone | notice::Notice::DefaultRoute => true,
            notice::Notice::Other => false,
        }
    }

    /// Looks at every network and endpoint, and makes again what is not there.
    fn mend(&self) {
        // Held for as long: a network that is removed meanwhile must not come back.
        let networks = lock(&self.networks);
        for network in networks.values() {
            match self.mend_network(network) {
                Ok(faults) => {
                    for what in faults {
                        let id = network.id.as_str();
                        tracing::warn!(
                            network = id,
                            what,
                            "repaired what was changed from outside"
                        );
                        self.reports.tell(Repair {
                            network: Some(id.to_owned()),
                            what,
                        });
                    }
                }
                Err(error) => tracing::error!(
                    network = network.id,
                    error = arca_types::chain(&error),
                    "a network was changed from outside and cannot be repaired"
                ),
            }
        }
    }

    fn mend_network(&self, network: &NetworkConfig) -> Result<Vec<String>, Error> {
        let driver = network.driver.driver();
        let mut faults = driver.faults(&self.host)?;
        // Also for what is no fault, such as an uplink that takes less now.
        driver.set_up(&self.host)?;
        let endpoints: Vec<(String, EndpointConfig)> = lock(&self.attached)
            .values()
            .filter(|(_, endpoint)| endpoint.network == network.id)
            .cloned()
            .collect();
        for (sandbox, endpoint) in endpoints {
            let Some(fault) = driver.endpoint_fault(&self.host, &endpoint)? else {
                continue;
            };
            match self.mend_endpoint(network, &sandbox, &endpoint) {
                Ok(()) => faults.push(fault),
                // Its container may be ending just now.
                Err(error) => tracing::warn!(
                    link = endpoint.host_link,
                    error = arca_types::chain(&error),
                    "a link was changed from outside and cannot be repaired"
                ),
            }
        }
        Ok(faults)
    }

    fn mend_endpoint(
        &self,
        network: &NetworkConfig,
        sandbox: &str,
        endpoint: &EndpointConfig,
    ) -> Result<(), Error> {
        let driver = network.driver.driver();
        if driver.reattach(&self.host, endpoint)? {
            return Ok(());
        }
        self.enter(sandbox, |inside| {
            inside.leave(endpoint)?;
            inside.join(driver, endpoint)
        })
    }
}
