//! The last version whose containers are in the host's cgroup namespace, and without platforms.

use arca_wire::container::HostConfig;

use super::ApiVersion;

pub(super) fn create(host: &mut HostConfig) {
    if host.cgroupns_mode.is_empty() {
        "host".clone_into(&mut host.cgroupns_mode);
    }
}

/// Whether create takes `platform`, and stats `one-shot`.
pub(crate) fn has_platform_and_one_shot(version: ApiVersion) -> bool {
    !version.before(41)
}

/// Whether the list of images takes `filter`, a reference.
pub(crate) fn has_image_filter(version: ApiVersion) -> bool {
    version.before(41)
}
