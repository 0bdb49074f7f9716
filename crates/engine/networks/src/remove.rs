//! `NetworkDelete` and `NetworkPrune`.

use arca_events::{Event, Type};
use arca_store::{Batch, Durability};
use arca_types::{Timestamp, chain};

use crate::Networks;
use crate::error::Error;
use crate::list::has_label;
use crate::network::Network;
use crate::record::NetworkRecord;
use crate::recover::addresses;
use crate::service::{Inner, State};
use crate::translate;

/// Which unused networks to remove; empty fields let everything pass.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PruneFilter {
    /// Only those made before.
    pub until: Option<Timestamp>,
    /// Labels they have, `key` or `key=value`; all of them.
    pub labels: Vec<String>,
    /// Labels they do not have.
    pub without_labels: Vec<String>,
}

impl Networks {
    /// Removes a network that no running container is on.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Predefined`], [`Error::InUse`]; when the kernel refuses, the network
    /// stays.
    pub async fn remove(&self, name: &str) -> Result<(), Error> {
        let network = {
            let mut state = self.0.state();
            let network = state.resolve(name)?.clone();
            removable(&state, &network)?;
            state.networks.remove(&network.id);
            state.addresses.remove(&network.id);
            network
        };
        self.0.unmake(network).await
    }

    /// Removes every network that nobody uses; returns their names.
    ///
    /// # Errors
    /// Never for one network alone: that one stays, and the log says why.
    pub async fn prune(&self, filter: &PruneFilter) -> Result<Vec<String>, Error> {
        let candidates: Vec<Network> = {
            let state = self.0.state();
            let unused = state
                .networks
                .values()
                .filter(|network| removable(&state, network).is_ok() && filter.passes(network));
            unused.cloned().collect()
        };
        let mut removed = Vec::new();
        for network in candidates {
            match self.remove(network.id.as_str()).await {
                Ok(()) => removed.push(network.name),
                Err(error) => {
                    let error = chain(&error);
                    tracing::warn!(network = network.name, error, "could not remove a network");
                }
            }
        }
        self.0
            .events
            .publish(Event::new(Type::Network, "prune", "").with("reclaimed", "0"))
            .await;
        Ok(removed)
    }
}

impl PruneFilter {
    fn passes(&self, network: &Network) -> bool {
        self.until.is_none_or(|until| network.created < until)
            && self.labels.iter().all(|label| has_label(network, label))
            && !self
                .without_labels
                .iter()
                .any(|label| has_label(network, label))
    }
}

fn removable(state: &State, network: &Network) -> Result<(), Error> {
    if network.predefined {
        return Err(Error::Predefined(network.name.clone()));
    }
    if network.config_only
        && state
            .networks
            .values()
            .any(|other| other.config_from == network.name)
    {
        let text = format!(
            "error while removing network: configuration network \"{}\" is in use",
            network.name
        );
        return Err(Error::Forbidden(text));
    }
    let endpoints: Vec<String> = state
        .endpoints_on(&network.id)
        .map(|(record, endpoint)| {
            format!("name:\"{}\" id:\"{}\"", record.name, endpoint.id.short())
        })
        .collect();
    if endpoints.is_empty() {
        return Ok(());
    }
    Err(Error::InUse {
        network: network.name.clone(),
        endpoints: endpoints.join(", "),
    })
}

impl Inner {
    async fn unmake(&self, network: Network) -> Result<(), Error> {
        let result = async {
            if let Some(config) = translate::network(&network, &self.config)? {
                let failed = |cause| Error::Network {
                    network: network.name.clone(),
                    cause,
                };
                self.net.remove_network(config).await.map_err(failed)?;
            }
            let batch = Batch::new().delete::<NetworkRecord>(network.id.as_str());
            self.commit(batch, Durability::Disk).await
        };
        if let Err(error) = result.await {
            let mut state = self.state();
            state
                .addresses
                .insert(network.id.clone(), addresses(&network));
            state.networks.insert(network.id.clone(), network);
            return Err(error);
        }
        self.publish("destroy", &network, None).await;
        Ok(())
    }
}
