//! What keeps networks from working on this host, and what was mended.

use std::sync::{Arc, PoisonError};

use arca_events::{Event, Type};
use arca_net::{Obstacle, Repair};
use arca_types::{NetworkId, Timestamp};

use crate::Networks;
use crate::error::Error;
use crate::service::Inner;

/// What was broken from outside and mended since the start.
#[derive(Debug, Default)]
pub(crate) struct Repairs {
    count: u64,
    last: Option<(Timestamp, String)>,
}

impl Networks {
    /// What keeps networks from working on this host, or did so, for people: nothing, usually.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub async fn warnings(&self) -> Result<Vec<String>, Error> {
        let failed = |cause| Error::Network {
            network: "bridge".to_owned(),
            cause,
        };
        let found = self.0.net.obstacles().await.map_err(failed)?;
        let text = |of: Obstacle| {
            format!(
                "WARNING: the firewall chain {} of the table {} {} drops forwarded packets that it does \
                 not know, and with them those of containers",
                of.chain, of.family, of.table
            )
        };
        let mut warnings: Vec<String> = found.into_iter().map(text).collect();
        let legacy = self.0.net.legacy_tables().await.map_err(failed)?;
        if legacy.iter().any(|table| table == "filter") {
            warnings.push(format!(
                "WARNING: legacy iptables rules are in use (tables {}): they apply to containers' packets \
                 besides those of arca",
                legacy.join(", ")
            ));
        }
        let state = self.0.state();
        if let Some((time, what)) = &state.repairs.last {
            warnings.push(format!(
                "WARNING: networks were changed from outside and repaired, {} times since the start of the \
                 daemon; the last time at {time}: {what}",
                state.repairs.count
            ));
        }
        Ok(warnings)
    }
}

impl Inner {
    /// Begins to tell of what the backend mends, once.
    pub(crate) fn read_repairs(self: &Arc<Self>) {
        let Some(mut repairs) = self.net.repairs() else {
            return;
        };
        let inner = Arc::downgrade(self);
        let read = async move {
            while let Some(repair) = repairs.recv().await {
                let Some(inner) = inner.upgrade() else { return };
                inner.tell_repair(repair).await;
            }
        };
        let mut reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        *reader = Some(tokio::spawn(read));
    }

    async fn tell_repair(&self, repair: Repair) {
        let network = {
            let mut state = self.state();
            state.repairs.count += 1;
            state.repairs.last = Some((self.clock.now(), repair.what.clone()));
            let id = repair.network.as_deref();
            let found = id.and_then(|id| {
                let mut all = state.networks.iter();
                all.find(|(known, _): &(&NetworkId, _)| known.as_str() == id)
            });
            found.map(|(_, network)| network.clone())
        };
        let event = match network {
            Some(network) => Event::new(Type::Network, "repair", network.id.as_str())
                .with("name", &network.name)
                .with("type", &network.driver),
            None => Event::new(Type::Network, "repair", &self.config.firewall_table)
                .with("name", &self.config.firewall_table)
                .with("type", "firewall"),
        };
        self.events
            .publish(event.with("reason", &repair.what))
            .await;
    }
}
