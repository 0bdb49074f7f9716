//! `NetworkConnect` and `NetworkDisconnect`: the networks of a container change while it runs, or for its
//! next start.

use std::collections::BTreeMap;
use std::sync::Arc;

use arca_networks::Present;
use arca_store::Durability;

use crate::Error;
use crate::actor::{Actor, Command};
use crate::model::{Endpoint, EndpointRequest, NetworkMode, NetworkSettings};
use crate::network::endpoint_spec;
use crate::service::Containers;

impl Containers {
    /// Puts a container on a further network (`NetworkConnect`): at once when it runs, else with its next
    /// start.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Invalid`] for what is not an address or a network that cannot be
    /// joined; what the network service says. Nothing has changed then.
    pub async fn connect(
        &self,
        id: &str,
        network: String,
        request: EndpointRequest,
    ) -> Result<(), Error> {
        let handle = self.service().index.find(id)?;
        let request = Box::new(request);
        self.ask(&handle, |reply| Command::Connect(network, request, reply))
            .await
    }

    /// Takes a container off a network (`NetworkDisconnect`). With `force` a network that is no more is
    /// forgotten.
    ///
    /// # Errors
    /// [`Error::NotFound`]; with `force`, [`Error::NoEndpoint`]; what the network service says.
    pub async fn disconnect(&self, id: &str, network: String, force: bool) -> Result<(), Error> {
        let handle = match self.service().index.find(id) {
            Err(Error::NotFound(name)) if force => {
                let networks = &self.service().networks;
                networks.resolve(&network).map_err(in_own_words)?;
                return Err(Error::NoEndpoint(name));
            }
            found => found?,
        };
        self.ask(&handle, |reply| Command::Disconnect(network, force, reply))
            .await
    }
}

impl Actor {
    /// Puts the container on a further network.
    pub(crate) async fn connect(
        &mut self,
        network: &str,
        request: EndpointRequest,
    ) -> Result<(), Error> {
        if self.is_going() {
            return Err(Error::MarkedForRemoval("connected to a network"));
        }
        if matches!(self.c.spec.host.network_mode, NetworkMode::Container(_)) {
            return Err(Error::Invalid(
                "container sharing network namespace with another container or host cannot be \
                 connected to any other network"
                    .to_owned(),
            ));
        }
        let wish = endpoint_spec(network, &request)?;
        let networks = self.service.networks.clone();
        let id = self.c.id.clone();
        if self.c.state.process().is_none() {
            let names = self.network_names();
            let name = networks
                .plan(self.present(&names), &wish)
                .map_err(in_own_words)?;
            let endpoint = Endpoint {
                dns_names: networks.dns_names(&id, (&self.c.name, self.c.hostname()), &wish),
                ..Endpoint::asked(request)
            };
            return self
                .set_networks(|all| drop(all.insert(name, endpoint)))
                .await;
        }
        let made = networks.connect(&id, wish).await.map_err(in_own_words)?;
        let entry = Endpoint::asked(request);
        let name = made.network_name.clone();
        Arc::make_mut(&mut self.c.network)
            .networks
            .insert(name, entry);
        self.follow_networks().await
    }

    /// Takes the container off a network.
    pub(crate) async fn disconnect(&mut self, network: &str, force: bool) -> Result<(), Error> {
        if self.is_going() {
            return Err(Error::MarkedForRemoval("disconnected from a network"));
        }
        let networks = self.service.networks.clone();
        let id = self.c.id.clone();
        let found = networks.resolve(network);
        let running = self.c.state.process().is_some();
        if !running || (force && found.is_err()) {
            let names = self.network_names();
            let name = networks
                .planned(&id, self.present(&names), network)
                .map_err(in_own_words)?;
            // No event, as there was no endpoint.
            return self.set_networks(|all| drop(all.remove(&name))).await;
        }
        networks
            .disconnect(&id, network)
            .await
            .map_err(in_own_words)?;
        self.follow_networks().await
    }

    fn network_names(&self) -> Vec<String> {
        let names = self.c.network.networks.keys();
        names
            .map(|name| if name == "default" { "bridge" } else { name })
            .map(str::to_owned)
            .collect()
    }

    fn present<'a>(&'a self, names: &'a [String]) -> Present<'a> {
        Present {
            on_host: self.c.spec.host.network_mode == NetworkMode::Host,
            networks: names,
        }
    }

    /// Changes the networks of a container that does not run.
    async fn set_networks(
        &mut self,
        change: impl FnOnce(&mut BTreeMap<String, Endpoint>),
    ) -> Result<(), Error> {
        let before = Arc::clone(&self.c.network);
        change(&mut Arc::make_mut(&mut self.c.network).networks);
        let saved = self.save(Durability::Disk).await;
        if saved.is_err() {
            self.c.network = before;
        }
        saved
    }

    /// Shows and saves what the network service says now, and brings the files in `/etc` up to date.
    async fn follow_networks(&mut self) -> Result<(), Error> {
        let Some(sandbox) = self.service.networks.sandbox(&self.c.id) else {
            return Ok(());
        };
        let settings: NetworkSettings = self.network_settings(&sandbox);
        self.c.network = Arc::new(settings);
        let written = self.write_files(&sandbox).await;
        self.save(Durability::Process).await?;
        written.map(drop)
    }
}

/// What is wrong with a request is said as it is, without where it was noticed.
fn in_own_words(error: arca_networks::Error) -> Error {
    Error::Networking(Box::new(error))
}
