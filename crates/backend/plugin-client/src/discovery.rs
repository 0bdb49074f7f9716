//! Where plugins are: sockets, and files that name an address.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Deserialize;

use crate::client::{Address, Plugin};
use crate::error::Error;

/// How long a plugin that nobody named may take to say hello.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where to look for plugins.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Config {
    /// Directories of sockets: `NAME.sock` or `NAME/NAME.sock`.
    pub sockets: Vec<PathBuf>,
    /// Directories of files that name an address: `NAME.spec` or `NAME.json`, also in a directory `NAME`.
    pub specs: Vec<PathBuf>,
}

/// The plugins of this host. A cheap handle.
#[derive(Debug, Clone)]
pub struct Plugins(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: Config,
    /// Those that answered before.
    active: Mutex<HashMap<String, Plugin>>,
}

/// `NAME.json`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SpecFile {
    addr: String,
    #[serde(rename = "TLSConfig", default)]
    tls: Option<serde_json::Value>,
}

impl Plugins {
    /// Plugins that are found as `config` says. Nothing is opened yet.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self(Arc::new(Inner {
            config,
            active: Mutex::default(),
        }))
    }

    /// Finds the plugin `name` and activates it, if it was not before. It has to implement `kind`.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Kind`], [`Error::Address`]; others when it cannot be asked.
    pub async fn get(&self, name: &str, kind: &'static str) -> Result<Plugin, Error> {
        let known = self.active().get(name).cloned();
        let plugin = match known {
            Some(plugin) => plugin,
            None => {
                let address = self.find(name)?;
                let plugin = Plugin::activate(name, address).await?;
                self.active().insert(name.to_owned(), plugin.clone());
                plugin
            }
        };
        if plugin.implements(kind) {
            Ok(plugin)
        } else {
            let name = name.to_owned();
            Err(Error::Kind { name, kind })
        }
    }

    /// All plugins there are that implement `kind`, by name. One that cannot be asked is left out.
    pub async fn all(&self, kind: &'static str) -> Vec<Plugin> {
        let mut found = Vec::new();
        for name in self.names() {
            match tokio::time::timeout(PATIENCE, self.get(&name, kind)).await {
                Ok(Ok(plugin)) => found.push(plugin),
                Ok(Err(Error::Kind { .. })) => {}
                Ok(Err(error)) => tracing::debug!(plugin = name, %error, "it cannot be asked"),
                Err(_elapsed) => tracing::debug!(plugin = name, "it does not answer"),
            }
        }
        found
    }

    /// The names of what may be plugins.
    fn names(&self) -> BTreeSet<String> {
        let Config { sockets, specs } = &self.0.config;
        let mut names = BTreeSet::new();
        for directory in sockets.iter().chain(specs) {
            let entries = std::fs::read_dir(directory).into_iter().flatten();
            for entry in entries.flatten() {
                let name = entry.file_name();
                let Some(name) = name.to_str() else {
                    continue;
                };
                let endings = [".sock", ".spec", ".json"];
                let bare = endings.iter().find_map(|ending| name.strip_suffix(ending));
                let bare = bare.unwrap_or(name);
                if self.find(bare).is_ok() {
                    names.insert(bare.to_owned());
                }
            }
        }
        names
    }

    fn active(&self) -> std::sync::MutexGuard<'_, HashMap<String, Plugin>> {
        self.0.active.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, name: &str) -> Result<Address, Error> {
        let missing = || Error::NotFound(name.to_owned());
        // The name becomes part of a path.
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
        if name.is_empty() || name.starts_with('.') || !name.bytes().all(plain) {
            return Err(missing());
        }
        for directory in &self.0.config.sockets {
            let file = format!("{name}.sock");
            for path in [directory.join(&file), directory.join(name).join(&file)] {
                if is_socket(&path) {
                    return Ok(Address::Unix(path));
                }
            }
        }
        for directory in &self.0.config.specs {
            for (file, parse) in [
                (format!("{name}.spec"), of_spec as fn(&str, &str) -> _),
                (format!("{name}.json"), of_json),
            ] {
                for path in [directory.join(&file), directory.join(name).join(&file)] {
                    if let Ok(text) = std::fs::read_to_string(&path) {
                        return parse(name, &text);
                    }
                }
            }
        }
        Err(missing())
    }
}

fn is_socket(path: &Path) -> bool {
    use std::os::unix::fs::FileTypeExt as _;
    std::fs::metadata(path).is_ok_and(|found| found.file_type().is_socket())
}

fn of_spec(name: &str, text: &str) -> Result<Address, Error> {
    address(name, text.trim())
}

fn of_json(name: &str, text: &str) -> Result<Address, Error> {
    let refused = |address: &str, reason| Error::Address {
        name: name.to_owned(),
        address: address.to_owned(),
        reason,
    };
    let spec: SpecFile = serde_json::from_str(text)
        .map_err(|_malformed| refused("", "its file is not a JSON object with \"Addr\""))?;
    if spec.tls.is_some_and(|tls| !tls.is_null()) {
        return Err(refused(&spec.addr, "TLS to plugins is not supported"));
    }
    address(name, &spec.addr)
}

fn address(name: &str, text: &str) -> Result<Address, Error> {
    match text.split_once("://") {
        Some(("unix", path)) => Ok(Address::Unix(PathBuf::from(path))),
        Some(("tcp" | "http", host)) => Ok(Address::Tcp(host.trim_end_matches('/').to_owned())),
        _ => Err(Error::Address {
            name: name.to_owned(),
            address: text.to_owned(),
            reason: "unix:// and tcp:// are known",
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plugins(root: &Path) -> Plugins {
        Plugins::new(Config {
            sockets: vec![root.to_owned()],
            specs: vec![root.to_owned()],
        })
    }

    #[test]
    fn addresses_are_found_by_name() {
        let root = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(root.path().join(name), text).unwrap();
        write("a.spec", "unix:///run/a.sock\n");
        write("b.json", r#"{"Name": "b", "Addr": "tcp://localhost:80/"}"#);
        write(
            "c.json",
            r#"{"Addr": "https://x", "TLSConfig": {"InsecureSkipVerify": true}}"#,
        );
        std::fs::create_dir(root.path().join("d")).unwrap();
        let socket = root.path().join("d/d.sock");
        let _listening = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let plugins = plugins(root.path());
        let a = plugins.find("a").unwrap();
        assert_eq!(a, Address::Unix("/run/a.sock".into()));
        let b = plugins.find("b").unwrap();
        assert_eq!(b, Address::Tcp("localhost:80".to_owned()));
        assert!(matches!(plugins.find("c"), Err(Error::Address { .. })));
        assert_eq!(plugins.find("d").unwrap(), Address::Unix(socket));
        for missing in ["e", "", "..", "a/../a", ".a"] {
            assert!(
                matches!(plugins.find(missing), Err(Error::NotFound(_))),
                "{missing}"
            );
        }
        // The file of `c` asks for what is not supported.
        assert_eq!(plugins.names().into_iter().collect::<String>(), "abd");
    }
}
