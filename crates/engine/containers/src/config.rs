//! What the daemon's configuration says about containers.

use std::collections::BTreeMap;
use std::path::PathBuf;

use arca_runtime::RuntimeKind;
use arca_types::IdMaps;

use crate::model::{CgroupnsMode, HostSpec, IpcMode, LogConfig, Ulimit};

/// Settings of the container service; all of them are defaults for containers that say nothing.
#[derive(Debug, Clone)]
pub struct Config {
    /// The directory of durable state; containers have theirs in `containers/` below it.
    pub data_root: PathBuf,
    /// The daemon's name in log tags.
    pub daemon_name: String,
    /// Name of the runtime (`default-runtime`).
    pub default_runtime: String,
    /// The runtimes there are (`runtimes`).
    pub runtimes: BTreeMap<String, RuntimeKind>,
    /// Log driver and its options (`log-driver`, `log-opts`).
    pub log: LogConfig,
    /// Whether containers are restarted when they are unhealthy (`restart-on-unhealthy`), unless their
    /// label says otherwise.
    pub restart_unhealthy: bool,
    /// Process limits (`default-ulimits`).
    pub ulimits: Vec<Ulimit>,
    /// Whether a small init runs in containers (`init`).
    pub init: bool,
    /// The init program on the host (`init-path`).
    pub init_path: PathBuf,
    /// Size of `/dev/shm` in bytes (`default-shm-size`); 0 means 64 MiB.
    pub shm_size: i64,
    /// IPC namespace (`default-ipc-mode`).
    pub ipc_mode: IpcMode,
    /// Cgroup namespace (`default-cgroupns-mode`); `None` depends on the cgroup version.
    pub cgroupns_mode: Option<CgroupnsMode>,
    /// Parent of containers' cgroups (`cgroup-parent`); empty for the driver's default.
    pub cgroup_parent: String,
    /// Whether systemd makes the cgroups (`exec-opts native.cgroupdriver=systemd`).
    pub systemd_cgroups: bool,
    /// Whether programs cannot gain privileges (`no-new-privileges`).
    pub no_new_privileges: bool,
    /// System call filter in Docker's JSON, or `unconfined` (`seccomp-profile`); `None` is built in.
    pub seccomp_profile: Option<String>,
    /// The user namespace of containers that do not say `--userns=host` (`userns-remap`).
    pub users: Option<UserNamespace>,
    /// Directories of CDI specifications (`cdi-spec-dirs`), of which a later one wins.
    pub cdi_dirs: Vec<PathBuf>,
}

/// A user namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserNamespace {
    /// The file that keeps it. Beside it, with the extension `files`, is one for mounts that the host's root
    /// writes to: it has an owner for what it makes.
    pub path: PathBuf,
    /// Its users and groups.
    pub ids: IdMaps,
}

impl Config {
    /// The user namespace of a container; `None` is the host's.
    #[must_use]
    pub fn users_of(&self, host: &HostSpec) -> Option<&UserNamespace> {
        self.users.as_ref().filter(|_| host.userns_mode != "host")
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data_root: PathBuf::from("/var/lib/arca"),
            daemon_name: "docker".to_owned(),
            default_runtime: "runc".to_owned(),
            runtimes: [
                ("runc".to_owned(), RuntimeKind::BuiltIn),
                ("io.containerd.runc.v2".to_owned(), RuntimeKind::BuiltIn),
            ]
            .into(),
            log: LogConfig {
                driver: "json-file".to_owned(),
                options: BTreeMap::new(),
            },
            restart_unhealthy: false,
            ulimits: Vec::new(),
            init: false,
            init_path: PathBuf::from("/usr/libexec/arca/arca-init"),
            shm_size: 0,
            ipc_mode: IpcMode::Private,
            cgroupns_mode: None,
            cgroup_parent: String::new(),
            systemd_cgroups: false,
            no_new_privileges: false,
            seccomp_profile: None,
            users: None,
            cdi_dirs: arca_cdi::SPEC_DIRS.iter().map(PathBuf::from).collect(),
        }
    }
}
