//! What can be read of the engine and its host (`SystemInfo`, `SystemVersion`, `SystemDataUsage`).

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use arca_containers::Containers;
use arca_events::Events;
use arca_images::Images;
use arca_networks::Networks;
use arca_storage::Storage;
use arca_types::Clock;
use arca_volumes::Volumes;
use ipnet::IpNet;

/// What the daemon's configuration says about itself.
#[derive(Debug, Clone, Default)]
pub struct SystemConfig {
    /// The engine's version.
    pub version: String,
    /// The commit it was built from; empty when that is not known.
    pub git_commit: String,
    /// When it was built, RFC 3339; empty when that is not known.
    pub build_time: String,
    /// The directory of durable state.
    pub root_dir: PathBuf,
    /// Whether it logs what it decides.
    pub debug: bool,
    /// Labels (`labels`).
    pub labels: Vec<String>,
    /// Mirrors of Docker Hub.
    pub mirrors: Vec<String>,
    /// Networks whose registries may be insecure.
    pub insecure_cidrs: Vec<String>,
    /// Registries that may be insecure.
    pub insecure_registries: Vec<String>,
    /// Proxy for `http`.
    pub http_proxy: String,
    /// Proxy for `https`.
    pub https_proxy: String,
    /// Where no proxy is used.
    pub no_proxy: String,
    /// Pools that subnets of new networks are taken from, when they were configured.
    pub address_pools: Vec<(IpNet, u8)>,
}

/// A part of the engine with a version of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Component {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// More about it.
    pub details: BTreeMap<String, String>,
}

/// What `SystemVersion` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// The engine's version.
    pub version: String,
    /// The commit it was built from.
    pub git_commit: String,
    /// When it was built.
    pub build_time: String,
    /// The kernel's release.
    pub kernel_version: String,
    /// Parts with versions of their own.
    pub components: Vec<Component>,
}

/// What is read.
#[derive(Debug)]
pub(crate) struct Services {
    pub(crate) containers: Containers,
    pub(crate) images: Images,
    pub(crate) volumes: Volumes,
    pub(crate) networks: Networks,
    pub(crate) events: Events,
    pub(crate) storage: Storage,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) id: String,
}

#[derive(Debug)]
struct Inner {
    services: Services,
    config: RwLock<Arc<SystemConfig>>,
}

/// Reads; changes nothing. A cheap handle.
#[derive(Debug, Clone)]
pub struct System(Arc<Inner>);

impl System {
    pub(crate) fn new(services: Services, config: SystemConfig) -> Self {
        Self(Arc::new(Inner {
            services,
            config: RwLock::new(Arc::new(config)),
        }))
    }

    pub(crate) fn services(&self) -> &Services {
        &self.0.services
    }

    pub(crate) fn config(&self) -> Arc<SystemConfig> {
        Arc::clone(&self.0.config.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes over another configuration (SIGHUP).
    pub fn reload(&self, config: SystemConfig) {
        *self
            .0
            .config
            .write()
            .unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
    }

    /// The engine's ID, a UUID; it lives as long as its data.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.0.services.id
    }

    /// The versions of the engine and its parts (`SystemVersion`).
    #[must_use]
    pub fn version(&self) -> Version {
        let config = self.config();
        let component = |name: &str| Component {
            name: name.to_owned(),
            version: config.version.clone(),
            details: BTreeMap::from([("GitCommit".to_owned(), config.git_commit.clone())]),
        };
        Version {
            version: config.version.clone(),
            git_commit: config.git_commit.clone(),
            build_time: config.build_time.clone(),
            kernel_version: crate::host::kernel(),
            components: vec![component("arca-shim"), component("arca-init")],
        }
    }
}
