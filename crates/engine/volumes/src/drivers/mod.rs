//! Where the data of volumes are: one driver for each kind of place.

mod block;
mod filesystem;
mod local;
mod mount_options;
mod plugin;
mod table;

use std::fmt;
use std::path::{Path, PathBuf};

use arca_plugin_client::Plugins;
use arca_types::ContainerId;
use async_trait::async_trait;

use crate::error::Error;
use crate::record::Volume;

pub(crate) use filesystem::make_directory;
pub(crate) use table::{mounted_below, unmount};

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

    /// What the driver tells about a volume (`Status`).
    async fn status(&self, _volume: &Volume) -> Option<Status> {
        None
    }

    /// How many bytes it takes; `None` when that is not known.
    async fn size(&self, volume: &Volume) -> Result<Option<u64>, Error>;
}

/// What a driver tells about a volume.
pub(crate) type Status = std::collections::BTreeMap<String, serde_json::Value>;

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
        match self
            .plugins
            .get(name, arca_plugin_client::volume::KIND)
            .await
        {
            Ok(plugin) => arca_plugin_client::volume::scope(&plugin).await,
            Err(_gone) => Volume::LOCAL.to_owned(),
        }
    }

    /// Checks that there is a driver `name`.
    pub(crate) async fn check(&self, volume: &str, name: &str) -> Result<(), Error> {
        if matches!(name, Volume::LOCAL | Volume::BLOCK) {
            return Ok(());
        }
        let found = self
            .plugins
            .get(name, arca_plugin_client::volume::KIND)
            .await;
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
