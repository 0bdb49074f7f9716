//! The three files of a container's network: `/etc/hosts`, `/etc/resolv.conf`, `/etc/hostname`.
//!
//! Contents only. Who writes them, and where, is the container's business.

mod hosts;
mod resolv;

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use crate::Networks;
use crate::config::DnsSettings;
use crate::error::Error;
use crate::service::Inner;
use crate::spec::Sandbox;

use resolv::{Family, Source, Transform};

/// Where hosts keep names.
const HOSTS: &str = "/etc/hosts";

/// What a container says about its names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FilesSpec {
    /// Its host name, which may have dots.
    pub hostname: String,
    /// Its domain name.
    pub domainname: String,
    /// Further lines of `/etc/hosts`: `name:address`, where the address may be `host-gateway`.
    pub extra_hosts: Vec<String>,
    /// Its name servers, search domains and options; where it has none, the daemon's count.
    pub dns: DnsSettings,
}

/// The contents of the three files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkFiles {
    /// `/etc/hosts`.
    pub hosts: String,
    /// `/etc/resolv.conf`.
    pub resolv_conf: String,
    /// `/etc/hostname`.
    pub hostname: String,
}

impl Networks {
    /// Composes the network files of a container that has got its network.
    ///
    /// # Errors
    /// When an extra host is not of its form or stands for a gateway that there is not.
    pub async fn files(&self, sandbox: &Sandbox, spec: &FilesSpec) -> Result<NetworkFiles, Error> {
        let config = &self.0.config;
        let extra = self.extra_hosts(&spec.extra_hosts)?;
        let on_host = sandbox.netns.is_none() && !sandbox.id.is_empty();
        let hosts = if on_host && extra.is_empty() {
            // A host without the file still gives its containers a working one.
            tokio::fs::read_to_string(HOSTS)
                .await
                .unwrap_or_else(|_| hosts::base())
        } else {
            hosts::compose(
                &extra,
                &hosts::own(sandbox, &spec.hostname, &spec.domainname),
            )
        };
        let source = self.resolv_source().await;
        let own_resolver = sandbox
            .endpoints
            .iter()
            .any(|endpoint| !endpoint.dns_names.is_empty());
        let transform = match (on_host, own_resolver) {
            (true, _) => Transform::None,
            (false, true) => Transform::Internal,
            (false, false) => Transform::Legacy(family(sandbox)),
        };
        let wanted = merged(&spec.dns, &config.dns);
        Ok(NetworkFiles {
            hosts,
            resolv_conf: resolv::compose(&source, &wanted, transform),
            hostname: format!("{}\n", spec.hostname),
        })
    }

    fn extra_hosts(&self, lines: &[String]) -> Result<Vec<(String, String)>, Error> {
        let mut extra = Vec::new();
        for line in lines {
            let bad = || Error::Invalid(format!("bad format for add-host: \"{line}\""));
            let (name, address) = line.split_once(':').ok_or_else(bad)?;
            if name.is_empty() || address.is_empty() {
                return Err(bad());
            }
            if address != "host-gateway" {
                extra.push((address.to_owned(), name.to_owned()));
                continue;
            }
            let gateways = self.host_gateway();
            if gateways.is_empty() {
                return Err(Error::Invalid(
                    "unable to derive the IP value for host-gateway".to_owned(),
                ));
            }
            extra.extend(gateways.iter().map(|ip| (ip.to_string(), name.to_owned())));
        }
        Ok(extra)
    }

    /// The host's resolver configuration; where it only names a resolver of systemd on loopback, what that
    /// one uses.
    async fn resolv_source(&self) -> Source {
        if let Some(path) = &self.0.config.resolv_conf {
            return read(path).await;
        }
        let source = read(Path::new(resolv::PATH)).await;
        if source.is_systemd_stub() {
            let real = read(Path::new(resolv::SYSTEMD_PATH)).await;
            if !real.text.is_empty() {
                return real;
            }
        }
        source
    }
}

impl Inner {
    /// The name servers that are asked on behalf of a container with a resolver of its own: its own ones,
    /// the daemon's, or the host's as the host sees them.
    pub(crate) async fn upstreams(&self, own: &[IpAddr]) -> Vec<IpAddr> {
        for chosen in [own, &self.config.dns.servers] {
            if !chosen.is_empty() {
                return chosen.to_vec();
            }
        }
        let path = self
            .config
            .resolv_conf
            .as_deref()
            .unwrap_or(Path::new(resolv::PATH));
        read(path).await.servers()
    }
}

/// A file that is not there is an empty one: then the defaults count.
async fn read(path: &Path) -> Source {
    let text = tokio::fs::read_to_string(path).await.unwrap_or_default();
    Source {
        path: PathBuf::from(path),
        text,
    }
}

/// A container's own settings, each where it has some, or else the daemon's.
fn merged(own: &DnsSettings, daemon: &DnsSettings) -> DnsSettings {
    fn first<T: Clone>(own: &[T], daemon: &[T]) -> Vec<T> {
        if own.is_empty() {
            daemon.to_vec()
        } else {
            own.to_vec()
        }
    }
    DnsSettings {
        servers: first(&own.servers, &daemon.servers),
        search: first(&own.search, &daemon.search),
        options: first(&own.options, &daemon.options),
    }
}

/// Whether a container can reach name servers by IPv6.
fn family(sandbox: &Sandbox) -> Family {
    if sandbox
        .endpoints
        .iter()
        .any(|endpoint| endpoint.ipv6.is_some())
    {
        Family::Both
    } else {
        Family::Ipv4
    }
}
