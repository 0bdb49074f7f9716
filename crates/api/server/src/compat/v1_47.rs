//! The last version without image mounts, gateway priorities and IPv6-only networks.

use arca_wire::container::{HostConfig, NetworkingConfig};
use serde_json::Value;

use super::ApiVersion;
use crate::error::ApiError;

pub(super) fn create(host: &HostConfig, networking: &mut NetworkingConfig) -> Result<(), ApiError> {
    if host.mounts.iter().any(|mount| mount.kind == "image") {
        return Err(ApiError::bad(
            "Mount type \"Image\" needs API v1.48 or newer",
        ));
    }
    for endpoint in networking.endpoints_config.values_mut().flatten() {
        endpoint.gw_priority = 0;
    }
    Ok(())
}

/// Whether save, load, history and others take `platform`.
pub(crate) fn images_take_platform(version: ApiVersion) -> bool {
    !version.before(48)
}

pub(super) fn network(network: &mut Value) {
    if let Some(fields) = network.as_object_mut() {
        fields.remove("EnableIPv4");
    }
}
