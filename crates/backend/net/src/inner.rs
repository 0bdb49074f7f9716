//! What the backend does, on threads that may block.

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;

use crate::config::{Config, EndpointConfig, NetworkConfig, SandboxConfig, Targets};
use crate::dns::{Kept, Names, Sockets};
use crate::error::Error;
use crate::firewall::{self, Forward};
use crate::forwarding;
use crate::host::Host;
use crate::netlink::watch::Watch;
use crate::netns::{self, Netns};
use crate::ports::Ports;
use crate::repair::{self, Repair, Reports};
use crate::resolvers::Resolvers;
use crate::sandbox::Inside;
use crate::types::{Exposure, PublishedPort};

/// What the handles share.
#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) config: Config,
    pub(crate) host: Host,
    pub(crate) networks: Mutex<BTreeMap<String, NetworkConfig>>,
    pub(crate) ports: Ports,
    pub(crate) names: Arc<Names>,
    pub(crate) resolvers: Mutex<Resolvers>,
    pub(crate) kept: Option<Arc<Kept>>,
    pub(crate) watches: Mutex<Vec<Watch>>,
    /// The endpoints that are in use: sandbox and endpoint by the name of the host's link.
    pub(crate) attached: Mutex<BTreeMap<String, (String, EndpointConfig)>>,
    pub(crate) reports: Reports,
    pub(crate) repairs: Mutex<Option<mpsc::Receiver<Repair>>>,
}

/// Locks, whatever happened to who held it before.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Inner {
    pub(crate) fn network(&self, id: &str) -> Result<NetworkConfig, Error> {
        lock(&self.networks)
            .get(id)
            .cloned()
            .ok_or_else(|| Error::NoNetwork(id.to_owned()))
    }

    /// Where it is kept, as long as the host is up, what was changed of it.
    pub(crate) fn run_dir(&self) -> &Path {
        let netns_dir = &self.config.netns_dir;
        netns_dir.parent().unwrap_or(netns_dir)
    }

    pub(crate) fn enable_forwarding(&self, ipv6: bool) -> Result<(), Error> {
        let guard = forwarding::enable(self.run_dir(), self.config.ip_forward, ipv6)?;
        self.host.firewall.set_guard(guard);
        Ok(())
    }

    /// Begins to look for changes by others, once.
    pub(crate) fn watch(self: &Arc<Self>) -> Result<(), Error> {
        let mut watches = lock(&self.watches);
        if watches.is_empty() {
            let rules = Arc::clone(&self.host.firewall);
            watches.push(firewall::watch(rules, self.reports.clone())?);
            watches.push(repair::watch(self)?);
        }
        Ok(())
    }

    /// Remembers the endpoints of a sandbox as in use.
    fn remember<'a>(&self, sandbox: &str, all: impl IntoIterator<Item = &'a EndpointConfig>) {
        let mut attached = lock(&self.attached);
        for endpoint in all {
            let entry = (sandbox.to_owned(), endpoint.clone());
            attached.insert(endpoint.host_link.clone(), entry);
        }
    }

    fn forget(&self, endpoint: &EndpointConfig) {
        lock(&self.attached).remove(&endpoint.host_link);
    }

    pub(crate) fn attach(
        &self,
        sandbox: &SandboxConfig,
    ) -> Result<(PathBuf, Option<Sockets>), Error> {
        let networks = sandbox
            .endpoints
            .iter()
            .map(|endpoint| self.network(&endpoint.network))
            .collect::<Result<Vec<_>, _>>()?;
        let dir = &self.config.netns_dir;
        fs::create_dir_all(dir).map_err(|cause| Error::File {
            action: "create",
            path: dir.clone(),
            cause,
        })?;
        let path = dir.join(&sandbox.id);
        let inside = |netns: &Netns| {
            let mut inside = Inside::open(&self.host, netns)?;
            inside.loopback()?;
            for (endpoint, network) in sandbox.endpoints.iter().zip(&networks) {
                inside.join(network.driver.driver(), endpoint)?;
            }
            let targets = sandbox.targets();
            self.host
                .firewall
                .publish(&forwards(&sandbox.ports, targets))?;
            sandbox.dns.as_ref().map(|_| Inside::open_dns()).transpose()
        };
        let users = self.config.users.as_ref().filter(|_| sandbox.remapped);
        let attached = match users {
            Some(users) => Netns::create_in(users, &path, inside),
            None => Netns::create(&path, inside),
        };
        if attached.is_err()
            && let Err(error) = self.detach(sandbox)
        {
            let error = arca_types::chain(&error);
            tracing::warn!(error, "cannot take back a sandbox that was begun");
        }
        if attached.is_ok() {
            self.remember(&sandbox.id, &sandbox.endpoints);
        }
        attached.map(|sockets| (path, sockets))
    }

    pub(crate) fn detach(&self, sandbox: &SandboxConfig) -> Result<(), Error> {
        sandbox.endpoints.iter().for_each(|one| self.forget(one));
        self.end_dns(&sandbox.id);
        let withdrawn = self
            .host
            .firewall
            .withdraw(&forwards(&sandbox.ports, sandbox.targets()));
        // The links first: an address is free for the next one only when nobody answers to it.
        let mut left = Ok(());
        for endpoint in &sandbox.endpoints {
            left = left.and(match self.network(&endpoint.network) {
                Ok(network) => network.driver.driver().leave(&self.host, endpoint),
                // Its bridge is gone, and its links with it.
                Err(_) => Ok(()),
            });
        }
        let removed = netns::remove(&self.config.netns_dir.join(&sandbox.id));
        withdrawn.and(left).and(removed)
    }

    pub(crate) fn enter<T: Send>(
        &self,
        sandbox: &str,
        work: impl FnOnce(&mut Inside<'_>) -> Result<T, Error> + Send,
    ) -> Result<T, Error> {
        let netns = Netns::open(&self.config.netns_dir.join(sandbox))?;
        netns.enter(|| work(&mut Inside::open(&self.host, &netns)?))
    }

    pub(crate) fn connect(&self, sandbox: &str, endpoint: &EndpointConfig) -> Result<(), Error> {
        let network = self.network(&endpoint.network)?;
        let joined = self.enter(sandbox, |inside| {
            inside.join(network.driver.driver(), endpoint)
        });
        if joined.is_err() {
            let undone = self.disconnect(sandbox, endpoint);
            if let Err(error) = undone {
                tracing::warn!(error = arca_types::chain(&error), "cannot take back a link");
            }
        } else {
            self.remember(sandbox, [endpoint]);
        }
        joined
    }

    pub(crate) fn disconnect(&self, sandbox: &str, endpoint: &EndpointConfig) -> Result<(), Error> {
        self.forget(endpoint);
        let inside = self.enter(sandbox, |inside| inside.leave(endpoint));
        let outside = match self.network(&endpoint.network) {
            Ok(network) => network.driver.driver().leave(&self.host, endpoint),
            Err(_) => Ok(()),
        };
        inside.and(outside)
    }

    pub(crate) fn recover(
        self: &Arc<Self>,
        networks: Vec<NetworkConfig>,
        live: &[SandboxConfig],
    ) -> Result<(), Error> {
        let mut result = Ok(());
        for path in netns::list(&self.config.netns_dir)? {
            let name = path.file_name().unwrap_or_default();
            if !live.iter().any(|sandbox| name == sandbox.id.as_str()) {
                tracing::info!(netns = %path.display(), "removing a namespace of nothing");
                result = result.and(netns::remove(&path));
            }
        }
        if !networks.is_empty() {
            let ipv6 = networks.iter().any(|network| network.driver.has_ipv6());
            result = result.and(self.watch()).and(self.enable_forwarding(ipv6));
        }
        for sandbox in live {
            self.remember(&sandbox.id, &sandbox.endpoints);
        }
        let forwards = live
            .iter()
            .flat_map(|sandbox| forwards(&sandbox.ports, sandbox.targets()));
        let restored = self.host.firewall.restore(forwards, || {
            let mut all = Ok(());
            for network in networks {
                all = all.and(self.restore(network, live));
            }
            all
        });
        result.and(restored.and_then(|networks| networks))
    }

    /// Completes a network, and removes links on it that belong to nobody.
    fn restore(&self, network: NetworkConfig, live: &[SandboxConfig]) -> Result<(), Error> {
        let endpoints: Vec<&EndpointConfig> = live
            .iter()
            .flat_map(|sandbox| &sandbox.endpoints)
            .filter(|endpoint| endpoint.network == network.id)
            .collect();
        let driver = network.driver.driver();
        let ready = driver.set_up(&self.host);
        let swept = driver.sweep(&self.host, &endpoints);
        lock(&self.networks).insert(network.id.clone(), network);
        ready.and(swept)
    }
}

/// The redirections of ports in the kernel: those whose family the target has, and that may be reached.
pub(crate) fn forwards(ports: &[PublishedPort], to: Targets) -> Vec<Forward> {
    let forward = |port: &PublishedPort| {
        let is_shut = to.exposure == Exposure::Loopback && !port.host_ip.is_loopback();
        let is_checked = to.exposure == Exposure::Firewall && !port.host_ip.is_loopback();
        // At its own address, a container is nobody whom the host lets in.
        if is_shut || (is_checked && port.host_port == 0) {
            return None;
        }
        let target = match port.host_ip {
            IpAddr::V4(_) => IpAddr::V4(to.ipv4?),
            IpAddr::V6(_) => IpAddr::V6(to.ipv6?),
        };
        if port.host_port == 0 && !to.is_routed(port.host_ip) {
            return None;
        }
        Some(Forward {
            protocol: port.protocol,
            host_ip: port.host_ip,
            host_port: port.host_port,
            target: SocketAddr::new(target, port.container_port),
            checked: is_checked,
        })
    };
    ports.iter().filter_map(forward).collect()
}
