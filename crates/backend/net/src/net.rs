//! The backend as a whole: networks, sandboxes, published ports.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ipnet::IpNet;

use crate::config::{Config, EndpointConfig, NetworkConfig, SandboxConfig, Targets};
use crate::dns::{DnsConfig, Names, Server, Sockets};
use crate::error::Error;
use crate::firewall::{Forward, Monitor};
use crate::forwarding;
use crate::host::Host;
use crate::netns::{self, Netns};
use crate::ports::{Ports, Reservation};
use crate::sandbox::Inside;
use crate::types::PublishedPort;

/// The network backend. A cheap handle; every function may be called from any task.
#[derive(Debug, Clone)]
pub struct Net(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: Config,
    host: Host,
    networks: Mutex<BTreeMap<String, NetworkConfig>>,
    ports: Ports,
    names: Arc<Names>,
    servers: Mutex<BTreeMap<String, Server>>,
    monitor: Mutex<Option<Monitor>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Net {
    /// Opens the backend in the network namespace of the calling thread. Changes nothing.
    ///
    /// # Errors
    /// When the kernel's netlink sockets cannot be opened.
    pub fn open(config: Config) -> Result<Self, Error> {
        let host = Host::open(&config.table)?;
        Ok(Self(Arc::new(Inner {
            ports: Ports::new(config.userland_proxy),
            config,
            host,
            networks: Mutex::default(),
            names: Arc::default(),
            servers: Mutex::default(),
            monitor: Mutex::default(),
        })))
    }

    /// The file that keeps the namespace of a sandbox.
    #[must_use]
    pub fn netns_path(&self, sandbox: &str) -> PathBuf {
        self.0.config.netns_dir.join(sandbox)
    }

    /// The host's published ports.
    #[must_use]
    pub fn ports(&self) -> &Ports {
        &self.0.ports
    }

    /// The names that DNS servers of sandboxes know.
    #[must_use]
    pub fn names(&self) -> &Names {
        &self.0.names
    }

    /// Every subnet the host has an address in or a route to, but for those of the links in `except`.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub async fn occupied(&self, except: Vec<String>) -> Result<Vec<IpNet>, Error> {
        self.blocking(move |inner| inner.host.occupied(&except))
            .await
    }

    /// The addresses of a link of the host; none when there is no such link.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub async fn link_addresses(&self, name: String) -> Result<Vec<IpNet>, Error> {
        self.blocking(move |inner| match inner.host.link(&name)? {
            Some(link) => inner.host.addresses(link.index),
            None => Ok(Vec::new()),
        })
        .await
    }

    /// Makes a network, or completes it.
    ///
    /// # Errors
    /// When the kernel refuses; what was made stays for [`remove_network`](Self::remove_network).
    pub async fn ensure_network(&self, network: NetworkConfig) -> Result<(), Error> {
        self.blocking(move |inner| {
            if lock(&inner.networks).get(&network.id) == Some(&network) {
                return Ok(());
            }
            inner.watch_firewall()?;
            inner.enable_forwarding(network.driver.has_ipv6())?;
            network.driver.driver().set_up(&inner.host)?;
            lock(&inner.networks).insert(network.id.clone(), network);
            Ok(())
        })
        .await
    }

    /// Makes a network again that something outside has damaged.
    ///
    /// # Errors
    /// As [`ensure_network`](Self::ensure_network).
    pub async fn repair_network(&self, network: NetworkConfig) -> Result<(), Error> {
        self.blocking(move |inner| network.driver.driver().set_up(&inner.host))
            .await
    }

    /// Removes a network that has no endpoints; no harm when it is not there.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn remove_network(&self, network: NetworkConfig) -> Result<(), Error> {
        self.blocking(move |inner| {
            lock(&inner.networks).remove(&network.id);
            network.driver.driver().tear_down(&inner.host)
        })
        .await
    }

    /// Makes a sandbox: its namespace, kept by a file, its links and the redirection of its ports.
    ///
    /// # Errors
    /// When the kernel refuses; nothing is left behind then.
    pub async fn attach(&self, sandbox: SandboxConfig) -> Result<PathBuf, Error> {
        let (id, dns) = (sandbox.id.clone(), sandbox.dns.clone());
        let (path, sockets) = self.blocking(move |inner| inner.attach(&sandbox)).await?;
        if let (Some(dns), Some(sockets)) = (dns, sockets) {
            self.0.serve(id, &dns, sockets)?;
        }
        Ok(path)
    }

    /// Gives a sandbox a DNS server, or tells the one it has which networks it is on now.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn serve_dns(&self, sandbox: String, dns: DnsConfig) -> Result<(), Error> {
        if let Some(server) = lock(&self.0.servers).get(&sandbox) {
            server.set_networks(dns.networks);
            return Ok(());
        }
        let name = sandbox.clone();
        let open = move |inner: &Inner| inner.enter(&name, |_| Inside::open_dns());
        let sockets = self.blocking(open).await?;
        self.0.serve(sandbox, &dns, sockets)
    }

    /// Removes a sandbox and all that belongs to it, whatever there is of it. The namespace and its links
    /// vanish in the background.
    ///
    /// # Errors
    /// The first failure; the rest is removed all the same.
    pub async fn detach(&self, sandbox: SandboxConfig) -> Result<(), Error> {
        self.blocking(move |inner| inner.detach(&sandbox)).await
    }

    /// Adds a link to a sandbox.
    ///
    /// # Errors
    /// When the kernel refuses; nothing is left behind then.
    pub async fn connect(&self, sandbox: String, endpoint: EndpointConfig) -> Result<(), Error> {
        self.blocking(move |inner| inner.connect(&sandbox, &endpoint))
            .await
    }

    /// Removes a link from a sandbox; no harm when it is not there.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn disconnect(&self, sandbox: String, endpoint: EndpointConfig) -> Result<(), Error> {
        self.blocking(move |inner| inner.disconnect(&sandbox, &endpoint))
            .await
    }

    /// Leads a sandbox's default routes through one of its endpoints.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn set_default_route(
        &self,
        sandbox: String,
        endpoint: EndpointConfig,
    ) -> Result<(), Error> {
        self.blocking(move |inner| {
            inner.enter(&sandbox, |inside| inside.set_default_route(&endpoint))
        })
        .await
    }

    /// Leads reserved ports of the host to a sandbox.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn publish(&self, ports: Vec<PublishedPort>, to: Targets) -> Result<(), Error> {
        self.blocking(move |inner| inner.host.firewall.publish(&forwards(&ports, to)))
            .await
    }

    /// Takes back what [`publish`](Self::publish) did.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn withdraw(&self, ports: Vec<PublishedPort>, from: Targets) -> Result<(), Error> {
        self.blocking(move |inner| inner.host.firewall.withdraw(&forwards(&ports, from)))
            .await
    }

    /// Makes the kernel's state that of `networks` and `live`: completes what belongs to them, removes
    /// namespaces, links and redirections of everything else. Once, at start.
    ///
    /// # Errors
    /// The first failure; the rest is done all the same.
    pub async fn recover(
        &self,
        networks: Vec<NetworkConfig>,
        live: Vec<SandboxConfig>,
    ) -> Result<(), Error> {
        let with_dns: Vec<_> = live
            .iter()
            .filter_map(|sandbox| Some((sandbox.id.clone(), sandbox.dns.clone()?)))
            .collect();
        let mut result = self
            .blocking(move |inner| inner.recover(networks, &live))
            .await;
        for (id, dns) in with_dns {
            result = result.and(self.serve_dns(id, dns).await);
        }
        result
    }

    /// Binds the host's side of ports that were published before a restart. What cannot be bound any
    /// more is said in the log; the kernel's redirection does not depend on it.
    #[must_use]
    pub fn rebind(&self, ports: &[PublishedPort], to: Targets) -> Reservation {
        self.0.ports.rebind(ports, to)
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let inner = Arc::clone(&self.0);
        tokio::task::spawn_blocking(move || work(&inner))
            .await
            .unwrap_or_else(|error| {
                Err(Error::system("finish a network operation")(
                    io::Error::other(error),
                ))
            })
    }
}

impl Inner {
    fn network(&self, id: &str) -> Result<NetworkConfig, Error> {
        lock(&self.networks)
            .get(id)
            .cloned()
            .ok_or_else(|| Error::NoNetwork(id.to_owned()))
    }

    fn enable_forwarding(&self, ipv6: bool) -> Result<(), Error> {
        let run_dir = self
            .config
            .netns_dir
            .parent()
            .unwrap_or(&self.config.netns_dir);
        let guard = forwarding::enable(run_dir, self.config.ip_forward, ipv6)?;
        self.host.firewall.set_guard(guard);
        Ok(())
    }

    fn watch_firewall(&self) -> Result<(), Error> {
        let mut monitor = lock(&self.monitor);
        if monitor.is_none() {
            *monitor = Some(Monitor::start(Arc::clone(&self.host.firewall))?);
        }
        Ok(())
    }

    fn attach(&self, sandbox: &SandboxConfig) -> Result<(PathBuf, Option<Sockets>), Error> {
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
        let attached = Netns::create(&path, |netns| {
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
        });
        if attached.is_err()
            && let Err(error) = self.detach(sandbox)
        {
            let error = arca_types::chain(&error);
            tracing::warn!(error, "cannot take back a sandbox that was begun");
        }
        attached.map(|sockets| (path, sockets))
    }

    /// Begins to answer on the sockets of a sandbox.
    fn serve(&self, sandbox: String, dns: &DnsConfig, sockets: Sockets) -> Result<(), Error> {
        let names = Arc::clone(&self.names);
        let server = Server::start(sockets, names, dns.networks.clone(), dns.upstreams())?;
        lock(&self.servers).insert(sandbox, server);
        Ok(())
    }

    fn detach(&self, sandbox: &SandboxConfig) -> Result<(), Error> {
        drop(lock(&self.servers).remove(&sandbox.id));
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

    fn enter<T: Send>(
        &self,
        sandbox: &str,
        work: impl FnOnce(&mut Inside<'_>) -> Result<T, Error> + Send,
    ) -> Result<T, Error> {
        let netns = Netns::open(&self.config.netns_dir.join(sandbox))?;
        netns.enter(|| work(&mut Inside::open(&self.host, &netns)?))
    }

    fn connect(&self, sandbox: &str, endpoint: &EndpointConfig) -> Result<(), Error> {
        let network = self.network(&endpoint.network)?;
        let joined = self.enter(sandbox, |inside| {
            inside.join(network.driver.driver(), endpoint)
        });
        if joined.is_err() {
            let undone = self.disconnect(sandbox, endpoint);
            if let Err(error) = undone {
                tracing::warn!(error = arca_types::chain(&error), "cannot take back a link");
            }
        }
        joined
    }

    fn disconnect(&self, sandbox: &str, endpoint: &EndpointConfig) -> Result<(), Error> {
        let inside = self.enter(sandbox, |inside| inside.leave(endpoint));
        let outside = match self.network(&endpoint.network) {
            Ok(network) => network.driver.driver().leave(&self.host, endpoint),
            Err(_) => Ok(()),
        };
        inside.and(outside)
    }

    fn recover(&self, networks: Vec<NetworkConfig>, live: &[SandboxConfig]) -> Result<(), Error> {
        let mut result = Ok(());
        for path in netns::list(&self.config.netns_dir)? {
            let name = path.file_name().unwrap_or_default();
            if !live.iter().any(|sandbox| name == sandbox.id.as_str()) {
                tracing::info!(netns = %path.display(), "removing a namespace of nothing");
                result = result.and(netns::remove(&path));
            }
        }
        self.host.firewall.expect(
            live.iter()
                .flat_map(|sandbox| forwards(&sandbox.ports, sandbox.targets())),
        );
        if !networks.is_empty() {
            let ipv6 = networks.iter().any(|network| network.driver.has_ipv6());
            result = result
                .and(self.watch_firewall())
                .and(self.enable_forwarding(ipv6));
        }
        for network in networks {
            let endpoints: Vec<&EndpointConfig> = live
                .iter()
                .flat_map(|sandbox| &sandbox.endpoints)
                .filter(|endpoint| endpoint.network == network.id)
                .collect();
            let driver = network.driver.driver();
            let ready = driver.set_up(&self.host);
            result = result.and(ready).and(driver.sweep(&self.host, &endpoints));
            lock(&self.networks).insert(network.id.clone(), network);
        }
        result
    }
}

/// The redirections of ports in the kernel: those whose family the target has.
fn forwards(ports: &[PublishedPort], to: Targets) -> Vec<Forward> {
    let forward = |port: &PublishedPort| {
        let target = match port.host_ip {
            IpAddr::V4(_) => IpAddr::V4(to.ipv4?),
            IpAddr::V6(_) => IpAddr::V6(to.ipv6?),
        };
        Some(Forward {
            protocol: port.protocol,
            host_ip: port.host_ip,
            host_port: port.host_port,
            target: SocketAddr::new(target, port.container_port),
        })
    };
    ports.iter().filter_map(forward).collect()
}
