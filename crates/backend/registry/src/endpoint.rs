//! The addresses under which a registry can be asked.

use std::sync::Arc;

use http::HeaderMap;

use crate::config::Config;
use crate::hosts::{HostTls, Hosts};

/// The domain that stands for Docker Hub in references.
const HUB_DOMAIN: &str = "docker.io";
/// The host that serves Docker Hub's repositories.
const HUB_HOST: &str = "registry-1.docker.io";

/// What an address may be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Capabilities {
    /// Content by its digest.
    pub(crate) pull: bool,
    /// What a tag stands for.
    pub(crate) resolve: bool,
    /// Taking content.
    pub(crate) push: bool,
}

impl Capabilities {
    pub(crate) const ALL: Self = Self {
        pull: true,
        resolve: true,
        push: true,
    };
}

/// One address: scheme, host, and a path when it is a mirror below one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// `https://host[:port][/path]`, without a slash at its end.
    pub(crate) base: String,
    /// The root of the API is `base` itself, not `base/v2`.
    pub(crate) bare: bool,
    /// `host[:port]`.
    pub(crate) authority: String,
    /// The port of the scheme.
    pub(crate) default_port: u16,
    /// Mirrors fail quietly and never see the user's credentials.
    pub(crate) mirror: bool,
    pub(crate) capabilities: Capabilities,
    /// Sent with each request.
    pub(crate) headers: HeaderMap,
    /// Certificates of its own, beside those in `certs.d`.
    pub(crate) tls: Option<Arc<HostTls>>,
}

impl Endpoint {
    pub(crate) fn new(base: &str, mirror: bool) -> Self {
        let (scheme, rest) = base.split_once("://").unwrap_or(("https", base));
        Self {
            base: base.to_owned(),
            authority: rest.split('/').next().unwrap_or(rest).to_owned(),
            default_port: if scheme == "http" { 80 } else { 443 },
            mirror,
            bare: false,
            capabilities: Capabilities {
                push: !mirror,
                ..Capabilities::ALL
            },
            headers: HeaderMap::new(),
            tls: None,
        }
    }

    /// Returns the address of `path`, which begins with `/v2/`.
    pub(crate) fn url(&self, path: &str) -> String {
        let path = if self.bare {
            path.strip_prefix("/v2").unwrap_or(path)
        } else {
            path
        };
        format!("{}{path}", self.base)
    }

    /// What tells its client from those of other addresses.
    pub(crate) fn client_key(&self) -> String {
        match &self.tls {
            Some(tls) => format!("{} {tls:?}", self.authority),
            None => self.authority.clone(),
        }
    }
}

/// Returns the addresses of a registry in the order in which they are asked: those of `hosts.toml`, the
/// mirrors of `daemon.json`, the registry itself.
pub(crate) fn endpoints(config: &Config, domain: &str, hosts: Option<Hosts>) -> Vec<Endpoint> {
    let Hosts { hosts, server } = hosts.unwrap_or_default();
    let mut found = hosts;
    if domain == HUB_DOMAIN {
        let mirrors = config.mirrors.iter();
        found.extend(mirrors.map(|mirror| Endpoint::new(mirror.as_str(), true)));
    }
    let own = match server {
        Some(server) => vec![server],
        None => own_endpoints(config, domain),
    };
    for endpoint in own {
        if found.iter().all(|other| other.base != endpoint.base) {
            found.push(endpoint);
        }
    }
    found
}

/// Is `authority` the registry `domain` itself?
pub(crate) fn is_own(authority: &str, domain: &str) -> bool {
    authority == domain || (domain == HUB_DOMAIN && authority == HUB_HOST)
}

fn own_endpoints(config: &Config, domain: &str) -> Vec<Endpoint> {
    if domain == HUB_DOMAIN {
        return vec![Endpoint::new(&format!("https://{HUB_HOST}"), false)];
    }
    let mut found = vec![Endpoint::new(&format!("https://{domain}"), false)];
    if config.is_insecure(domain) {
        found.push(Endpoint::new(&format!("http://{domain}"), false));
    }
    found
}

/// Returns the domain that a server address of a login means.
pub(crate) fn domain_of_server(address: &str) -> String {
    let bare = address
        .strip_prefix("https://")
        .or_else(|| address.strip_prefix("http://"))
        .unwrap_or(address);
    let domain = bare.split('/').next().unwrap_or(bare);
    match domain {
        "" | "index.docker.io" | HUB_HOST => HUB_DOMAIN.to_owned(),
        other => other.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bases(config: &Config, domain: &str) -> Vec<String> {
        endpoints(config, domain, None)
            .into_iter()
            .map(|endpoint| endpoint.base)
            .collect()
    }

    #[test]
    fn mirrors_stand_before_the_hub_and_before_nothing_else() {
        let config = Config {
            mirrors: vec!["http://m.example/hub/".parse().unwrap()],
            ..Config::default()
        };
        assert_eq!(
            bases(&config, "docker.io"),
            ["http://m.example/hub", "https://registry-1.docker.io"]
        );
        assert_eq!(bases(&config, "quay.io"), ["https://quay.io"]);
    }

    #[test]
    fn an_insecure_registry_is_asked_over_http_last() {
        assert_eq!(
            bases(&Config::default(), "127.0.0.1:5000"),
            ["https://127.0.0.1:5000", "http://127.0.0.1:5000"]
        );
    }

    #[test]
    fn server_addresses_of_logins_are_understood() {
        assert_eq!(domain_of_server("https://index.docker.io/v1/"), "docker.io");
        assert_eq!(domain_of_server(""), "docker.io");
        assert_eq!(domain_of_server("http://x:5000/v2/"), "x:5000");
    }
}
