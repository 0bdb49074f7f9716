//! What older clients send, brought up to date.

use arca_wire::container::{CreateRequest, HostConfig};

use super::{ApiVersion, v1_24, v1_39, v1_40, v1_41, v1_42, v1_43, v1_44, v1_45, v1_47};
use crate::error::ApiError;

/// Changes a create request into what a client of the newest version would have sent for the same.
/// Returns warnings.
pub(crate) fn create(
    version: ApiVersion,
    request: &mut CreateRequest,
) -> Result<Vec<String>, ApiError> {
    let CreateRequest {
        config,
        host_config,
        networking_config,
    } = request;
    let config = config.get_or_insert_default();
    let host = host_config.get_or_insert_default();
    let networking = networking_config.get_or_insert_default();
    if version.before(25) {
        v1_24::create(host);
    }
    if version.before(40) {
        v1_39::create(host);
    }
    if version.before(41) {
        v1_40::create(host);
    }
    if version.before(42) {
        v1_41::create(host);
    } else {
        v1_41::check_mounts(host)?;
    }
    if version.before(43) {
        v1_42::create(host);
    }
    if version.before(44) {
        v1_43::create(config, host, networking)?;
    }
    if version.before(45) {
        v1_44::create(host)?;
    }
    if version.before(46) {
        v1_45::create(host)?;
    }
    if version.before(48) {
        v1_47::create(host, networking)?;
    }
    let mut warnings = Vec::new();
    warnings.extend(v1_41::volume_driver_warning(version, host));
    warnings.extend(v1_43::move_mac_address(version, config, host, networking)?);
    Ok(warnings)
}

/// The same for the limits of an update.
pub(crate) fn update(version: ApiVersion, resources: &mut HostConfig) {
    if version.before(40) {
        v1_39::update(resources);
    }
    if !version.before(42) {
        // removed in 1.42: ignored since
        resources.kernel_memory = 0;
    }
}

/// The terminal size of an exec session, which clients before 1.42 cannot give.
pub(crate) fn exec_console_size(version: ApiVersion, size: Option<[u32; 2]>) -> Option<(u32, u32)> {
    if version.before(42) {
        None
    } else {
        size.map(|[height, width]| (height, width))
    }
}
