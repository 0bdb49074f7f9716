//! At start: what lives goes on, everything else is removed.

use arca_net::{NetworkConfig, SandboxConfig};
use arca_store::{Batch, Durability};
use arca_types::ContainerId;

use crate::Networks;
use crate::addresses::{Addresses, Assigned};
use crate::error::Error;
use crate::network::Network;
use crate::predefined::settle_bridge;
use crate::record::{NetworkRecord, SandboxRecord};
use crate::service::{Inner, State};
use crate::spec::Endpoint;
use crate::translate;

impl Networks {
    /// Takes up the networks of the containers in `live`, and removes what others left: namespaces, links,
    /// redirections, addresses, ports. Once, before anything else is asked.
    ///
    /// # Errors
    /// When the kernel refuses; whatever can be taken up has been.
    pub async fn recover(&self, live: &[ContainerId]) -> Result<(), Error> {
        let inner = &self.0;
        let mut batch = Batch::new();
        let in_use = {
            let mut state = inner.state();
            let gone: Vec<ContainerId> = state
                .sandboxes
                .keys()
                .filter(|id| !live.contains(id))
                .cloned()
                .collect();
            for container in gone {
                batch = batch.delete::<SandboxRecord>(container.as_str());
                state.sandboxes.remove(&container);
            }
            bridge_is_used(&state)
        };
        if let Some(bridge) = settle_bridge(inner, in_use).await? {
            let id = bridge.id.to_string();
            let changed = inner.state().networks.get(&bridge.id) != Some(&bridge);
            if changed {
                batch = batch
                    .put(&id, &NetworkRecord(bridge.clone()))
                    .map_err(Error::Store)?;
                inner.state().networks.insert(bridge.id.clone(), bridge);
            }
        }
        if !batch.is_empty() {
            inner.commit(batch, Durability::Process).await?;
        }
        let (networks, sandboxes) = inner.take_up()?;
        let failed = |cause| Error::Network {
            network: "bridge".to_owned(),
            cause,
        };
        inner
            .net
            .recover(networks, sandboxes.clone())
            .await
            .map_err(failed)?;
        inner.rebind(&sandboxes);
        inner.read_repairs();
        for warning in self.warnings().await? {
            tracing::warn!("{warning}");
        }
        Ok(())
    }
}

fn bridge_is_used(state: &State) -> bool {
    let bridge = state
        .networks
        .values()
        .find(|net| net.predefined && net.name == "bridge");
    bridge.is_some_and(|bridge| state.endpoints_on(&bridge.id).next().is_some())
}

impl Inner {
    /// Fills the addresses from the records, and says what the kernel should have.
    fn take_up(&self) -> Result<(Vec<NetworkConfig>, Vec<SandboxConfig>), Error> {
        let mut guard = self.state();
        let state = &mut *guard;
        let mut networks = Vec::new();
        for network in state.networks.values() {
            networks.extend(translate::network(network, &self.config)?);
            state
                .addresses
                .insert(network.id.clone(), addresses(network));
        }
        let mut sandboxes = Vec::new();
        for live in state.sandboxes.values() {
            for endpoint in &live.record.sandbox.endpoints {
                self.announce(endpoint);
                if let Some(addresses) = state.addresses.get_mut(&endpoint.network) {
                    addresses.restore(assigned(endpoint));
                }
            }
            if live.record.sandbox.netns.is_some() {
                let dns = translate::dns(&live.record);
                sandboxes.push(SandboxConfig {
                    dns,
                    ..translate::sandbox(&live.record.sandbox)?
                });
            }
        }
        Ok((networks, sandboxes))
    }

    /// Holds the ports of the host again.
    fn rebind(&self, sandboxes: &[SandboxConfig]) {
        let mut state = self.state();
        for live in state.sandboxes.values_mut() {
            let file = translate::file_of(&live.record.sandbox);
            let config = sandboxes.iter().find(|config| config.id == file);
            if let Some(config) = config.filter(|config| !config.ports.is_empty()) {
                live.ports = Some(self.net.rebind(&config.ports, config.targets()));
            }
        }
    }
}

/// The addresses of a network with nobody on it.
pub(crate) fn addresses(network: &Network) -> Addresses {
    Addresses::of(network)
}

/// The addresses of an endpoint.
pub(crate) fn assigned(endpoint: &Endpoint) -> Assigned {
    Assigned {
        ipv4: endpoint.ipv4,
        ipv6: endpoint.ipv6,
    }
}
