//! Looking at networks.

use arca_types::ContainerId;

use crate::Networks;
use crate::error::Error;
use crate::network::{EndpointSummary, Filter, Inspected, Network};
use crate::service::State;

impl Networks {
    /// Finds a network by its name, its ID or the beginning of its ID (`default` is `bridge`).
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Ambiguous`].
    pub fn resolve(&self, name: &str) -> Result<Network, Error> {
        self.0
            .state()
            .resolve(crate::check::canonical(name))
            .cloned()
    }

    /// Finds a network and tells who is on it.
    ///
    /// # Errors
    /// As [`resolve`](Self::resolve).
    pub fn inspect(&self, name: &str) -> Result<Inspected, Error> {
        let state = self.0.state();
        let network = state.resolve(name)?;
        Ok(inspected(&state, network))
    }

    /// Lists networks with who is on them.
    #[must_use]
    pub fn list(&self, filter: &Filter) -> Vec<Inspected> {
        let state = self.0.state();
        let passing = state
            .networks
            .values()
            .filter(|network| filter.passes(&state, network));
        passing.map(|network| inspected(&state, network)).collect()
    }

    /// Follows a container's new name.
    ///
    /// # Errors
    /// When the record cannot be written.
    pub async fn rename(&self, id: &ContainerId, name: &str) -> Result<(), Error> {
        let mut endpoints = Vec::new();
        if let Some(live) = self.0.state().sandboxes.get_mut(id) {
            let old = std::mem::replace(&mut live.record.name, name.to_owned());
            for endpoint in &mut live.record.sandbox.endpoints {
                let own = endpoint.dns_names.iter_mut().filter(|known| **known == old);
                own.for_each(|known| name.clone_into(known));
                endpoints.push(endpoint.clone());
            }
        }
        endpoints
            .iter()
            .for_each(|endpoint| self.0.announce(endpoint));
        self.0.save(id).await
    }
}

fn inspected(state: &State, network: &Network) -> Inspected {
    let containers = state
        .endpoints_on(&network.id)
        .map(|(record, endpoint)| {
            let summary = EndpointSummary {
                name: record.name.clone(),
                endpoint: endpoint.id.clone(),
                mac: endpoint.mac,
                ipv4: endpoint.ipv4,
                ipv6: endpoint.ipv6,
            };
            (record.container.clone(), summary)
        })
        .collect();
    Inspected {
        network: network.clone(),
        containers,
    }
}

impl Filter {
    /// Whether a network passes.
    pub(crate) fn passes(&self, state: &State, network: &Network) -> bool {
        let any = |wanted: &[String], fits: &dyn Fn(&str) -> bool| {
            wanted.is_empty() || wanted.iter().any(|value| fits(value))
        };
        any(&self.names, &|part| network.name.contains(part))
            && any(&self.ids, &|part| network.id.as_str().contains(part))
            && any(&self.drivers, &|driver| network.driver == driver)
            && any(&self.scopes, &|scope| scope == "local")
            && self.labels.iter().all(|label| has_label(network, label))
            && (self.kinds.is_empty() || self.kinds.contains(&network.predefined))
            && self.dangling.is_none_or(|dangling| {
                let unused = state.endpoints_on(&network.id).next().is_none();
                (!network.predefined && unused) == dangling
            })
    }
}

/// Whether a network has a label `key`, or `key=value`.
pub(crate) fn has_label(network: &Network, label: &str) -> bool {
    match label.split_once('=') {
        Some((key, value)) => network.labels.get(key).is_some_and(|found| found == value),
        None => network.labels.contains_key(label),
    }
}
