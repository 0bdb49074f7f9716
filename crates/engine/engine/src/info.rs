//! `SystemInfo`: the engine and its host, every field as it is now.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use arca_containers::{Abilities, State};
use arca_storage::Driver;
use arca_types::Timestamp;
use ipnet::IpNet;

use crate::error::Error;
use crate::host;
use crate::system::System;

/// A runtime as `info` shows it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Runtime {
    /// Its program; for the one that is built in, its name.
    pub path: String,
    /// Arguments put before its command.
    pub args: Vec<String>,
}

/// What `SystemInfo` says. Sizes are in bytes.
#[derive(Debug, Clone)]
#[expect(
    missing_docs,
    reason = "the names are the API's (SystemInfo), in words"
)]
pub struct Info {
    pub id: String,
    pub name: String,
    pub containers_running: u64,
    pub containers_paused: u64,
    pub containers_stopped: u64,
    pub images: u64,
    pub storage_driver: String,
    pub driver_status: Vec<(String, String)>,
    pub volume_drivers: Vec<String>,
    pub network_drivers: Vec<String>,
    pub log_drivers: Vec<String>,
    pub memory_limit: bool,
    pub swap_limit: bool,
    pub kernel_memory_tcp: bool,
    pub cpu_cfs_period: bool,
    pub cpu_cfs_quota: bool,
    pub cpu_shares: bool,
    pub cpu_set: bool,
    pub pids_limit: bool,
    pub oom_kill_disable: bool,
    pub ipv4_forwarding: bool,
    pub debug: bool,
    pub open_files: u64,
    pub tasks: u64,
    pub event_listeners: u64,
    pub time: Timestamp,
    pub log_driver: String,
    pub cgroup_driver: String,
    pub cgroup_version: String,
    pub kernel_version: String,
    pub operating_system: String,
    pub os_version: String,
    pub architecture: String,
    pub cpus: u64,
    pub memory: u64,
    pub root_dir: PathBuf,
    pub http_proxy: String,
    pub https_proxy: String,
    pub no_proxy: String,
    pub labels: Vec<String>,
    pub version: String,
    pub runtimes: BTreeMap<String, Runtime>,
    pub default_runtime: String,
    pub init_binary: String,
    pub security_options: Vec<String>,
    pub address_pools: Vec<(IpNet, u8)>,
    pub mirrors: Vec<String>,
    pub insecure_cidrs: Vec<String>,
    pub insecure_registries: Vec<String>,
    pub firewall: String,
    pub cdi_dirs: Vec<PathBuf>,
    pub cdi_devices: Vec<String>,
    pub warnings: Vec<String>,
}

/// How many containers there are in each state.
#[derive(Debug, Default)]
struct Counts {
    running: u64,
    paused: u64,
    stopped: u64,
}

impl System {
    /// The engine and its host (`SystemInfo`).
    ///
    /// # Errors
    /// [`Error::ShuttingDown`].
    pub async fn info(&self) -> Result<Info, Error> {
        let system = self.clone();
        let tasks = tokio::runtime::Handle::current()
            .metrics()
            .num_alive_tasks();
        let tasks = u64::try_from(tasks).unwrap_or(u64::MAX);
        // Many small files are read.
        let read = tokio::task::spawn_blocking(move || system.read_info(tasks));
        let mut info = read.await.map_err(|_cancelled| Error::ShuttingDown)?;
        match self.services().networks.warnings().await {
            Ok(warnings) => info.warnings.extend(warnings),
            Err(error) => tracing::warn!(
                error = arca_types::chain(&error),
                "cannot tell whether another firewall is in the way"
            ),
        }
        Ok(info)
    }

    #[expect(clippy::too_many_lines, reason = "one line a field")]
    fn read_info(&self, tasks: u64) -> Info {
        let (services, config) = (self.services(), self.config());
        let containers = &*services.containers.config();
        let unified = services.containers.unified_cgroups();
        let abilities = services.containers.abilities();
        let counts = self.counts();
        let (operating_system, os_version) = host::distribution();
        Info {
            id: services.id.clone(),
            name: host::name(),
            containers_running: counts.running,
            containers_paused: counts.paused,
            containers_stopped: counts.stopped,
            images: u64::try_from(services.images.count()).unwrap_or(u64::MAX),
            storage_driver: driver_name(services.storage.driver()).to_owned(),
            driver_status: driver_status(services.storage.driver(), &config.root_dir),
            volume_drivers: owned(&["local"]),
            network_drivers: owned(&["bridge", "host", "ipvlan", "macvlan", "null"]),
            log_drivers: owned(&arca_containers::LOG_DRIVERS),
            memory_limit: abilities.memory,
            swap_limit: abilities.swap,
            kernel_memory_tcp: abilities.kernel_memory_tcp,
            cpu_cfs_period: abilities.cpu_period,
            cpu_cfs_quota: abilities.cpu_quota,
            cpu_shares: abilities.cpu_shares,
            cpu_set: abilities.cpuset,
            pids_limit: abilities.pids,
            oom_kill_disable: abilities.oom_kill_disable,
            ipv4_forwarding: host::forwards_ipv4(),
            debug: config.debug,
            open_files: host::open_files(),
            tasks,
            event_listeners: services.events.listeners(),
            time: services.clock.now(),
            log_driver: containers.log.driver.clone(),
            cgroup_driver: cgroup_driver(containers).to_owned(),
            cgroup_version: if unified { "2" } else { "1" }.to_owned(),
            kernel_version: host::kernel(),
            operating_system,
            os_version,
            architecture: host::machine(),
            cpus: host::cpus(),
            memory: host::memory(),
            root_dir: config.root_dir.clone(),
            http_proxy: config.http_proxy.clone(),
            https_proxy: config.https_proxy.clone(),
            no_proxy: config.no_proxy.clone(),
            labels: config.labels.clone(),
            version: config.version.clone(),
            runtimes: runtimes(containers),
            default_runtime: containers.default_runtime.clone(),
            init_binary: containers.init_path.to_string_lossy().into_owned(),
            security_options: security_options(&services.containers),
            address_pools: config.address_pools.clone(),
            mirrors: config.mirrors.clone(),
            insecure_cidrs: config.insecure_cidrs.clone(),
            insecure_registries: config.insecure_registries.clone(),
            firewall: "nftables".to_owned(),
            cdi_dirs: containers.cdi_dirs.clone(),
            cdi_devices: services.containers.cdi_devices(),
            warnings: warnings(abilities, unified),
        }
    }

    fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for container in self.services().containers.all() {
            match container.state {
                State::Paused(_) => counts.paused += 1,
                state if state.is_running() => counts.running += 1,
                _ => counts.stopped += 1,
            }
        }
        counts
    }
}

fn cgroup_driver(config: &arca_containers::Config) -> &'static str {
    if config.systemd_cgroups {
        "systemd"
    } else {
        "cgroupfs"
    }
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn driver_name(driver: Driver) -> &'static str {
    match driver {
        Driver::Overlay => "overlay2",
        Driver::Vfs => "vfs",
    }
}

fn driver_status(driver: Driver, root: &Path) -> Vec<(String, String)> {
    if driver == Driver::Vfs {
        return Vec::new();
    }
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    vec![
        pair("Backing Filesystem", host::filesystem(root)),
        pair("Supports d_type", "true"),
        pair("Using metacopy", "false"),
        pair("Native Overlay Diff", "true"),
        pair("userxattr", "false"),
    ]
}

fn runtimes(config: &arca_containers::Config) -> BTreeMap<String, Runtime> {
    let shown = config.runtimes.iter().map(|(name, kind)| {
        let runtime = match kind {
            arca_runtime::RuntimeKind::BuiltIn => Runtime {
                path: name.clone(),
                args: Vec::new(),
            },
            arca_runtime::RuntimeKind::Binary { path, args } => Runtime {
                path: path.to_string_lossy().into_owned(),
                args: args.clone(),
            },
        };
        (name.clone(), runtime)
    });
    shown.collect()
}

fn security_options(services: &arca_containers::Containers) -> Vec<String> {
    let config = services.config();
    let mut options = Vec::new();
    if services.has_apparmor() {
        options.push("name=apparmor".to_owned());
    }
    options.push(match config.seccomp_profile.as_deref() {
        None => "name=seccomp,profile=builtin".to_owned(),
        Some("unconfined") => "name=seccomp,profile=unconfined".to_owned(),
        Some(_) => "name=seccomp,profile=custom".to_owned(),
    });
    if config.users.is_some() {
        options.push("name=userns".to_owned());
    }
    if services.unified_cgroups() {
        options.push("name=cgroupns".to_owned());
    }
    if config.no_new_privileges {
        options.push("name=no-new-privileges".to_owned());
    }
    options
}

fn warnings(abilities: &Abilities, unified: bool) -> Vec<String> {
    let limits = [
        (abilities.memory, "memory limit"),
        (abilities.swap, "swap limit"),
        (abilities.cpu_period, "cpu cfs period"),
        (abilities.cpu_quota, "cpu cfs quota"),
        (abilities.cpu_shares, "cpu shares"),
        (abilities.cpuset, "cpuset"),
        (abilities.pids, "pids limit"),
        (abilities.oom_kill_disable || unified, "oom kill disable"),
    ];
    let mut warnings: Vec<String> = limits
        .into_iter()
        .filter(|(has, _)| !has)
        .map(|(_, what)| format!("WARNING: No {what} support"))
        .collect();
    if !host::forwards_ipv4() {
        warnings.push("WARNING: IPv4 forwarding is disabled".to_owned());
    }
    warnings
}
