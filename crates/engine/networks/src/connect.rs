//! `NetworkConnect` and `NetworkDisconnect`, of containers that run.

use arca_net::Targets;
use arca_types::{ContainerId, chain};

use crate::Networks;
use crate::check::{canonical, check, exclusive, refuse_configuration};
use crate::endpoint::{choose_default_route, endpoint, release};
use crate::error::Error;
use crate::service::{Inner, Live};
use crate::spec::{Endpoint, EndpointSpec, Sandbox, SandboxMode, SandboxSpec};
use crate::translate::{self, HOST};

impl Networks {
    /// Puts a running container on a further network.
    ///
    /// # Errors
    /// When it is on that network, has no network of its own, or the kernel refuses; nothing has changed
    /// then.
    pub async fn connect(&self, id: &ContainerId, wish: EndpointSpec) -> Result<Endpoint, Error> {
        let inner = &self.0;
        let before = self
            .sandbox(id)
            .ok_or_else(|| Error::NoSandbox(id.clone()))?;
        let made = inner.begin_endpoint(id, &wish)?;
        let result = inner.join(id, &before, &made).await;
        if let Err(error) = result {
            if let Err(error) = inner.leave(id, &made).await {
                let error = chain(&error);
                tracing::warn!(container.id = %id, error, "cannot take back an endpoint");
            }
            return Err(error);
        }
        if let Some(network) = inner.network(&made) {
            inner.publish("connect", &network, Some(id)).await;
        }
        Ok(made)
    }

    /// Takes a running container off a network, by the network's name, ID or beginning of the ID.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::NotConnected`]; when the kernel refuses, what it does not need has
    /// been done.
    pub async fn disconnect(&self, id: &ContainerId, network: &str) -> Result<(), Error> {
        let inner = &self.0;
        let network = self.resolve(network)?;
        if network.driver == HOST && self.sandbox(id).is_some_and(|own| own.netns.is_none()) {
            return Err(Error::Invalid(
                "cannot disconnect container from host network - container was created in host \
                 network mode"
                    .to_owned(),
            ));
        }
        let endpoint = self
            .sandbox(id)
            .and_then(|sandbox| {
                sandbox
                    .endpoints
                    .into_iter()
                    .find(|endpoint| endpoint.network == network.id)
            })
            .ok_or_else(|| Error::NotConnected {
                container: id.clone(),
                network: network.name.clone(),
            })?;
        let result = inner.leave(id, &endpoint).await;
        inner.publish("disconnect", &network, Some(id)).await;
        result
    }
}

impl Inner {
    /// Takes addresses for a further endpoint, and remembers it from the first moment on.
    fn begin_endpoint(&self, id: &ContainerId, wish: &EndpointSpec) -> Result<Endpoint, Error> {
        let mut guard = self.state();
        let state = &mut *guard;
        let network = state.resolve(canonical(&wish.network))?.clone();
        let live = state
            .sandboxes
            .get(id)
            .ok_or_else(|| Error::NoSandbox(id.clone()))?;
        let (sandbox, others) = describe(live);
        refuse_configuration(&network)?;
        check(&network, wish)?;
        if !others.iter().any(|other| other.network == network.id) {
            let on_host = live.record.sandbox.netns.is_none();
            let private = others.iter().any(|other| other.interface.is_empty());
            exclusive(&network, on_host, private)?;
        }
        let made = endpoint(state, id, &sandbox, wish, &others)?;
        if let Some(live) = state.sandboxes.get_mut(id) {
            let endpoints = &mut live.record.sandbox.endpoints;
            endpoints.push(made.clone());
            choose_default_route(endpoints);
        }
        Ok(made)
    }

    async fn join(&self, id: &ContainerId, before: &Sandbox, made: &Endpoint) -> Result<(), Error> {
        let failed = |cause| Error::Backend {
            container: id.short().to_owned(),
            cause,
        };
        // The link comes without a default route; that is moved when it is its turn.
        let config = translate::endpoint(&Endpoint {
            default4: false,
            default6: false,
            ..made.clone()
        })?;
        self.net
            .connect(translate::file_of(before), config)
            .await
            .map_err(failed)?;
        self.follow(id, before).await?;
        self.announce(made);
        self.follow_dns(id).await?;
        self.save(id).await
    }

    /// Removes an endpoint, whatever there is of it.
    async fn leave(&self, id: &ContainerId, endpoint: &Endpoint) -> Result<(), Error> {
        let Some(before) = self.sandbox_of(id) else {
            return Ok(());
        };
        if let Some(live) = self.state().sandboxes.get_mut(id) {
            let endpoints = &mut live.record.sandbox.endpoints;
            endpoints.retain(|other| other.id != endpoint.id);
            choose_default_route(endpoints);
        }
        let failed = |cause| Error::Backend {
            container: id.short().to_owned(),
            cause,
        };
        let left = async {
            if endpoint.interface.is_empty() {
                return Ok(());
            }
            let config = translate::endpoint(endpoint)?;
            self.net
                .disconnect(translate::file_of(&before), config)
                .await
                .map_err(failed)
        };
        let left = left.await;
        self.silence(endpoint);
        let followed = self
            .follow(id, &before)
            .await
            .and(self.follow_dns(id).await);
        let saved = self.save(id).await;
        release(&mut self.state(), endpoint);
        left.and(followed).and(saved)
    }

    /// Brings the default route and the published ports to where they belong now.
    async fn follow(&self, id: &ContainerId, before: &Sandbox) -> Result<(), Error> {
        let Some(now) = self.sandbox_of(id) else {
            return Ok(());
        };
        let failed = |cause| Error::Backend {
            container: id.short().to_owned(),
            cause,
        };
        for gateway in now.endpoints.iter().filter(|now| moved(before, now)) {
            let config = translate::endpoint(gateway)?;
            self.net
                .set_default_route(translate::file_of(&now), config)
                .await
                .map_err(failed)?;
        }
        let (from, to) = (
            translate::sandbox(before)?.targets(),
            translate::sandbox(&now)?.targets(),
        );
        if from == to || now.ports.is_empty() {
            return Ok(());
        }
        self.net
            .withdraw(now.ports.clone(), from)
            .await
            .map_err(failed)?;
        self.republish(id, &now, to).await
    }

    /// Tells the container's DNS server which networks it is on now.
    async fn follow_dns(&self, id: &ContainerId) -> Result<(), Error> {
        let dns = {
            let state = self.state();
            let record = state.sandboxes.get(id).map(|live| &live.record);
            record.and_then(|record| {
                Some((translate::file_of(&record.sandbox), translate::dns(record)?))
            })
        };
        let Some((sandbox, dns)) = dns else {
            return Ok(());
        };
        let failed = |cause| Error::Backend {
            container: id.short().to_owned(),
            cause,
        };
        self.net.serve_dns(sandbox, dns).await.map_err(failed)
    }

    async fn republish(&self, id: &ContainerId, now: &Sandbox, to: Targets) -> Result<(), Error> {
        let failed = |cause| Error::Backend {
            container: id.short().to_owned(),
            cause,
        };
        let old = self
            .state()
            .sandboxes
            .get_mut(id)
            .and_then(|live| live.ports.take());
        if let Some(old) = old {
            old.release().await;
        }
        let ports = self.net.rebind(&now.ports, to);
        if let Some(live) = self.state().sandboxes.get_mut(id) {
            live.ports = Some(ports);
        }
        self.net
            .publish(now.ports.clone(), to)
            .await
            .map_err(failed)
    }

    fn sandbox_of(&self, id: &ContainerId) -> Option<Sandbox> {
        self.state()
            .sandboxes
            .get(id)
            .map(|live| live.record.sandbox.clone())
    }

    fn network(&self, endpoint: &Endpoint) -> Option<crate::Network> {
        self.state().networks.get(&endpoint.network).cloned()
    }
}

/// Whether an endpoint gives a default route that it did not give before.
fn moved(before: &Sandbox, now: &Endpoint) -> bool {
    let was = before.endpoints.iter().find(|was| was.id == now.id);
    (now.default4 && !was.is_some_and(|was| was.default4))
        || (now.default6 && !was.is_some_and(|was| was.default6))
}

/// The container as it was described at its start, and its endpoints.
fn describe(live: &Live) -> (SandboxSpec, Vec<Endpoint>) {
    let record = &live.record;
    let spec = SandboxSpec {
        name: record.name.clone(),
        hostname: record.hostname.clone(),
        mode: SandboxMode::Own,
        endpoints: Vec::new(),
        ports: Vec::new(),
        name_servers: Vec::new(),
        exposure: record.exposure.clone(),
        remapped: false,
    };
    (spec, record.sandbox.endpoints.clone())
}
