//! The service: what it holds, and how it begins.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arca_events::{Event, Events, Type};
use arca_net::{Exposure, Net, Reservation};
use arca_store::{Batch, Durability, Store};
use arca_types::{Clock, ContainerId, NetworkId};
use tokio::task::JoinHandle;

use crate::addresses::Addresses;
use crate::config::Config;
use crate::error::Error;
use crate::network::Network;
use crate::predefined;
use crate::record::{NetworkRecord, SandboxRecord};
use crate::repairs::Repairs;
use crate::spec::Sandbox;

/// Networks and the sandboxes of running containers. A cheap handle.
#[derive(Debug, Clone)]
pub struct Networks(pub(crate) Arc<Inner>);

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) config: Config,
    pub(crate) store: Store,
    pub(crate) events: Events,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) net: Net,
    state: Mutex<State>,
    /// Reads what the backend mends.
    pub(crate) reader: Mutex<Option<JoinHandle<()>>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        let reader = self.reader.get_mut();
        let reader = reader.unwrap_or_else(PoisonError::into_inner);
        if let Some(reader) = reader.take() {
            reader.abort();
        }
    }
}

/// What is known of every network and sandbox. Held for a moment, never while something is waited for.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// The networks.
    pub(crate) networks: BTreeMap<NetworkId, Network>,
    /// The addresses of each network that has some.
    pub(crate) addresses: HashMap<NetworkId, Addresses>,
    /// The sandboxes of running containers.
    pub(crate) sandboxes: HashMap<ContainerId, Live>,
    /// Who reaches published ports where nobody says so.
    pub(crate) exposure: Exposure,
    /// What was broken from outside and mended since the start.
    pub(crate) repairs: Repairs,
}

/// The sandbox of a running container.
#[derive(Debug)]
pub(crate) struct Live {
    pub(crate) record: SandboxRecord,
    /// Its ports of the host.
    pub(crate) ports: Option<Reservation>,
}

impl Networks {
    /// Opens the service: reads its records, and makes the predefined networks when there are none. The
    /// kernel is left alone until [`recover`](Self::recover). It blocks.
    ///
    /// # Errors
    /// When records cannot be read, or the kernel's interfaces cannot be opened.
    pub fn open(
        config: Config,
        store: &Store,
        events: Events,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, Error> {
        let net = Net::open(config.backend()).map_err(|cause| Error::Network {
            network: "bridge".to_owned(),
            cause,
        })?;
        let mut state = State {
            exposure: config.exposure,
            ..State::default()
        };
        for (_, NetworkRecord(network)) in store
            .table::<NetworkRecord>()
            .load_all()
            .map_err(Error::Store)?
        {
            state.networks.insert(network.id.clone(), network);
        }
        for (_, record) in store
            .table::<SandboxRecord>()
            .load_all()
            .map_err(Error::Store)?
        {
            state.sandboxes.insert(
                record.container.clone(),
                Live {
                    record,
                    ports: None,
                },
            );
        }
        let batch = predefined::complete(&mut state, &config, clock.now())?;
        if !batch.is_empty() {
            store
                .commit_blocking(batch, Durability::Process)
                .map_err(Error::Store)?;
        }
        let inner = Inner {
            config,
            store: store.clone(),
            events,
            clock,
            net,
            state: Mutex::new(state),
            reader: Mutex::default(),
        };
        Ok(Self(Arc::new(inner)))
    }

    /// Ends what runs beside this process for networks, unless a container needs it. The last thing to be asked.
    pub async fn close(&self) {
        if let Err(error) = self.0.net.close().await {
            let error = arca_types::chain(&error);
            tracing::warn!(error, "what runs for networks does not end");
        }
    }

    /// The network of a running container; `None` when it does not run, or has that of another one.
    #[must_use]
    pub fn sandbox(&self, container: &ContainerId) -> Option<Sandbox> {
        let state = self.0.state();
        state
            .sandboxes
            .get(container)
            .map(|live| live.record.sandbox.clone())
    }

    /// The addresses that `host-gateway` stands for: those of the configuration, or the gateways of the
    /// predefined network `bridge`.
    #[must_use]
    pub fn host_gateway(&self) -> Vec<IpAddr> {
        if !self.0.config.host_gateway_ips.is_empty() {
            return self.0.config.host_gateway_ips.clone();
        }
        let state = self.0.state();
        let bridge = state
            .networks
            .values()
            .find(|net| net.predefined && net.name == "bridge");
        bridge
            .into_iter()
            .flat_map(|net| &net.ipam.pools)
            .map(|pool| pool.gateway)
            .collect()
    }
}

impl Inner {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes changes of records.
    pub(crate) async fn commit(&self, batch: Batch, durability: Durability) -> Result<(), Error> {
        self.store
            .commit(batch, durability)
            .await
            .map_err(Error::Store)
    }

    /// Tells that something happened to a network.
    pub(crate) async fn publish(
        &self,
        action: &str,
        network: &Network,
        container: Option<&ContainerId>,
    ) {
        let mut event = Event::new(Type::Network, action, network.id.as_str())
            .with("name", &network.name)
            .with("type", &network.driver);
        if let Some(container) = container {
            event = event.with("container", container.as_str());
        }
        self.events.publish(event).await;
    }

    /// What the API shows as the key of the host's namespace.
    pub(crate) fn host_key(&self) -> PathBuf {
        self.config.exec_root.join("netns").join("default")
    }
}

impl State {
    /// Finds a network by its ID, its name or a part of its ID at the beginning, in this order.
    pub(crate) fn resolve(&self, name: &str) -> Result<&Network, Error> {
        let not_found = || Error::NotFound(name.to_owned());
        if name.is_empty() {
            return Err(not_found());
        }
        let by_id = self.networks.values().find(|it| it.id.as_str() == name);
        let exact = by_id.or_else(|| self.networks.values().find(|it| it.name == name));
        if let Some(network) = exact {
            return Ok(network);
        }
        let mut matches = self
            .networks
            .values()
            .filter(|network| network.id.as_str().starts_with(name));
        match (matches.next(), matches.count()) {
            (None, _) => Err(not_found()),
            (Some(network), 0) => Ok(network),
            (Some(_), more) => Err(Error::Ambiguous(name.to_owned(), more + 1)),
        }
    }

    /// The endpoints on a network: container, its name and the endpoint.
    pub(crate) fn endpoints_on<'a>(
        &'a self,
        network: &'a NetworkId,
    ) -> impl Iterator<Item = (&'a SandboxRecord, &'a crate::Endpoint)> {
        self.sandboxes.values().flat_map(move |live| {
            let endpoints = live.record.sandbox.endpoints.iter();
            endpoints
                .filter(move |endpoint| endpoint.network == *network)
                .map(|endpoint| (&live.record, endpoint))
        })
    }
}
