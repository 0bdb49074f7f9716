//! Where the data of volumes are: one driver for each kind of place.

mod addresses;
mod block;
mod filesystem;
mod local;
mod mount_options;
mod plugin;
mod table;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use arca_plugin_client::{Plugins, volume as api};
use arca_types::ContainerId;
use async_trait::async_trait;

use crate::error::Error;
use crate::record::Volume;

pub(crate) use filesystem::make_directory;
pub(crate) use table::{mounted_below, unmount};

/// How long a plugin may take to tell what it has.
const PATIENCE: Duration = Duration::from_secs(10);

/// Who has a volume mounted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Holder {
    /// A container that runs.
    Container(ContainerId),
    /// A piece of work of the engine, by a random name.
    Work(String),
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Container(id) => write!(f, "{id}"),
            Self::Work(name) => f.write_str(name),
        }
    }
}

/// A kind of volume.
#[async_trait]
pub(crate) trait VolumeDriver: fmt::Debug + Send + Sync {
    /// Makes the volume. What is left of one that was not recorded is used or replaced.
    async fn create(&self, volume: &Volume) -> Result<(), Error>;

    /// Removes what the data are not: they are deleted with the volume's directory.
    async fn remove(&self, volume: &Volume) -> Result<(), Error>;

    /// Makes the data accessible for `holder`; returns where. Whether it is so already is the driver's to find
    /// out: an earlier daemon may have done it.
    async fn mount(&self, volume: &Volume, holder: &Holder) -> Result<PathBuf, Error>;

    /// Gives up what `holder` had; `last` says that nobody is left.
    async fn unmount(&self, volume: &Volume, holder: &Holder, last: bool) -> Result<(), Error>;

    /// Whether one container at a time may have it.
    fn is_exclusive(&self) -> bool {
        false
    }

    /// What the driver tells about a volume.
    async fn told(&self, _volume: &Volume) -> Option<Told> {
        None
    }

    /// How many bytes it takes; `None` when that is not known.
    async fn size(&self, volume: &Volume) -> Result<Option<u64>, Error>;
}

/// What a driver tells about a volume.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Told {
    /// Where it is on this host; empty when that is not known.
    pub mountpoint: String,
    /// What else there is (`Status`).
    pub status: Option<std::collections::BTreeMap<String, serde_json::Value>>,
}

/// The drivers there are.
#[derive(Debug)]
pub(crate) struct Drivers {
    local: local::Local,
    block: block::Block,
    plugins: Plugins,
}

impl Drivers {
    pub(crate) fn new(root: &Path, plugins: Plugins) -> Self {
        Self {
            local: local::Local::new(root),
            block: block::Block::new(root),
            plugins,
        }
    }

    /// The driver of a volume.
    pub(crate) fn of<'a>(&'a self, volume: &'a Volume) -> Box<dyn VolumeDriver + 'a> {
        match volume.driver.as_str() {
            Volume::LOCAL => Box::new(self.local.clone()),
            Volume::BLOCK => Box::new(self.block.clone()),
            name => Box::new(plugin::FromPlugin::new(&self.plugins, name)),
        }
    }

    /// Where the volumes of the driver are found: `local` or `global`.
    pub(crate) async fn scope(&self, volume: &Volume) -> String {
        let name = volume.driver.as_str();
        if matches!(name, Volume::LOCAL | Volume::BLOCK) {
            return Volume::LOCAL.to_owned();
        }
        match self.plugins.get(name, api::KIND).await {
            Ok(plugin) => api::scope(&plugin).await,
            Err(_gone) => Volume::LOCAL.to_owned(),
        }
    }

    /// Asks every plugin for the volume `name`, which nobody has made through this engine.
    pub(crate) async fn found_elsewhere(&self, name: &str) -> Option<Volume> {
        for plugin in self.plugins.all(api::KIND).await {
            match tokio::time::timeout(PATIENCE, api::get(&plugin, name)).await {
                Ok(Ok(Some(found))) if found.name == name => {
                    let volume = plugin::of_plugin(plugin.name(), &found);
                    let scope = api::scope(&plugin).await;
                    return Some(Volume { scope, ..volume });
                }
                Ok(Ok(_none)) => {}
                Ok(Err(error)) => tracing::debug!(plugin = plugin.name(), %error, "not asked"),
                Err(_elapsed) => tracing::debug!(plugin = plugin.name(), "it does not answer"),
            }
        }
        None
    }

    /// Asks every plugin for its volumes; those that do not answer are left out. By the plugin's name.
    pub(crate) async fn listed_elsewhere(&self) -> BTreeMap<String, Vec<(Volume, String)>> {
        let mut all = BTreeMap::new();
        for plugin in self.plugins.all(api::KIND).await {
            let name = plugin.name().to_owned();
            match tokio::time::timeout(PATIENCE, api::list(&plugin)).await {
                Ok(Ok(listed)) => {
                    let scope = api::scope(&plugin).await;
                    let scoped = |volume: api::Volume| {
                        let scope = scope.clone();
                        let made = plugin::of_plugin(&name, &volume);
                        (Volume { scope, ..made }, volume.mountpoint)
                    };
                    let listed = listed.into_iter().map(scoped).collect();
                    all.insert(name, listed);
                }
                Ok(Err(error)) => tracing::debug!(plugin = name, %error, "not listed"),
                Err(_elapsed) => tracing::debug!(plugin = name, "it does not answer"),
            }
        }
        all
    }

    /// Checks that there is a driver `name`.
    pub(crate) async fn check(&self, volume: &str, name: &str) -> Result<(), Error> {
        if matches!(name, Volume::LOCAL | Volume::BLOCK) {
            return Ok(());
        }
        let found = self.plugins.get(name, api::KIND).await;
        found.map(drop).map_err(|source| Error::Driver {
            name: volume.to_owned(),
            driver: name.to_owned(),
            source,
        })
    }
}

/// Runs what blocks on a thread that may.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_cancelled| Error::ShuttingDown)?
}
