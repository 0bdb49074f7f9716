//! What the operator says about registries.

use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use ipnet::IpNet;

/// How registries are reached.
#[derive(Debug, Clone)]
pub struct Config {
    /// Mirrors of Docker Hub, asked in this order before the Hub itself (`registry-mirrors`).
    pub mirrors: Vec<Mirror>,
    /// Registries that may be spoken to without valid certificates or over plain HTTP
    /// (`insecure-registries`). Loopback addresses always may.
    pub insecure: Vec<Insecure>,
    /// Directories like `/etc/docker/certs.d`: `<host[:port]>/*.crt`, `*.cert` with `*.key`.
    pub certs_dirs: Vec<PathBuf>,
    /// Downloads that run at a time, over all pulls (`max-concurrent-downloads`).
    pub max_downloads: usize,
    /// Uploads that run at a time, over all pushes (`max-concurrent-uploads`).
    pub max_uploads: usize,
    /// How often a download is begun before it is given up (`max-download-attempts`).
    pub max_attempts: u32,
    /// The pause before the second attempt; each further one is longer by as much.
    pub retry_pause: Duration,
    /// How long a connection may take to open, and a registry may stay silent.
    pub timeout: Duration,
    /// Proxies for outgoing requests.
    pub proxies: Proxies,
    /// The value of `User-Agent`.
    pub user_agent: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            mirrors: Vec::new(),
            insecure: Vec::new(),
            certs_dirs: Vec::new(),
            max_downloads: 3,
            max_uploads: 5,
            max_attempts: 5,
            retry_pause: Duration::from_secs(1),
            timeout: Duration::from_secs(60),
            proxies: Proxies::default(),
            user_agent: concat!("arca/", env!("CARGO_PKG_VERSION")).to_owned(),
        }
    }
}

impl Config {
    /// May `domain` (`host` or `host:port`) be spoken to insecurely?
    ///
    /// A name is compared with names only: it is not looked up, so that an answer from DNS cannot turn
    /// off the checks.
    #[must_use]
    pub fn is_insecure(&self, domain: &str) -> bool {
        let host = host_of(domain);
        if host.eq_ignore_ascii_case("localhost") {
            return true;
        }
        let address: Option<IpAddr> = host.parse().ok();
        if address.is_some_and(|address| address.is_loopback()) {
            return true;
        }
        self.insecure.iter().any(|entry| match entry {
            Insecure::Network(network) => address.is_some_and(|address| network.contains(&address)),
            Insecure::Host(name) => name.eq_ignore_ascii_case(domain),
        })
    }
}

/// Returns the host of `host`, `host:port` or `[v6]:port`.
pub(crate) fn host_of(domain: &str) -> &str {
    if let Some(rest) = domain.strip_prefix('[') {
        return rest.split_once(']').map_or(rest, |(host, _)| host);
    }
    domain.rsplit_once(':').map_or(domain, |(host, _)| host)
}

/// One entry of `insecure-registries`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Insecure {
    /// Every registry with an address in this network.
    Network(IpNet),
    /// The registry of this name, with its port when it has one.
    Host(String),
}

/// An entry of `insecure-registries` that is neither a network nor a host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum InsecureError {
    #[error("insecure registry {0} should not contain '://'")]
    Scheme(String),
    #[error("insecure registry {0} is not valid: invalid host {0:?}")]
    Host(String),
}

impl FromStr for Insecure {
    type Err = InsecureError;

    fn from_str(text: &str) -> Result<Self, InsecureError> {
        let bare = text
            .strip_prefix("http://")
            .or_else(|| text.strip_prefix("https://"));
        let text = bare.unwrap_or(text).trim_end_matches('/');
        if text.contains("://") {
            return Err(InsecureError::Scheme(text.to_owned()));
        }
        if let Ok(network) = text.parse() {
            return Ok(Self::Network(network));
        }
        let host = host_of(text);
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
        if host.is_empty() || host.starts_with('-') || !host.chars().all(allowed) {
            return Err(InsecureError::Host(text.to_owned()));
        }
        Ok(Self::Host(text.to_owned()))
    }
}

/// A mirror of Docker Hub: `http://` or `https://`, a host, perhaps a path; no slash at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror(String);

impl Mirror {
    /// Returns the address without a slash at its end.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// An entry of `registry-mirrors` that is not an address of a mirror.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum MirrorError {
    #[error("invalid mirror: {0:?} is not a valid URI")]
    Uri(String),
    #[error("invalid mirror: unsupported scheme {scheme:?} in {uri:?}")]
    Scheme { scheme: String, uri: String },
    #[error("invalid mirror: query or fragment is not allowed in {0:?}")]
    Query(String),
    #[error("invalid mirror: username/password not allowed in URI {0:?}")]
    Credentials(String),
}

impl FromStr for Mirror {
    type Err = MirrorError;

    fn from_str(text: &str) -> Result<Self, MirrorError> {
        let uri = || text.to_owned();
        let url = reqwest::Url::parse(text)
            .ok()
            .ok_or_else(|| MirrorError::Uri(uri()))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(MirrorError::Scheme {
                scheme: url.scheme().to_owned(),
                uri: uri(),
            });
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(MirrorError::Query(uri()));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(MirrorError::Credentials("[secret]".to_owned()));
        }
        Ok(Self(text.trim_end_matches('/').to_owned()))
    }
}

/// Proxies for outgoing requests (`proxies` of daemon.json, or the environment of the daemon).
#[derive(Clone, Default)]
pub struct Proxies {
    /// The proxy for `http://` addresses.
    pub http: Option<String>,
    /// The proxy for `https://` addresses.
    pub https: Option<String>,
    /// Hosts and networks reached without a proxy, separated by commas.
    pub no_proxy: Option<String>,
}

impl std::fmt::Debug for Proxies {
    /// Says whether they are set; an address may hold a password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Proxies")
            .field("http", &self.http.is_some())
            .field("https", &self.https.is_some())
            .field("no_proxy", &self.no_proxy)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_and_listed_registries_are_insecure() {
        let config = Config {
            insecure: vec![
                "10.1.0.0/16".parse().unwrap(),
                "http://reg.example:5000".parse().unwrap(),
            ],
            ..Config::default()
        };
        for domain in [
            "127.0.0.1:5000",
            "127.9.9.9",
            "[::1]:5000",
            "localhost:1",
            "10.1.2.3:80",
            "reg.example:5000",
        ] {
            assert!(config.is_insecure(domain), "{domain}");
        }
        for domain in [
            "docker.io",
            "10.2.0.1:5000",
            "reg.example",
            "reg.example:5001",
        ] {
            assert!(!config.is_insecure(domain), "{domain}");
        }
    }

    #[test]
    fn a_mirror_is_a_plain_address() {
        assert_eq!(
            "https://m.example/x/".parse::<Mirror>().unwrap().as_str(),
            "https://m.example/x"
        );
        for text in [
            "m.example",
            "ftp://m.example",
            "http://m.example?x",
            "http://u:p@m.example",
        ] {
            assert!(text.parse::<Mirror>().is_err(), "{text}");
        }
        let error = "http://u:hunter2@m.example".parse::<Mirror>().unwrap_err();
        assert!(!error.to_string().contains("hunter2"));
    }
}
