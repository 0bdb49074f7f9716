//! The last version whose aliases contain the short ID, and whose images come from a container.

use arca_wire::container::{Config, ContainerInspect, HostConfig};
use arca_wire::image::ImageInspect;

use crate::error::ApiError;

pub(super) fn create(host: &HostConfig) -> Result<(), ApiError> {
    let subpath = host
        .mounts
        .iter()
        .filter_map(|mount| mount.volume_options.as_ref());
    if subpath
        .into_iter()
        .any(|options| !options.subpath.is_empty())
    {
        return Err(ApiError::bad(
            "VolumeOptions.Subpath needs API v1.45 or newer",
        ));
    }
    Ok(())
}

pub(super) fn container_inspect(container: &mut ContainerInspect) {
    let short: String = container.id.chars().take(12).collect();
    for (name, endpoint) in &mut container.network_settings.networks {
        if matches!(name.as_str(), "bridge" | "host" | "none" | "default") {
            continue;
        }
        let aliases = endpoint.aliases.get_or_insert_default();
        for alias in [&short, &container.config.hostname] {
            if !aliases.contains(alias) {
                aliases.push(alias.clone());
            }
        }
    }
}

pub(super) fn image_inspect(image: &mut ImageInspect) {
    image.container_config = Some(Config::default());
}
