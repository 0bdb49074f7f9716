//! Limits: the part of `HostConfig` that update takes, too.

use arca_containers::model::{self, Resources};
use arca_wire::container::{
    DeviceMapping, DeviceRequest, HostConfig, ThrottleDevice, Ulimit, WeightDevice,
};

use super::refuse;
use crate::error::ApiError;

/// The limits of a `HostConfig`, leaving its other fields alone.
pub(crate) fn resources(host: &mut HostConfig) -> Result<Resources, ApiError> {
    refuse_foreign(host)?;
    Ok(Resources {
        cpu_shares: host.cpu_shares,
        memory: host.memory,
        nano_cpus: host.nano_cpus,
        cgroup_parent: std::mem::take(&mut host.cgroup_parent),
        blkio_weight: host.blkio_weight,
        blkio_weight_device: host.blkio_weight_device.take().map(|devices| {
            let weight = |WeightDevice { path, weight }| model::WeightDevice { path, weight };
            devices.into_iter().map(weight).collect()
        }),
        blkio_device_read_bps: throttles(host.blkio_device_read_bps.take()),
        blkio_device_write_bps: throttles(host.blkio_device_write_bps.take()),
        blkio_device_read_iops: throttles(host.blkio_device_read_iops.take()),
        blkio_device_write_iops: throttles(host.blkio_device_write_iops.take()),
        cpu_period: host.cpu_period,
        cpu_quota: host.cpu_quota,
        cpu_realtime_period: host.cpu_realtime_period,
        cpu_realtime_runtime: host.cpu_realtime_runtime,
        cpuset_cpus: std::mem::take(&mut host.cpuset_cpus),
        cpuset_mems: std::mem::take(&mut host.cpuset_mems),
        devices: host.devices.take().map(|devices| {
            let device = |DeviceMapping {
                              path_on_host,
                              path_in_container,
                              cgroup_permissions,
                          }| {
                model::DeviceMapping {
                    path_on_host,
                    path_in_container,
                    cgroup_permissions,
                }
            };
            devices.into_iter().map(device).collect()
        }),
        device_cgroup_rules: host.device_cgroup_rules.take(),
        device_requests: host
            .device_requests
            .take()
            .map(|requests| requests.into_iter().map(device_request).collect()),
        kernel_memory_tcp: host.kernel_memory_tcp,
        memory_reservation: host.memory_reservation,
        memory_swap: host.memory_swap,
        memory_swappiness: host.memory_swappiness,
        oom_kill_disable: host.oom_kill_disable,
        // Anything but a number of processes means that there is no limit.
        pids_limit: host.pids_limit.map(|limit| limit.max(0)),
        ulimits: host.ulimits.take().map(|limits| {
            let limit = |Ulimit { name, hard, soft }| model::Ulimit { name, hard, soft };
            limits.into_iter().map(limit).collect()
        }),
    })
}

fn device_request(request: DeviceRequest) -> model::DeviceRequest {
    let DeviceRequest {
        driver,
        count,
        device_ids,
        capabilities,
        options,
    } = request;
    model::DeviceRequest {
        driver,
        count,
        device_ids,
        capabilities,
        options,
    }
}

/// Takes limits away that only Windows has; returns warnings.
pub(crate) fn drop_windows_limits(host: &mut HostConfig) -> Vec<String> {
    let mut warnings = Vec::new();
    for (limit, text) in [
        (&mut host.cpu_count, "CPU count. Count"),
        (&mut host.cpu_percent, "CPU percent. Percent"),
    ] {
        if std::mem::take(limit) != 0 {
            warnings.push(format!("linux does not support {text} discarded."));
        }
    }
    warnings
}

/// Limits that are of Windows or of kernels long gone.
fn refuse_foreign(host: &HostConfig) -> Result<(), ApiError> {
    for (limit, what) in [
        (host.io_maximum_bandwidth, "bandwidth"),
        (host.io_maximum_iops, "IOPs"),
    ] {
        if limit != 0 {
            return Err(ApiError::bad(format!(
                "invalid option: QoS maximum {what} configuration is not supported on linux"
            )));
        }
    }
    refuse(
        host.kernel_memory != 0,
        "KernelMemory",
        "kernels have no such limit any more",
    )
}

fn throttles(devices: Option<Vec<ThrottleDevice>>) -> Option<Vec<model::ThrottleDevice>> {
    let throttle = |ThrottleDevice { path, rate }| model::ThrottleDevice { path, rate };
    devices.map(|devices| devices.into_iter().map(throttle).collect())
}
