//! containerd's `hosts.toml`: at which hosts a registry is asked, and how (`certs.d/<host>/hosts.toml`).

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;

use crate::endpoint::{Capabilities, Endpoint, is_own};
use crate::error::Error;

/// The hosts of one registry.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Hosts {
    /// Asked in this order before the registry itself.
    pub(crate) hosts: Vec<Endpoint>,
    /// The registry itself, when the file says where it is.
    pub(crate) server: Option<Endpoint>,
}

/// How one host proves who it is, and arca to it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct HostTls {
    /// Files of authorities that are believed, beside the system's.
    pub(crate) ca: Vec<PathBuf>,
    /// Certificates of the client; without a key, the first file has it.
    pub(crate) client: Vec<(PathBuf, Option<PathBuf>)>,
    pub(crate) skip_verify: bool,
    pub(crate) dial_timeout: Option<Duration>,
}

/// The file. What it says of the server stands beside the hosts.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    server: Option<String>,
    #[serde(default)]
    host: toml::Table,
    capabilities: Option<Vec<String>>,
    ca: Option<OneOrMany>,
    client: Option<Client>,
    skip_verify: Option<bool>,
    override_path: Option<bool>,
    dial_timeout: Option<String>,
    #[serde(default)]
    header: toml::Table,
}

/// One host.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Host {
    capabilities: Option<Vec<String>>,
    ca: Option<OneOrMany>,
    client: Option<Client>,
    skip_verify: Option<bool>,
    override_path: Option<bool>,
    dial_timeout: Option<String>,
    #[serde(default)]
    header: toml::Table,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Client {
    One(String),
    Many(Vec<OneOrMany>),
}

impl Hosts {
    /// Reads the file for `domain`, or the one for all registries (`_default`). It blocks: a small file.
    pub(crate) fn find(dirs: &[PathBuf], domain: &str) -> Result<Option<Self>, Error> {
        let mut names = vec![domain.to_owned(), "_default".to_owned()];
        if let Some((host, port)) = domain.rsplit_once(':') {
            names.insert(0, format!("{host}_{port}_"));
        }
        for name in names {
            for directory in dirs.iter().map(|dir| dir.join(&name)) {
                let path = directory.join("hosts.toml");
                let failed = |problem: String| Error::Hosts {
                    path: path.clone(),
                    problem,
                };
                let text = match std::fs::read_to_string(&path) {
                    Ok(text) => text,
                    Err(error) if is_absent(&error) => continue,
                    Err(error) => return Err(failed(error.to_string())),
                };
                return Self::parse(&text, &directory, domain)
                    .map(Some)
                    .map_err(failed);
            }
        }
        Ok(None)
    }

    fn parse(text: &str, directory: &Path, domain: &str) -> Result<Self, String> {
        let file: File = toml::from_str(text).map_err(|error| error.message().to_owned())?;
        let mut hosts = Vec::new();
        for (address, host) in file.host {
            let host: Host = host
                .try_into()
                .map_err(|error| format!("host {address:?}: {}", error.message()))?;
            let endpoint = host.endpoint(&address, directory, domain);
            hosts.push(endpoint.map_err(|problem| format!("host {address:?}: {problem}"))?);
        }
        let own = Host {
            capabilities: file.capabilities,
            ca: file.ca,
            client: file.client,
            skip_verify: file.skip_verify,
            override_path: file.override_path,
            dial_timeout: file.dial_timeout,
            header: file.header,
        };
        let server = match file.server {
            Some(address) => {
                let endpoint = own.endpoint(&address, directory, domain)?;
                Some(Endpoint {
                    mirror: false,
                    capabilities: Capabilities::ALL,
                    ..endpoint
                })
            }
            None if own.says_nothing() => None,
            None => return Err("settings of the server need a \"server\"".to_owned()),
        };
        Ok(Self { hosts, server })
    }
}

fn is_absent(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{NotADirectory, NotFound};
    matches!(error.kind(), NotFound | NotADirectory)
}

impl Host {
    fn says_nothing(&self) -> bool {
        self.capabilities.is_none()
            && self.ca.is_none()
            && self.client.is_none()
            && self.skip_verify.is_none()
            && self.override_path.is_none()
            && self.dial_timeout.is_none()
            && self.header.is_empty()
    }

    fn endpoint(self, address: &str, directory: &Path, domain: &str) -> Result<Endpoint, String> {
        let bare = self.override_path.unwrap_or(false);
        let base = base(address, bare)?;
        let plain = Endpoint::new(&base, true);
        let mirror = !is_own(&plain.authority, domain);
        let capabilities = match &self.capabilities {
            Some(names) => capabilities(names)?,
            // Content is pushed to a mirror only when the file says so.
            None => Capabilities {
                push: !mirror,
                ..Capabilities::ALL
            },
        };
        let tls = HostTls {
            ca: self.ca.map(|ca| ca.paths(directory)).unwrap_or_default(),
            client: match self.client {
                Some(client) => client.paths(directory)?,
                None => Vec::new(),
            },
            skip_verify: self.skip_verify.unwrap_or(false),
            dial_timeout: self.dial_timeout.as_deref().map(seconds).transpose()?,
        };
        Ok(Endpoint {
            bare,
            mirror,
            capabilities,
            headers: headers(&self.header)?,
            tls: (tls != HostTls::default()).then(|| Arc::new(tls)),
            ..plain
        })
    }
}

/// `https://host[:port][/path]`; the scheme may be missing, `/v2` may be there.
fn base(address: &str, bare: bool) -> Result<String, String> {
    let whole = if address.contains("://") {
        address.to_owned()
    } else {
        format!("https://{address}")
    };
    let url = reqwest::Url::parse(&whole).map_err(|error| error.to_string())?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!("unsupported scheme {:?}", url.scheme()));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("a user in the address is not allowed".to_owned());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("a query or fragment is not allowed".to_owned());
    }
    let base = whole.trim_end_matches('/');
    let base = if bare {
        base
    } else {
        base.strip_suffix("/v2").unwrap_or(base)
    };
    Ok(base.to_owned())
}

fn capabilities(names: &[String]) -> Result<Capabilities, String> {
    let mut found = Capabilities {
        pull: false,
        resolve: false,
        push: false,
    };
    for name in names {
        match name.as_str() {
            "pull" => found.pull = true,
            "resolve" => found.resolve = true,
            "push" => found.push = true,
            other => return Err(format!("unknown capability {other:?}")),
        }
    }
    Ok(found)
}

fn headers(table: &toml::Table) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for (name, value) in table {
        let values = match value {
            toml::Value::Array(values) => values.clone(),
            one => vec![one.clone()],
        };
        let key =
            HeaderName::try_from(name).map_err(|_invalid| format!("invalid header {name:?}"))?;
        for value in values {
            let text = value.as_str().unwrap_or_default();
            // The value is not shown: it may be a secret.
            let mut value = HeaderValue::try_from(text)
                .ok()
                .filter(|value| !value.is_empty())
                .ok_or_else(|| format!("invalid value of the header {name:?}"))?;
            value.set_sensitive(true);
            headers.append(&key, value);
        }
    }
    Ok(headers)
}

/// A duration as Go writes it, of one unit: `30s`, `500ms`, `2m`.
fn seconds(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: u64 = digits.parse().ok().unwrap_or(u64::MAX);
    let milliseconds = match text.get(digits.len()..).unwrap_or_default() {
        "ms" => Some(1),
        "s" => Some(1000),
        "m" => Some(60_000),
        _ => None,
    };
    let total = milliseconds.and_then(|unit: u64| unit.checked_mul(number));
    let total = total.ok_or_else(|| format!("invalid dial_timeout {text:?}"))?;
    Ok(Duration::from_millis(total))
}

impl OneOrMany {
    fn paths(self, directory: &Path) -> Vec<PathBuf> {
        let names = match self {
            Self::One(name) => vec![name],
            Self::Many(names) => names,
        };
        names.iter().map(|name| directory.join(name)).collect()
    }
}

impl Client {
    fn paths(self, directory: &Path) -> Result<Vec<(PathBuf, Option<PathBuf>)>, String> {
        let pairs = match self {
            Self::One(name) => vec![OneOrMany::One(name)],
            Self::Many(pairs) => pairs,
        };
        let pair = |one: OneOrMany| match one.paths(directory).as_slice() {
            [both] => Ok((both.clone(), None)),
            [cert, key] => Ok((cert.clone(), Some(key.clone()))),
            _ => Err("a client certificate is a file, or a certificate and a key".to_owned()),
        };
        pairs.into_iter().map(pair).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Hosts, String> {
        Hosts::parse(text, Path::new("/c/docker.io"), "docker.io")
    }

    #[test]
    fn hosts_keep_their_order_and_say_what_they_are_for() {
        let hosts = parsed(
            r#"
            server = "https://registry-1.docker.io"
            [host."https://z.example:5000"]
              capabilities = ["pull"]
              ca = ["ca.crt", "/etc/x.crt"]
              client = [["c.cert", "c.key"], "both.pem"]
              dial_timeout = "3s"
            [host."http://a.example/v2"]
              skip_verify = true
              [host."http://a.example/v2".header]
                x-one = "1"
                x-two = ["2", "3"]
            [host."m.example/cache"]
              capabilities = ["pull", "resolve", "push"]
              override_path = true
            "#,
        )
        .unwrap();
        let bases: Vec<_> = hosts.hosts.iter().map(|host| host.base.as_str()).collect();
        assert_eq!(
            bases,
            [
                "https://z.example:5000",
                "http://a.example",
                "https://m.example/cache"
            ]
        );
        let [z, a, m] = hosts.hosts.as_slice() else {
            panic!("three hosts")
        };
        assert!(z.mirror && z.capabilities.pull && !z.capabilities.resolve);
        let tls = z.tls.as_ref().unwrap();
        assert_eq!(
            tls.ca,
            [Path::new("/c/docker.io/ca.crt"), Path::new("/etc/x.crt")]
        );
        assert_eq!(tls.client.len(), 2);
        assert_eq!(tls.dial_timeout, Some(Duration::from_secs(3)));
        assert_eq!(a.headers.get_all("x-two").iter().count(), 2);
        assert!(!a.capabilities.push && m.capabilities.push);
        assert_eq!(m.url("/v2/x/y"), "https://m.example/cache/x/y");
        let server = hosts.server.unwrap();
        assert!(!server.mirror && server.capabilities == Capabilities::ALL);
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for (text, problem) in [
            ("[host.\"ftp://x\"]", "unsupported scheme"),
            ("[host.\"https://u:p@x\"]", "a user in the address"),
            (
                "[host.x]\ncapabilities = [\"fly\"]",
                "unknown capability \"fly\"",
            ),
            ("[host.x]\nnonsense = 1", "unknown field"),
            ("nonsense = 1", "unknown field"),
            ("skip_verify = true", "need a \"server\""),
            ("[host.x]\ndial_timeout = \"soon\"", "invalid dial_timeout"),
            (
                "[host.x.header]\nx = \"a\\nb\"",
                "invalid value of the header",
            ),
        ] {
            let error = parsed(text).unwrap_err();
            assert!(error.contains(problem), "{text}: {error}");
        }
    }

    #[test]
    fn the_directory_is_the_registrys_or_the_default() {
        let dir = tempfile::tempdir().unwrap();
        let dirs = [dir.path().join("none"), dir.path().to_owned()];
        let found = |domain: &str| {
            let hosts = Hosts::find(&dirs, domain).unwrap();
            hosts.map(|hosts| hosts.hosts[0].base.clone())
        };
        assert_eq!(found("r.example:5000"), None);
        for (name, mirror) in [
            ("_default", "http://one"),
            ("r.example:5000", "http://two"),
            ("r.example_5000_", "http://three"),
        ] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
            let text = format!("[host.\"{mirror}\"]\n");
            std::fs::write(dir.path().join(name).join("hosts.toml"), text).unwrap();
            assert_eq!(found("r.example:5000").as_deref(), Some(mirror));
        }
        assert_eq!(found("other").as_deref(), Some("http://one"));
    }
}
