//! The last version that tolerates options of the wrong kind of mount, and more that was cleaned up.

use arca_wire::container::HostConfig;
use arca_wire::system::{DiskUsage, Info};

use super::ApiVersion;
use crate::error::ApiError;

pub(super) fn create(host: &mut HostConfig) {
    host.console_size = [0, 0];
    for mount in &mut host.mounts {
        if let Some(options) = &mut mount.bind_options {
            options.create_mountpoint = false;
        }
        if mount.kind != "bind" {
            mount.bind_options = None;
        }
        if mount.kind != "volume" {
            mount.volume_options = None;
        }
        if mount.kind != "tmpfs" {
            mount.tmpfs_options = None;
        }
    }
}

/// What newer clients are refused.
pub(super) fn check_mounts(host: &mut HostConfig) -> Result<(), ApiError> {
    // removed in 1.42: ignored since
    host.kernel_memory = 0;
    for mount in &host.mounts {
        let kinds = [
            ("VolumeOptions", "volume", mount.volume_options.is_some()),
            ("BindOptions", "bind", mount.bind_options.is_some()),
            ("TmpfsOptions", "tmpfs", mount.tmpfs_options.is_some()),
        ];
        if let Some((name, ..)) = kinds
            .iter()
            .find(|(_, kind, set)| *set && mount.kind != *kind)
        {
            return Err(ApiError::bad(format!(
                "{name} must not be specified on mount type \"{}\"",
                mount.kind
            )));
        }
    }
    Ok(())
}

/// Since 1.42 `VolumeDriver` is for `Binds` alone, and says so.
pub(super) fn volume_driver_warning(version: ApiVersion, host: &HostConfig) -> Option<String> {
    if host.volume_driver.is_empty() || version.before(42) {
        return None;
    }
    let without_driver = host
        .mounts
        .iter()
        .filter(|mount| mount.kind == "volume")
        .any(|mount| {
            let driver = mount
                .volume_options
                .as_ref()
                .and_then(|options| options.driver_config.as_ref());
            driver.is_none_or(|driver| driver.name.is_empty())
        });
    without_driver.then(|| {
        "WARNING: the container-wide volume-driver configuration is ignored for volumes specified via \
         'mount'. Use '--mount type=volume,volume-driver=...' instead"
            .to_owned()
    })
}

/// Whether stop and restart take `signal`.
pub(crate) fn stop_takes_signal(version: ApiVersion) -> bool {
    !version.before(42)
}

/// Whether hijacked and log streams say that they are framed.
pub(crate) fn announces_frames(version: ApiVersion) -> bool {
    !version.before(42)
}

/// Whether websockets attach only the streams asked for.
pub(crate) fn websocket_streams(version: ApiVersion) -> bool {
    !version.before(42)
}

/// Whether pruning volumes takes named ones too.
pub(crate) fn prunes_named_volumes(version: ApiVersion) -> bool {
    version.before(42)
}

/// Whether disk usage is always that of everything.
pub(crate) fn ignores_usage_types(version: ApiVersion) -> bool {
    version.before(42)
}

/// The size of the build cache was a field of its own.
pub(super) fn disk_usage(usage: &mut DiskUsage) {
    let records = usage.build_cache.iter().flatten();
    usage.builder_size = Some(
        records
            .filter(|record| !record.shared)
            .map(|record| record.size)
            .sum(),
    );
}

/// Whether the kernel counts its own memory was told; it does where it counts that of TCP.
pub(super) fn info(info: &mut Info) {
    info.kernel_memory = info.kernel_memory_tcp;
}
