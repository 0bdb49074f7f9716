//! From the domain to an OCI runtime configuration, as dockerd writes it (daemon/oci_linux.go there
//! is the reference for what clients observe).

pub(crate) mod capabilities;
pub(crate) mod devices;
pub(crate) mod mounts;
pub(crate) mod oci;
mod process;
pub(crate) mod resources;
pub(crate) mod security;

use std::collections::BTreeMap;

use crate::Error;
use crate::abilities::Abilities;
use crate::config::UserNamespace;
use crate::model::{CgroupnsMode, ContainerSpec, IpcMode, PidMode, Ulimit, UtsMode};
use crate::mounting::Mounted;
use crate::seccomp;
use crate::users::Account;

pub(crate) use process::{ProcessInput, add_home, environment, override_with, process};

/// Paths hidden from containers by default.
pub(crate) const MASKED_PATHS: [&str; 12] = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];

/// Paths read-only in containers by default.
pub(crate) const READONLY_PATHS: [&str; 5] = [
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
];

/// What this host can do and the daemon wants: the same for all containers.
#[derive(Debug, Clone)]
pub(crate) struct HostFacts {
    /// Whether cgroups are unified (v2).
    pub(crate) unified: bool,
    /// What cgroups can limit.
    pub(crate) abilities: Abilities,
    /// Capabilities that the daemon itself has.
    pub(crate) bounding: capabilities::Bounding,
    /// Whether AppArmor is active.
    pub(crate) apparmor: bool,
}

/// Everything that decides about one container's configuration.
#[derive(Debug)]
pub(crate) struct SpecInput<'a> {
    pub(crate) spec: &'a ContainerSpec,
    pub(crate) path: &'a str,
    pub(crate) args: &'a [String],
    pub(crate) hostname: &'a str,
    pub(crate) points: &'a [Mounted],
    pub(crate) files: Option<mounts::NetworkFiles<'a>>,
    pub(crate) account: &'a Account,
    pub(crate) joined: &'a Joined,
    pub(crate) init: Option<&'a str>,
    pub(crate) cgroups_path: String,
    pub(crate) ulimits: &'a [Ulimit],
    pub(crate) no_new_privileges: bool,
    pub(crate) seccomp_profile: Option<&'a str>,
    pub(crate) facts: &'a HostFacts,
    pub(crate) users: Option<&'a UserNamespace>,
}

/// Namespaces that are not the container's own.
#[derive(Debug, Clone, Default)]
pub(crate) struct Joined {
    /// The network namespace; `None` is the host's.
    pub(crate) network: Option<String>,
    /// That of another container.
    pub(crate) pid: Option<String>,
    /// That of another container.
    pub(crate) ipc: Option<String>,
    /// Its `/dev/shm`, or the host's.
    pub(crate) shm: Option<String>,
}

/// Builds the configuration.
///
/// # Errors
/// [`Error::Invalid`] or [`Error::Failed`] with dockerd's text for what cannot be.
pub(crate) fn build(input: &SpecInput<'_>) -> Result<oci::Spec, Error> {
    let host = &input.spec.host;
    let options = security::parse(host.security_opt.as_deref().unwrap_or_default())?;
    let mounts = mounts::of(&mounts::MountInput {
        spec: input.spec,
        points: input.points,
        files: input.files.clone(),
        init: input.init,
        shm: input.joined.shm.as_deref(),
        private_cgroups: host.cgroupns_mode == Some(CgroupnsMode::Private),
        writable_cgroups: options.writable_cgroups,
        ids: input.users.map(|users| &users.ids),
    })?;
    let capabilities = capability_set(input.spec, input.facts, false)?;
    let process = process(&ProcessInput {
        spec: input.spec,
        command: (input.path, input.args),
        hostname: input.hostname,
        account: input.account,
        capabilities: &capabilities,
        init: input.init.is_some(),
        rlimits: resources::rlimits(host.resources.ulimits.as_deref(), input.ulimits),
        no_new_privileges: options.no_new_privileges.unwrap_or(input.no_new_privileges),
    });
    let own_uts = host.uts_mode == UtsMode::Private;
    Ok(oci::Spec {
        oci_version: "1.2.1",
        process,
        root: oci::Root {
            path: "rootfs",
            readonly: host.readonly_rootfs,
        },
        hostname: if own_uts {
            input.hostname.to_owned()
        } else {
            String::new()
        },
        domainname: if own_uts {
            input.spec.domainname.clone()
        } else {
            String::new()
        },
        mounts,
        hooks: BTreeMap::new(),
        annotations: host.annotations.clone().unwrap_or_default(),
        linux: linux(input, &options, &capabilities)?,
    })
}

/// The capabilities of a container's processes, or of one that is privileged beyond it.
///
/// # Errors
/// [`Error::Invalid`] for a name that Linux does not know.
pub(crate) fn capability_set(
    spec: &ContainerSpec,
    facts: &HostFacts,
    privileged: bool,
) -> Result<Vec<String>, Error> {
    let host = &spec.host;
    let add = capabilities::normalize(host.cap_add.as_deref().unwrap_or_default(), "CapAdd")?;
    let drop = capabilities::normalize(host.cap_drop.as_deref().unwrap_or_default(), "CapDrop")?;
    let has = |name: &str| facts.bounding.has(name);
    Ok(capabilities::of(
        privileged || host.privileged,
        &add,
        &drop,
        &has,
    ))
}

fn linux(
    input: &SpecInput<'_>,
    options: &security::Security,
    capabilities: &[String],
) -> Result<oci::Linux, Error> {
    let host = &input.spec.host;
    let (devices, rules) = device_lists(input)?;
    let mut limits = resources::convert(&host.resources)?;
    limits.devices = rules;
    let paths = |own: &Option<Vec<String>>, default: &[&str]| match own {
        Some(paths) => paths.clone(),
        None if host.privileged => Vec::new(),
        None => default.iter().map(|path| (*path).to_owned()).collect(),
    };
    let masked_paths = paths(&host.masked_paths, &MASKED_PATHS);
    let readonly_paths = paths(&host.readonly_paths, &READONLY_PATHS);
    let ids = input.users.map(|users| oci::id_ranges(&users.ids));
    let (uid_mappings, gid_mappings) = ids.unwrap_or_default();
    Ok(oci::Linux {
        uid_mappings,
        gid_mappings,
        sysctl: sysctls(input),
        resources: limits,
        cgroups_path: input.cgroups_path.clone(),
        namespaces: namespaces(input),
        devices,
        seccomp: filter(input, options, capabilities)?,
        rootfs_propagation: rootfs_propagation(input.points),
        masked_paths,
        readonly_paths,
    })
}

/// The root has to pass on what a mount below it passes on.
fn rootfs_propagation(points: &[Mounted]) -> String {
    let has = |names: [&str; 2]| {
        points
            .iter()
            .any(|p| names.contains(&p.point.propagation.as_str()))
    };
    if has(["shared", "rshared"]) {
        "shared".to_owned()
    } else if has(["slave", "rslave"]) {
        "rslave".to_owned()
    } else {
        String::new()
    }
}

fn filter(
    input: &SpecInput<'_>,
    options: &security::Security,
    capabilities: &[String],
) -> Result<Option<oci_spec::runtime::LinuxSeccomp>, Error> {
    let profile = match &options.seccomp {
        security::Seccomp::Unconfined => return Ok(None),
        security::Seccomp::Default if input.spec.host.privileged => return Ok(None),
        security::Seccomp::Default => input.seccomp_profile,
        security::Seccomp::Profile(profile) => Some(profile.as_str()),
    };
    let held: oci_spec::runtime::Capabilities = capabilities
        .iter()
        .filter_map(|name| name.strip_prefix("CAP_")?.parse().ok())
        .collect();
    let machine = seccomp::Machine::NATIVE;
    match profile {
        Some("unconfined") => Ok(None),
        Some(profile) => seccomp::load_profile(profile, &held, machine).map(Some),
        None => seccomp::default_profile(&held, machine).map(Some),
    }
    .map_err(Error::Seccomp)
}

fn device_lists(input: &SpecInput<'_>) -> Result<(Vec<oci::Device>, Vec<oci::DeviceRule>), Error> {
    let host = &input.spec.host;
    let mut nodes = Vec::new();
    let mut rules;
    if host.privileged {
        nodes = devices::of_host();
        rules = devices::all_rules();
    } else {
        rules = devices::default_rules();
    }
    for mapping in host.resources.devices.iter().flatten() {
        let (more, allowed) = devices::of_mapping(mapping)?;
        nodes.retain(|node| !more.iter().any(|other| other.path == node.path));
        nodes.extend(more);
        rules.extend(allowed);
    }
    for rule in host.resources.device_cgroup_rules.iter().flatten() {
        rules.push(devices::parse_rule(rule)?);
    }
    Ok((nodes, rules))
}

/// Kernel parameters: two that unprivileged programs expect, then the container's own.
fn sysctls(input: &SpecInput<'_>) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    let own_network = input.joined.network.is_some()
        && !matches!(
            input.spec.host.network_mode,
            crate::model::NetworkMode::Container(_)
        );
    if own_network {
        all.insert(
            "net.ipv4.ip_unprivileged_port_start".to_owned(),
            "0".to_owned(),
        );
        // A user namespace does not have all these groups: its root has CAP_NET_RAW.
        if input.users.is_none() {
            all.insert(
                "net.ipv4.ping_group_range".to_owned(),
                "0 2147483647".to_owned(),
            );
        }
    }
    all.extend(input.spec.host.sysctls.clone().unwrap_or_default());
    all
}

fn namespaces(input: &SpecInput<'_>) -> Vec<oci::Namespace> {
    let host = &input.spec.host;
    let own = |kind| oci::Namespace { kind, path: None };
    let joined = |kind, path: &str| oci::Namespace {
        kind,
        path: Some(path.to_owned()),
    };
    let mut all = vec![own("mount")];
    if let Some(users) = input.users {
        all.push(joined("user", &users.path.to_string_lossy()));
    }
    if let Some(path) = &input.joined.network {
        all.push(joined("network", path));
    }
    if host.uts_mode == UtsMode::Private {
        all.push(own("uts"));
    }
    match (&host.pid_mode, &input.joined.pid) {
        (PidMode::Host, _) => {}
        (_, Some(path)) => all.push(joined("pid", path)),
        (_, None) => all.push(own("pid")),
    }
    match (&host.ipc_mode, &input.joined.ipc) {
        (Some(IpcMode::Host), _) => {}
        (_, Some(path)) => all.push(joined("ipc", path)),
        (_, None) => all.push(own("ipc")),
    }
    if host.cgroupns_mode == Some(CgroupnsMode::Private) {
        all.push(own("cgroup"));
    }
    all
}
