//! The backend as a whole: networks, sandboxes, published ports.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use ipnet::IpNet;
use tokio::sync::mpsc;

use crate::config::{Config, EndpointConfig, NetworkConfig, SandboxConfig, Targets};
use crate::dns::{DnsConfig, Kept, Names};
use crate::error::Error;
use crate::firewall::Obstacle;
use crate::host::Host;
use crate::inner::{Inner, forwards, lock};
use crate::ports::{Ports, Reservation};
use crate::repair::{Repair, Reports};
use crate::types::PublishedPort;

/// The network backend. A cheap handle; every function may be called from any task.
#[derive(Debug, Clone)]
pub struct Net(Arc<Inner>);

impl Net {
    /// Opens the backend in the network namespace of the calling thread. Changes nothing.
    ///
    /// # Errors
    /// When the kernel's netlink sockets cannot be opened.
    pub fn open(config: Config) -> Result<Self, Error> {
        let host = Host::open(&config.table)?;
        let names: Arc<Names> = Arc::default();
        let run_dir = config.netns_dir.parent().unwrap_or(&config.netns_dir);
        let kept = config.dns_program.clone().map(|program| {
            let kept = Arc::new(Kept::new(program, run_dir.to_owned()));
            names.follow(Arc::clone(&kept));
            kept
        });
        let (reports, repairs) = Reports::channel();
        Ok(Self(Arc::new(Inner {
            ports: Ports::new(config.userland_proxy),
            config,
            host,
            networks: Mutex::default(),
            names,
            resolvers: Mutex::default(),
            kept,
            watches: Mutex::default(),
            attached: Mutex::default(),
            reports,
            repairs: Mutex::new(Some(repairs)),
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

    /// What is mended from now on of what something outside breaks; `None` when somebody reads already.
    #[must_use]
    pub fn repairs(&self) -> Option<mpsc::Receiver<Repair>> {
        lock(&self.0.repairs).take()
    }

    /// Chains of other firewalls that drop forwarded packets they do not know, and so ours.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub async fn obstacles(&self) -> Result<Vec<Obstacle>, Error> {
        self.blocking(|inner| inner.host.firewall.obstacles()).await
    }

    /// The tables of iptables' old kernel interface that see packets besides ours, such as `filter`.
    ///
    /// # Errors
    /// When there is no thread to look.
    pub async fn legacy_tables(&self) -> Result<Vec<String>, Error> {
        self.blocking(|_| Ok(crate::host::legacy_tables())).await
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
        self.blocking_shared(move |inner| {
            if lock(&inner.networks).get(&network.id) == Some(&network) {
                return Ok(());
            }
            inner.watch()?;
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

    /// Removes `networks`, whatever else a former run has left, and the tables, and switches forwarding off
    /// where it was off before. A table of the administrator that has rules stays. Only while there is no
    /// sandbox.
    ///
    /// # Errors
    /// The first failure; the rest is removed all the same.
    pub async fn clear(&self, networks: Vec<NetworkConfig>) -> Result<(), Error> {
        self.blocking(move |inner| inner.clear(&networks)).await
    }

    /// Ends what runs beside this process for sandboxes, unless there are some. Nothing may be attached any more.
    ///
    /// # Errors
    /// When it cannot be done in the background.
    pub async fn close(&self) -> Result<(), Error> {
        let close = |inner: &Inner| {
            inner.close_dns();
            Ok(())
        };
        self.blocking(close).await
    }

    /// Makes a sandbox: its namespace, kept by a file, its links and the redirection of its ports.
    ///
    /// # Errors
    /// When the kernel refuses; nothing is left behind then.
    pub async fn attach(&self, sandbox: SandboxConfig) -> Result<PathBuf, Error> {
        self.blocking_shared(move |inner| {
            let (path, sockets) = inner.attach(&sandbox)?;
            if let (Some(dns), Some(sockets)) = (&sandbox.dns, sockets) {
                inner.serve(&sandbox.id, dns, Some(sockets))?;
            }
            Ok(path)
        })
        .await
    }

    /// Gives a sandbox a DNS server, or tells the one it has which networks it is on now.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn serve_dns(&self, sandbox: String, dns: DnsConfig) -> Result<(), Error> {
        self.blocking_shared(move |inner| inner.serve(&sandbox, &dns, None))
            .await
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
        let with_dns = live
            .iter()
            .filter_map(|sandbox| Some((sandbox.id.clone(), sandbox.dns.clone()?)))
            .collect();
        self.blocking_shared(move |inner| {
            let recovered = inner.recover(networks, &live);
            recovered.and(inner.recover_dns(with_dns))
        })
        .await
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
        self.blocking_shared(move |inner| work(inner)).await
    }

    async fn blocking_shared<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Arc<Inner>) -> Result<T, Error> + Send + 'static,
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
