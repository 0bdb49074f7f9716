//! The last version without annotations in lists and without events of images that are made.

use arca_wire::container::{ContainerSummary, HostConfig};

use super::ApiVersion;
use crate::error::ApiError;

pub(super) fn create(host: &HostConfig) -> Result<(), ApiError> {
    let tmpfs = host
        .mounts
        .iter()
        .filter_map(|mount| mount.tmpfs_options.as_ref());
    if tmpfs.into_iter().any(|options| !options.options.is_empty()) {
        return Err(ApiError::bad(
            "TmpfsOptions.Options needs API v1.46 or newer",
        ));
    }
    Ok(())
}

pub(super) fn container_list(container: &mut ContainerSummary) {
    container.host_config.annotations.clear();
}

pub(super) fn hides_event(kind: &str, action: &str) -> bool {
    kind == "image" && action == "create"
}

/// Whether pushing an image takes `platform`.
pub(crate) fn push_takes_platform(version: ApiVersion) -> bool {
    !version.before(46)
}
