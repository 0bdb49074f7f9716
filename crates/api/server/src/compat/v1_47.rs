//! The last version without image mounts and gateway priorities.

use arca_wire::container::{HostConfig, NetworkingConfig};

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
