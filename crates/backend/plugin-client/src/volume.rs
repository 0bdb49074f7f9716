//! The requests of volume drivers (`VolumeDriver.*`).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::client::Plugin;
use crate::error::Error;

/// What a plugin has to implement.
pub const KIND: &str = "VolumeDriver";

/// A volume as its plugin shows it.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Volume {
    /// Its name.
    pub name: String,
    /// Where it is on this host, if it is mounted; empty if not.
    pub mountpoint: String,
    /// When it was made, in RFC 3339; empty when the plugin does not tell.
    pub created_at: String,
    /// What the plugin tells about it.
    pub status: Option<BTreeMap<String, serde_json::Value>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Named<'a> {
    name: &'a str,
}

#[derive(Serialize)]
struct Used<'a> {
    #[serde(rename = "Name")]
    name: &'a str,
    #[serde(rename = "ID")]
    id: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Wanted<'a> {
    name: &'a str,
    opts: Option<&'a BTreeMap<String, String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Mounted {
    mountpoint: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Found {
    volume: Option<Volume>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Listed {
    volumes: Option<Vec<Volume>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Capable {
    capabilities: Capabilities,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Capabilities {
    scope: String,
}

#[derive(Debug, Deserialize)]
struct Nothing {}

/// Makes a volume.
///
/// # Errors
/// As [`Plugin::call`].
pub async fn create(
    plugin: &Plugin,
    name: &str,
    options: Option<&BTreeMap<String, String>>,
) -> Result<(), Error> {
    let wanted = Wanted {
        name,
        opts: options,
    };
    let _done: Nothing = plugin.call("VolumeDriver.Create", &wanted).await?;
    Ok(())
}

/// Removes a volume.
///
/// # Errors
/// As [`Plugin::call`].
pub async fn remove(plugin: &Plugin, name: &str) -> Result<(), Error> {
    let _done: Nothing = plugin.call("VolumeDriver.Remove", &Named { name }).await?;
    Ok(())
}

/// Asks for the volume for the user `id`; returns where it is on this host.
///
/// # Errors
/// As [`Plugin::call`].
pub async fn mount(plugin: &Plugin, name: &str, id: &str) -> Result<String, Error> {
    let mounted: Mounted = plugin
        .call("VolumeDriver.Mount", &Used { name, id })
        .await?;
    Ok(mounted.mountpoint)
}

/// Tells that the user `id` no longer needs the volume.
///
/// # Errors
/// As [`Plugin::call`].
pub async fn unmount(plugin: &Plugin, name: &str, id: &str) -> Result<(), Error> {
    let used = Used { name, id };
    let _done: Nothing = plugin.call("VolumeDriver.Unmount", &used).await?;
    Ok(())
}

/// Shows a volume; `None` when the plugin has none of that name.
///
/// # Errors
/// As [`Plugin::call`], but for the plugin's own refusal, which means that there is none.
pub async fn get(plugin: &Plugin, name: &str) -> Result<Option<Volume>, Error> {
    let found: Result<Found, Error> = plugin.call("VolumeDriver.Get", &Named { name }).await;
    match found {
        Ok(found) => Ok(found.volume),
        Err(Error::Refused(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Lists the volumes that the plugin has.
///
/// # Errors
/// As [`Plugin::call`].
pub async fn list(plugin: &Plugin) -> Result<Vec<Volume>, Error> {
    let nothing = BTreeMap::<&str, &str>::new();
    let listed: Listed = plugin.call("VolumeDriver.List", &nothing).await?;
    Ok(listed.volumes.unwrap_or_default())
}

/// Tells where the plugin's volumes are to be found: `local` or `global`.
pub async fn scope(plugin: &Plugin) -> String {
    let capable: Result<Capable, Error> = plugin.call("VolumeDriver.Capabilities", &()).await;
    match capable {
        Ok(capable) if capable.capabilities.scope.eq_ignore_ascii_case("global") => {
            "global".to_owned()
        }
        _ => "local".to_owned(),
    }
}
