//! Volumes of plugins: other programs have them, and are asked for them.

use std::path::PathBuf;

use arca_plugin_client::{Plugin, Plugins, volume as api};
use arca_types::Timestamp;
use async_trait::async_trait;

use super::{Holder, Told, VolumeDriver};
use crate::error::Error;
use crate::record::Volume;

#[derive(Debug)]
pub(super) struct FromPlugin<'a> {
    plugins: &'a Plugins,
    name: &'a str,
}

/// A volume that the plugin `driver` has.
pub(super) fn of_plugin(driver: &str, found: &api::Volume) -> Volume {
    Volume {
        name: found.name.clone(),
        driver: driver.to_owned(),
        scope: Volume::LOCAL.to_owned(),
        labels: None,
        options: None,
        created_at: found.created_at.parse().unwrap_or(Timestamp::ZERO),
    }
}

impl<'a> FromPlugin<'a> {
    pub(super) fn new(plugins: &'a Plugins, name: &'a str) -> Self {
        Self { plugins, name }
    }

    async fn plugin(&self, volume: &Volume, action: &'static str) -> Result<Plugin, Error> {
        let found = self.plugins.get(self.name, api::KIND).await;
        found.map_err(|source| self.failed(volume, action, source))
    }

    fn failed(
        &self,
        volume: &Volume,
        action: &'static str,
        source: arca_plugin_client::Error,
    ) -> Error {
        Error::Plugin {
            action,
            name: volume.name.clone(),
            source,
        }
    }
}

#[async_trait]
impl VolumeDriver for FromPlugin<'_> {
    async fn create(&self, volume: &Volume) -> Result<(), Error> {
        let plugin = self.plugin(volume, "create").await?;
        let failed = |source| self.failed(volume, "create", source);
        // One that the plugin has already is used as it is.
        if api::get(&plugin, &volume.name)
            .await
            .map_err(failed)?
            .is_some()
        {
            return Ok(());
        }
        let made = api::create(&plugin, &volume.name, volume.options.as_ref()).await;
        made.map_err(failed)
    }

    async fn remove(&self, volume: &Volume) -> Result<(), Error> {
        let plugin = self.plugin(volume, "remove").await?;
        let removed = api::remove(&plugin, &volume.name).await;
        removed.map_err(|source| self.failed(volume, "remove", source))
    }

    async fn mount(&self, volume: &Volume, holder: &Holder) -> Result<PathBuf, Error> {
        let plugin = self.plugin(volume, "mount").await?;
        let mounted = api::mount(&plugin, &volume.name, &holder.to_string()).await;
        let path = mounted.map_err(|source| self.failed(volume, "mount", source))?;
        if path.starts_with('/') {
            Ok(PathBuf::from(path))
        } else {
            Err(Error::Mountpoint {
                driver: self.name.to_owned(),
                name: volume.name.clone(),
                path,
            })
        }
    }

    async fn unmount(&self, volume: &Volume, holder: &Holder, _last: bool) -> Result<(), Error> {
        let plugin = self.plugin(volume, "unmount").await?;
        let done = api::unmount(&plugin, &volume.name, &holder.to_string()).await;
        done.map_err(|source| self.failed(volume, "unmount", source))
    }

    async fn told(&self, volume: &Volume) -> Option<Told> {
        let plugin = self.plugin(volume, "get").await.ok()?;
        let found = api::get(&plugin, &volume.name).await.ok()??;
        Some(Told {
            mountpoint: found.mountpoint,
            status: found.status,
        })
    }

    async fn size(&self, _volume: &Volume) -> Result<Option<u64>, Error> {
        Ok(None)
    }
}
