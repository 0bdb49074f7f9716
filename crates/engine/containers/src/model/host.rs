//! The part of a container's configuration that ties it to this host (`HostConfig`).

use std::collections::BTreeMap;
use std::fmt;

use arca_types::ContainerId;
use serde::{Deserialize, Serialize};

use super::{
    CgroupnsMode, IpcMode, MountRequest, NetworkMode, PidMode, Port, PortBinding, Resources,
    UtsMode,
};

/// Log driver and its options.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogConfig {
    /// Name of the driver; empty means the daemon's default.
    pub driver: String,
    /// Options as given.
    pub options: BTreeMap<String, String>,
}

/// When a container that ended is started again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum RestartKind {
    /// Never.
    #[default]
    No,
    /// Always, and when the daemon starts.
    Always,
    /// When its exit code is not zero.
    OnFailure,
    /// Always, unless a client stopped it.
    UnlessStopped,
}

impl RestartKind {
    /// The name that the API uses.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::No => "no",
            Self::Always => "always",
            Self::OnFailure => "on-failure",
            Self::UnlessStopped => "unless-stopped",
        }
    }
}

impl fmt::Display for RestartKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for RestartKind {
    type Err = crate::Error;

    /// Parses the name of a policy; the empty name is `no`.
    ///
    /// # Errors
    /// [`crate::Error::Invalid`] with dockerd's text.
    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name {
            "" | "no" => Ok(Self::No),
            "always" => Ok(Self::Always),
            "on-failure" => Ok(Self::OnFailure),
            "unless-stopped" => Ok(Self::UnlessStopped),
            other => Err(crate::Error::Invalid(format!(
                "invalid restart policy: unknown policy '{other}'; use one of 'no', 'always', \
                 'on-failure', or 'unless-stopped'"
            ))),
        }
    }
}

/// Restart policy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestartPolicy {
    /// When.
    pub kind: RestartKind,
    /// At most how often in a row (`on-failure` only); 0 means without limit.
    pub maximum_retry_count: i32,
}

/// A legacy link: the container knows another by an alias.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// The other container.
    pub container: ContainerId,
    /// Its name when the link was made, for the case that it is gone.
    pub name: String,
    /// What it is called.
    pub alias: String,
}

/// `HostConfig` of `ContainerCreate`, without what [`super::ContainerSpec`] holds itself.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct HostSpec {
    /// Binds as given: `source:destination[:options]`.
    pub binds: Option<Vec<String>>,
    /// File that the client wrote the ID to; shown again.
    pub container_id_file: String,
    /// Logging.
    pub log: LogConfig,
    /// Network.
    pub network_mode: NetworkMode,
    /// Published ports.
    pub port_bindings: Option<BTreeMap<Port, Vec<PortBinding>>>,
    /// Restart policy.
    pub restart_policy: RestartPolicy,
    /// Whether the container is removed when it has ended.
    pub auto_remove: bool,
    /// Driver of the volumes that `binds` makes; empty means `local`.
    pub volume_driver: String,
    /// Containers whose mounts are taken over: `container[:ro|rw]`.
    pub volumes_from: Option<Vec<String>>,
    /// Mounts in the long form.
    pub mounts: Option<Vec<MountRequest>>,
    /// Terminal size at the start: rows, columns.
    pub console_size: (u32, u32),
    /// Annotations of the OCI configuration.
    pub annotations: Option<BTreeMap<String, String>>,
    /// Capabilities added.
    pub cap_add: Option<Vec<String>>,
    /// Capabilities dropped.
    pub cap_drop: Option<Vec<String>>,
    /// Cgroup namespace; `None` means the host's default (private with cgroup v2).
    pub cgroupns_mode: Option<CgroupnsMode>,
    /// Name servers.
    pub dns: Option<Vec<String>>,
    /// Resolver options.
    pub dns_options: Option<Vec<String>>,
    /// Search domains.
    pub dns_search: Option<Vec<String>>,
    /// Lines of `/etc/hosts`: `name:address`.
    pub extra_hosts: Option<Vec<String>>,
    /// Additional groups, names or numbers.
    pub group_add: Option<Vec<String>>,
    /// IPC namespace.
    pub ipc_mode: Option<IpcMode>,
    /// Cgroup to share: always empty, there is none.
    pub cgroup: String,
    /// Links to other containers as given, `container[:alias]`; `None` once they are found.
    pub links: Option<Vec<String>>,
    /// The links, found.
    pub linked: Vec<Link>,
    /// Score for the kernel's OOM killer, -1000 to 1000.
    pub oom_score_adj: i32,
    /// PID namespace.
    pub pid_mode: PidMode,
    /// Whether nearly everything is allowed.
    pub privileged: bool,
    /// Whether every exposed port is published at a free host port.
    pub publish_all_ports: bool,
    /// Whether the root filesystem is read-only.
    pub readonly_rootfs: bool,
    /// Security options as given.
    pub security_opt: Option<Vec<String>>,
    /// Options of the storage driver.
    pub storage_opt: Option<BTreeMap<String, String>>,
    /// tmpfs mounts: path to options.
    pub tmpfs: Option<BTreeMap<String, String>>,
    /// UTS namespace.
    pub uts_mode: UtsMode,
    /// User namespace: `host`, or empty for the one of the daemon, if it has one.
    pub userns_mode: String,
    /// Size of `/dev/shm` in bytes; 0 means 64 MiB.
    pub shm_size: i64,
    /// Kernel parameters of the container's namespaces.
    pub sysctls: Option<BTreeMap<String, String>>,
    /// Name of the runtime; empty means the daemon's default.
    pub runtime: String,
    /// Isolation; only the default exists on Linux. Shown again.
    pub isolation: String,
    /// Whether a small init reaps zombies and forwards signals; `None` means the daemon's default.
    pub init: Option<bool>,
    /// Paths hidden from the container; `None` means the defaults.
    pub masked_paths: Option<Vec<String>>,
    /// Paths read-only in the container; `None` means the defaults.
    pub readonly_paths: Option<Vec<String>>,
    /// Limits.
    pub resources: Resources,
}
