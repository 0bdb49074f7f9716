//! Limits of a container (`Resources` of the API definition).

use serde::{Deserialize, Serialize};

/// A limit of the process (`setrlimit(2)`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ulimit {
    /// Name without `RLIMIT_`, lower case: `nofile`.
    pub name: String,
    /// Hard limit, -1 for none.
    pub hard: i64,
    /// Soft limit, -1 for none.
    pub soft: i64,
}

/// A device of the host that the container may use.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceMapping {
    /// Path on the host.
    pub path_on_host: String,
    /// Path in the container.
    pub path_in_container: String,
    /// Any of `r`, `w` and `m`.
    pub cgroup_permissions: String,
}

/// Devices that a driver hands through (`--gpus`, and names of CDI devices).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceRequest {
    /// The driver; empty for any that has the capabilities.
    pub driver: String,
    /// How many; -1 for all.
    pub count: i32,
    /// Which; for the driver `cdi` full names.
    pub device_ids: Option<Vec<String>>,
    /// Alternatives, each a list of what a driver must be able to do.
    pub capabilities: Option<Vec<Vec<String>>>,
    /// Options of the driver.
    pub options: Option<std::collections::BTreeMap<String, String>>,
}

/// Relative share of a block device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WeightDevice {
    /// Path on the host.
    pub path: String,
    /// 10 to 1000.
    pub weight: u16,
}

/// Rate limit of a block device, in bytes or operations per second.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThrottleDevice {
    /// Path on the host.
    pub path: String,
    /// Per second.
    pub rate: u64,
}

/// Limits; 0 means unset wherever the API has no `null`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Resources {
    /// Relative CPU weight, 1024 being usual.
    pub cpu_shares: i64,
    /// Memory in bytes.
    pub memory: i64,
    /// CPUs in units of 1e-9.
    pub nano_cpus: i64,
    /// Parent cgroup.
    pub cgroup_parent: String,
    /// Relative weight of block I/O, 10 to 1000.
    pub blkio_weight: u16,
    /// The same by device.
    pub blkio_weight_device: Option<Vec<WeightDevice>>,
    /// Bytes read per second.
    pub blkio_device_read_bps: Option<Vec<ThrottleDevice>>,
    /// Bytes written per second.
    pub blkio_device_write_bps: Option<Vec<ThrottleDevice>>,
    /// Reads per second.
    pub blkio_device_read_iops: Option<Vec<ThrottleDevice>>,
    /// Writes per second.
    pub blkio_device_write_iops: Option<Vec<ThrottleDevice>>,
    /// CFS period in microseconds.
    pub cpu_period: i64,
    /// CFS quota in microseconds.
    pub cpu_quota: i64,
    /// Real-time period in microseconds.
    pub cpu_realtime_period: i64,
    /// Real-time runtime in microseconds.
    pub cpu_realtime_runtime: i64,
    /// CPUs, `0-2,4`.
    pub cpuset_cpus: String,
    /// Memory nodes.
    pub cpuset_mems: String,
    /// Devices.
    pub devices: Option<Vec<DeviceMapping>>,
    /// Rules of the devices cgroup, `c 1:3 rwm`.
    pub device_cgroup_rules: Option<Vec<String>>,
    /// Devices of drivers.
    pub device_requests: Option<Vec<DeviceRequest>>,
    /// TCP buffer memory in bytes (cgroup v1).
    pub kernel_memory_tcp: i64,
    /// Soft memory limit in bytes.
    pub memory_reservation: i64,
    /// Memory plus swap in bytes, -1 for no limit.
    pub memory_swap: i64,
    /// 0 to 100, `None` or -1 for the kernel's default.
    pub memory_swappiness: Option<i64>,
    /// Whether processes wait instead of being killed (cgroup v1).
    pub oom_kill_disable: Option<bool>,
    /// Number of processes; `None`, 0 and -1 for no limit.
    pub pids_limit: Option<i64>,
    /// Process limits.
    pub ulimits: Option<Vec<Ulimit>>,
}
