//! A container starts: it gets its network, or nothing is left behind.

use std::net::IpAddr;

use arca_net::{Named, PortSpec, Reservation, Targets};
use arca_store::{Batch, Durability};
use arca_types::{ContainerId, chain, random_hex};

use crate::Networks;
use crate::endpoint::endpoints;
use crate::error::Error;
use crate::options::BridgeOptions;
use crate::record::SandboxRecord;
use crate::service::{Inner, Live};
use crate::spec::{Endpoint, Sandbox, SandboxMode, SandboxSpec};
use crate::translate;

impl Networks {
    /// Gives a container its network for as long as it runs.
    ///
    /// # Errors
    /// When a network is missing, addresses or ports are taken, or the kernel refuses; nothing is left
    /// behind then.
    pub async fn attach(&self, id: &ContainerId, spec: SandboxSpec) -> Result<Sandbox, Error> {
        if let SandboxMode::Container(other) = &spec.mode {
            return self.0.share(other);
        }
        if self.sandbox(id).is_some() {
            // Left by a start that was interrupted.
            self.detach(id).await?;
        }
        let inner = &self.0;
        let upstreams = inner.upstreams(&spec.name_servers).await;
        let sandbox = inner.begin(id, &spec, upstreams)?;
        let done = match spec.mode {
            SandboxMode::Own => inner.bring_up(id, sandbox, &spec).await,
            SandboxMode::Host | SandboxMode::Container(_) => inner.save(id).await.map(|()| sandbox),
        };
        match done {
            Ok(sandbox) => {
                sandbox
                    .endpoints
                    .iter()
                    .for_each(|endpoint| inner.announce(endpoint));
                inner.tell(id, &sandbox, "connect").await;
                Ok(sandbox)
            }
            Err(error) => {
                if let Err(error) = inner.take_down(id).await {
                    let error = chain(&error);
                    tracing::warn!(container.id = %id, error, "cannot take back a network");
                }
                Err(error)
            }
        }
    }
}

impl Inner {
    /// The network of another container.
    fn share(&self, other: &ContainerId) -> Result<Sandbox, Error> {
        let state = self.state();
        let live = state
            .sandboxes
            .get(other)
            .ok_or_else(|| Error::NotRunning(other.clone()))?;
        Ok(Sandbox {
            id: String::new(),
            netns: live.record.sandbox.netns.clone(),
            key: String::new(),
            endpoints: Vec::new(),
            ports: Vec::new(),
        })
    }

    /// Reserves addresses, and remembers the sandbox from the first moment on.
    fn begin(
        &self,
        id: &ContainerId,
        spec: &SandboxSpec,
        upstreams: Vec<IpAddr>,
    ) -> Result<Sandbox, Error> {
        let sandbox_id = random_hex(32);
        let own = matches!(spec.mode, SandboxMode::Own);
        let mut guard = self.state();
        let endpoints = endpoints(&mut guard, id, spec)?;
        let mut sandbox = Sandbox {
            netns: None,
            key: self.host_key().display().to_string(),
            id: sandbox_id,
            endpoints,
            ports: Vec::new(),
        };
        if own {
            let path = self.net.netns_path(&translate::file_of(&sandbox));
            sandbox.key = path.display().to_string();
            sandbox.netns = Some(path);
        }
        let record = SandboxRecord {
            container: id.clone(),
            name: spec.name.clone(),
            hostname: spec.hostname.clone(),
            sandbox: sandbox.clone(),
            upstreams,
            exposure: spec.exposure.clone(),
        };
        guard.sandboxes.insert(
            id.clone(),
            Live {
                record,
                ports: None,
            },
        );
        Ok(sandbox)
    }

    /// Ports, record, namespace: the record is written while the kernel works.
    async fn bring_up(
        &self,
        id: &ContainerId,
        mut sandbox: Sandbox,
        spec: &SandboxSpec,
    ) -> Result<Sandbox, Error> {
        let mut config = translate::sandbox(&sandbox)?;
        config.remapped = spec.remapped;
        config.dns = self
            .state()
            .sandboxes
            .get(id)
            .and_then(|live| translate::dns(&live.record));
        if let Some(reservation) = self.reserve(id, &sandbox, config.targets(), &spec.ports)? {
            sandbox.ports = reservation.ports();
            config.ports = reservation.ports();
            if let Some(live) = self.state().sandboxes.get_mut(id) {
                live.record.sandbox.ports = reservation.ports();
                live.ports = Some(reservation);
            }
        }
        let (saved, attached) = tokio::join!(self.save(id), self.net.attach(config.clone()));
        saved?;
        match attached {
            Err(arca_net::Error::NoNetwork(_)) => {
                // Somebody removed the bridge: make it again.
                self.repair_networks(&sandbox).await?;
                self.net.attach(config).await
            }
            other => other,
        }
        .map_err(|cause| Error::Backend {
            container: id.short().to_owned(),
            cause,
        })?;
        Ok(sandbox)
    }

    /// Reserves the host's side of published ports.
    pub(crate) fn reserve(
        &self,
        id: &ContainerId,
        sandbox: &Sandbox,
        targets: Targets,
        ports: &[PortSpec],
    ) -> Result<Option<Reservation>, Error> {
        let publisher = sandbox.endpoints.iter().find(|endpoint| endpoint.publishes);
        let (Some(publisher), false) = (publisher, ports.is_empty()) else {
            return Ok(None);
        };
        let (name, host_ip) = {
            let state = self.state();
            let name = state.sandboxes.get(id).map(|live| live.record.name.clone());
            let network = state.networks.get(&publisher.network);
            let options = network.map(|network| BridgeOptions::parse(&network.options));
            let host_ip = options
                .transpose()?
                .and_then(|options| options.host_binding);
            (
                name.unwrap_or_default(),
                host_ip.or(self.config.default_host_ip),
            )
        };
        let failed = |cause| Error::Publish {
            name,
            endpoint: publisher.id.clone(),
            cause: self.with_owner(cause),
        };
        self.net
            .ports()
            .reserve(ports, targets, host_ip)
            .map(Some)
            .map_err(failed)
    }

    /// Says which container has the port that is the cause.
    fn with_owner(&self, mut cause: arca_net::Error) -> arca_net::Error {
        if let arca_net::Error::PortAllocated {
            protocol,
            port,
            owner,
            ..
        } = &mut cause
        {
            let state = self.state();
            let mut records = state.sandboxes.values().map(|live| &live.record);
            let found = records.find(|record| {
                let mut ports = record.sandbox.ports.iter();
                ports.any(|one| (one.protocol, one.host_port) == (*protocol, *port))
            });
            *owner = found.map(|record| format!("container {}", record.name));
        }
        cause
    }

    async fn repair_networks(&self, sandbox: &Sandbox) -> Result<(), Error> {
        for endpoint in &sandbox.endpoints {
            let network = self.state().networks.get(&endpoint.network).cloned();
            let Some(network) = network else { continue };
            if let Some(config) = translate::network(&network, &self.config)? {
                let failed = |cause| Error::Network {
                    network: network.name.clone(),
                    cause,
                };
                self.net.repair_network(config).await.map_err(failed)?;
            }
        }
        Ok(())
    }

    /// Writes the record of a sandbox.
    pub(crate) async fn save(&self, id: &ContainerId) -> Result<(), Error> {
        let record = self
            .state()
            .sandboxes
            .get(id)
            .map(|live| live.record.clone());
        let Some(record) = record else {
            return Ok(());
        };
        let batch = Batch::new()
            .put(id.as_str(), &record)
            .map_err(Error::Store)?;
        self.commit(batch, Durability::Process).await
    }

    /// Makes an endpoint's names known on its network.
    pub(crate) fn announce(&self, endpoint: &Endpoint) {
        if endpoint.dns_names.is_empty() {
            return;
        }
        let ipv4 = endpoint.ipv4.map(|net| IpAddr::V4(net.addr()));
        let ipv6 = endpoint.ipv6.map(|net| IpAddr::V6(net.addr()));
        let named = Named {
            names: endpoint.dns_names.clone(),
            addresses: ipv4.into_iter().chain(ipv6).collect(),
        };
        let (network, id) = (endpoint.network.as_str(), endpoint.id.as_str());
        self.net
            .names()
            .set(network, &endpoint.network_name, id, named);
    }

    /// Forgets an endpoint's names.
    pub(crate) fn silence(&self, endpoint: &Endpoint) {
        self.net
            .names()
            .remove(endpoint.network.as_str(), endpoint.id.as_str());
    }

    /// Tells that a container joined or left each of its networks.
    pub(crate) async fn tell(&self, id: &ContainerId, sandbox: &Sandbox, action: &str) {
        for endpoint in &sandbox.endpoints {
            let network = self.state().networks.get(&endpoint.network).cloned();
            if let Some(network) = network {
                self.publish(action, &network, Some(id)).await;
            }
        }
    }
}
