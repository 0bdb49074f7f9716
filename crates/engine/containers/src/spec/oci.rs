//! The parts of an OCI runtime configuration that arca writes (runtime-spec, config.md and
//! config-linux.md). What is `None` or empty is left out.

use std::collections::BTreeMap;

use oci_spec::runtime::LinuxSeccomp;
use serde::Serialize;

fn is_false(value: &bool) -> bool {
    !*value
}

/// The whole configuration.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Spec {
    pub(crate) oci_version: &'static str,
    pub(crate) process: Process,
    pub(crate) root: Root,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) hostname: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) domainname: String,
    pub(crate) mounts: Vec<Mount>,
    /// By the moment, in the OCI's words.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) hooks: BTreeMap<String, Vec<Hook>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) annotations: BTreeMap<String, String>,
    pub(crate) linux: Linux,
}

/// The root filesystem; its path is the shim's.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Root {
    pub(crate) path: &'static str,
    #[serde(skip_serializing_if = "is_false")]
    pub(crate) readonly: bool,
}

/// A process.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Process {
    #[serde(skip_serializing_if = "is_false")]
    pub(crate) terminal: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) console_size: Option<ConsoleSize>,
    pub(crate) user: User,
    pub(crate) args: Vec<String>,
    pub(crate) env: Vec<String>,
    pub(crate) cwd: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) capabilities: Option<Capabilities>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) rlimits: Vec<Rlimit>,
    #[serde(skip_serializing_if = "is_false")]
    pub(crate) no_new_privileges: bool,
    /// Filled in at the start: see [`crate::service::Service::apparmor_profile`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) apparmor_profile: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) oom_score_adj: Option<i32>,
}

/// Size of a terminal.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct ConsoleSize {
    pub(crate) height: u32,
    pub(crate) width: u32,
}

/// User and groups of a process.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct User {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) additional_gids: Vec<u32>,
}

/// Capability sets.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Capabilities {
    pub(crate) bounding: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) effective: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) permitted: Vec<String>,
}

/// A process limit.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Rlimit {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) hard: u64,
    pub(crate) soft: u64,
}

/// A mount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Mount {
    pub(crate) destination: String,
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) source: String,
    pub(crate) options: Vec<String>,
    #[serde(rename = "uidMappings", skip_serializing_if = "Vec::is_empty")]
    pub(crate) uid_mappings: Vec<IdRange>,
    #[serde(rename = "gidMappings", skip_serializing_if = "Vec::is_empty")]
    pub(crate) gid_mappings: Vec<IdRange>,
}

/// A range of IDs: as the file system has them, and as they are seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct IdRange {
    #[serde(rename = "containerID")]
    pub(crate) container_id: u32,
    #[serde(rename = "hostID")]
    pub(crate) host_id: u32,
    pub(crate) size: u32,
}

impl From<&arca_types::IdRange> for IdRange {
    fn from(range: &arca_types::IdRange) -> Self {
        Self {
            container_id: range.inside,
            host_id: range.outside,
            size: range.size,
        }
    }
}

/// Ranges of users and of groups.
pub(crate) type IdRanges = (Vec<IdRange>, Vec<IdRange>);

/// The mappings of users and of groups.
pub(crate) fn id_ranges(ids: &arca_types::IdMaps) -> IdRanges {
    let ranges = |all: &[arca_types::IdRange]| all.iter().map(IdRange::from).collect();
    (ranges(&ids.users), ranges(&ids.groups))
}

impl Mount {
    /// Shows owners as `ids` map them.
    pub(crate) fn map_owners(&mut self, ids: &arca_types::IdMaps) {
        (self.uid_mappings, self.gid_mappings) = id_ranges(ids);
    }
}

/// A program of the host that is run at a moment of the container's life.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Hook {
    pub(crate) path: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) args: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) env: Vec<String>,
    /// Seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) timeout: Option<i64>,
}

/// What is Linux's own.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Linux {
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) sysctl: BTreeMap<String, String>,
    pub(crate) resources: Resources,
    pub(crate) cgroups_path: String,
    #[serde(rename = "uidMappings", skip_serializing_if = "Vec::is_empty")]
    pub(crate) uid_mappings: Vec<IdRange>,
    #[serde(rename = "gidMappings", skip_serializing_if = "Vec::is_empty")]
    pub(crate) gid_mappings: Vec<IdRange>,
    pub(crate) namespaces: Vec<Namespace>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) devices: Vec<Device>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) seccomp: Option<LinuxSeccomp>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) rootfs_propagation: String,
    pub(crate) masked_paths: Vec<String>,
    pub(crate) readonly_paths: Vec<String>,
}

/// A namespace: new, or joined by path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Namespace {
    #[serde(rename = "type")]
    pub(crate) kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) path: Option<String>,
}

/// A device node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Device {
    pub(crate) path: String,
    #[serde(rename = "type")]
    pub(crate) kind: char,
    pub(crate) major: u32,
    pub(crate) minor: u32,
    pub(crate) file_mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// A rule of the devices cgroup; -1 stands for all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct DeviceRule {
    pub(crate) allow: bool,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub(crate) kind: Option<char>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) major: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) minor: Option<i64>,
    pub(crate) access: String,
}

/// Limits.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Resources {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) devices: Vec<DeviceRule>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) memory: Option<Memory>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cpu: Option<Cpu>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) pids: Option<Pids>,
    #[serde(rename = "blockIO", skip_serializing_if = "Option::is_none")]
    pub(crate) block_io: Option<BlockIo>,
}

/// Memory limits in bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Memory {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) limit: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reservation: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) swap: Option<i64>,
    #[serde(rename = "kernelTCP", skip_serializing_if = "Option::is_none")]
    pub(crate) kernel_tcp: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) swappiness: Option<u64>,
    #[serde(rename = "disableOOMKiller", skip_serializing_if = "Option::is_none")]
    pub(crate) disable_oom_killer: Option<bool>,
}

/// CPU limits.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Cpu {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) shares: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) quota: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) period: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) realtime_runtime: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) realtime_period: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cpus: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) mems: Option<String>,
}

/// Limit on the number of processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Pids {
    pub(crate) limit: i64,
}

/// Block I/O.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct BlockIo {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) weight: Option<u16>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) weight_device: Vec<DeviceWeight>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) throttle_read_bps_device: Vec<DeviceRate>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) throttle_write_bps_device: Vec<DeviceRate>,
    #[serde(
        rename = "throttleReadIOPSDevice",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub(crate) throttle_read_iops_device: Vec<DeviceRate>,
    #[serde(
        rename = "throttleWriteIOPSDevice",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub(crate) throttle_write_iops_device: Vec<DeviceRate>,
}

/// Weight of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct DeviceWeight {
    pub(crate) major: u32,
    pub(crate) minor: u32,
    pub(crate) weight: u16,
}

/// Rate of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct DeviceRate {
    pub(crate) major: u32,
    pub(crate) minor: u32,
    pub(crate) rate: u64,
}
