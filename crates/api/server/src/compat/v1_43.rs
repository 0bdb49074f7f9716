//! The last version with `VirtualSize`, one network at create and a MAC address for the container.

use arca_wire::container::{Config, HostConfig, NetworkingConfig};
use arca_wire::image::{ImageInspect, ImageSummary};
use arca_wire::network::EndpointSettings;
use arca_wire::system::Info;

use super::ApiVersion;
use crate::error::ApiError;

pub(super) fn create(
    config: &mut Config,
    host: &mut HostConfig,
    networking: &NetworkingConfig,
) -> Result<(), ApiError> {
    if let Some(check) = &mut config.healthcheck {
        check.start_interval = 0;
    }
    for mount in host
        .mounts
        .iter_mut()
        .filter(|mount| mount.kind == "bind" && mount.read_only)
    {
        mount
            .bind_options
            .get_or_insert_default()
            .read_only_non_recursive = true;
    }
    if networking.endpoints_config.len() > 1 {
        let names: Vec<&str> = networking
            .endpoints_config
            .keys()
            .map(String::as_str)
            .collect();
        return Err(ApiError::bad(format!(
            "Container cannot be created with multiple network endpoints: {}",
            names.join(", ")
        )));
    }
    Ok(())
}

/// The MAC address of the container belongs to its endpoint on the main network. Newer clients that
/// still give it get a warning, which is returned.
pub(super) fn move_mac_address(
    version: ApiVersion,
    config: &mut Config,
    host: &HostConfig,
    networking: &mut NetworkingConfig,
) -> Result<Option<String>, ApiError> {
    let address = std::mem::take(&mut config.mac_address);
    let old = version.before(44);
    if address.is_empty() {
        if old {
            // not known then, so ignored then
            for endpoint in networking.endpoints_config.values_mut().flatten() {
                endpoint.mac_address.clear();
            }
        }
        return Ok(None);
    }
    let mode = host.network_mode.as_str();
    let has_endpoint = !(mode == "host" || mode == "none" || mode.starts_with("container:"));
    if has_endpoint {
        let endpoint = main_endpoint(mode, networking);
        if !old && !endpoint.mac_address.is_empty() && endpoint.mac_address != address {
            return Err(ApiError::bad(
                "the container-wide MAC address must match the endpoint-specific MAC address for the \
                 main network, or be left empty",
            ));
        }
        endpoint.mac_address = address;
    } else if old {
        return Err(ApiError::bad(
            "conflicting options: mac-address and the network mode",
        ));
    }
    Ok((!old).then(|| {
        "The container-wide MacAddress field is now deprecated. It should be specified in \
         EndpointsConfig instead."
            .to_owned()
    }))
}

/// The endpoint on the network that the mode names; it is made when there is none.
fn main_endpoint<'a>(mode: &str, networking: &'a mut NetworkingConfig) -> &'a mut EndpointSettings {
    let names: &[&str] = match mode {
        "" | "default" | "bridge" => &["bridge", "default"],
        other => &[other],
    };
    let found = names
        .iter()
        .find(|name| networking.endpoints_config.contains_key(**name));
    let name = found
        .or(names.first())
        .copied()
        .unwrap_or("bridge")
        .to_owned();
    networking
        .endpoints_config
        .entry(name)
        .or_default()
        .get_or_insert_default()
}

pub(super) fn image_list(image: &mut ImageSummary) {
    image.virtual_size = Some(image.size);
}

pub(super) fn image_inspect(image: &mut ImageInspect) {
    image.virtual_size = Some(image.size);
}

pub(super) fn info(info: &mut Info) {
    for runtime in info.runtimes.values_mut() {
        runtime.status.clear();
    }
}
