//! What is allowed together in a container's configuration. The texts are dockerd's.

use arca_types::Signal;

use crate::Error;
use crate::binds;
use crate::model::{
    ContainerSpec, HealthTest, Healthcheck, HostSpec, IpcMode, NetworkMode, Resources, RestartKind,
    RestartPolicy,
};
use crate::spec::{capabilities, devices, mounts, security};

/// Least memory of a container in bytes.
const MIN_MEMORY: i64 = 6 << 20;

fn invalid<T>(text: impl Into<String>) -> Result<T, Error> {
    Err(Error::Invalid(text.into()))
}

/// Checks a configuration as sent; returns warnings for people.
///
/// # Errors
/// [`Error::Invalid`] for what cannot be.
pub(crate) fn check(spec: &ContainerSpec) -> Result<Vec<String>, Error> {
    check_process(spec)?;
    if let Some(healthcheck) = &spec.healthcheck {
        check_health(healthcheck)?;
    }
    check_host(&spec.host)?;
    let mut warnings = check_resources(&spec.host.resources)?;
    let published = spec
        .host
        .port_bindings
        .as_ref()
        .is_some_and(|ports| !ports.is_empty());
    if spec.host.network_mode == NetworkMode::Host && published {
        warnings.push("Published ports are discarded when using host network mode".to_owned());
    }
    Ok(warnings)
}

fn check_process(spec: &ContainerSpec) -> Result<(), Error> {
    if !spec.working_dir.is_empty() && !spec.working_dir.starts_with('/') {
        let dir = &spec.working_dir;
        return invalid(format!(
            "the working directory '{dir}' is invalid, it needs to be an absolute path"
        ));
    }
    if let Some(signal) = spec
        .stop_signal
        .as_deref()
        .filter(|signal| !signal.is_empty())
    {
        parse_signal(signal)?;
    }
    for variable in &spec.env {
        if variable.is_empty() || variable.starts_with('=') {
            return invalid(format!("invalid environment variable: {variable}"));
        }
    }
    Ok(())
}

/// Parses a signal by name or number.
///
/// # Errors
/// [`Error::Invalid`] with dockerd's text.
pub(crate) fn parse_signal(text: &str) -> Result<Signal, Error> {
    text.parse()
        .map_err(|_error| Error::Invalid(format!("invalid signal: {text}")))
}

fn check_health(health: &Healthcheck) -> Result<(), Error> {
    let least = std::time::Duration::from_millis(1);
    let durations = [
        ("Interval", health.interval),
        ("Timeout", health.timeout),
        ("StartPeriod", health.start_period),
        ("StartInterval", health.start_interval),
    ];
    for (name, duration) in durations {
        if !duration.is_zero() && duration < least {
            return invalid(format!("{name} in Healthcheck cannot be less than 1ms"));
        }
    }
    match &health.test {
        HealthTest::Command(words) if words.is_empty() => invalid("Healthcheck has no command"),
        _ => Ok(()),
    }
}

fn check_host(host: &HostSpec) -> Result<(), Error> {
    check_restart_policy(&host.restart_policy)?;
    if host.auto_remove && host.restart_policy.kind != RestartKind::No {
        return invalid("can't create 'AutoRemove' container with restart policy");
    }
    capabilities::normalize(host.cap_add.as_deref().unwrap_or_default(), "CapAdd")?;
    capabilities::normalize(host.cap_drop.as_deref().unwrap_or_default(), "CapDrop")?;
    security::parse(host.security_opt.as_deref().unwrap_or_default())?;
    if !(-1000..=1000).contains(&host.oom_score_adj) {
        let score = host.oom_score_adj;
        return invalid(format!(
            "Invalid value {score}, range for oom score adj is [-1000, 1000]"
        ));
    }
    if host.shm_size < 0 {
        return invalid("SHM size can not be less than 0");
    }
    for (path, options) in host.tmpfs.iter().flatten() {
        mounts::check_tmpfs(path, options)?;
    }
    for bind in host.binds.iter().flatten() {
        binds::parse(bind)?;
    }
    for mount in host.mounts.iter().flatten() {
        binds::check(mount)?;
    }
    for source in host.volumes_from.iter().flatten() {
        binds::parse_volumes_from(source)?;
    }
    for entry in host.extra_hosts.iter().flatten() {
        if !entry.contains([':', '=']) {
            return invalid(format!("bad format for add-host: \"{entry}\""));
        }
    }
    for binding in host
        .port_bindings
        .iter()
        .flatten()
        .flat_map(|(_, bindings)| bindings)
    {
        crate::ports::host_range(&binding.host_port)?;
        crate::ports::host_address(&binding.host_ip)?;
    }
    check_sysctls(host)
}

fn check_sysctls(host: &HostSpec) -> Result<(), Error> {
    for name in host.sysctls.iter().flatten().map(|(name, _)| name) {
        let network = name.starts_with("net.");
        let shared_network = matches!(
            host.network_mode,
            NetworkMode::Host | NetworkMode::Container(_)
        );
        if network && shared_network {
            return invalid(format!(
                "sysctl '{name}' not allowed in host network namespace"
            ));
        }
        let ipc = name.starts_with("kernel.shm")
            || name.starts_with("kernel.msg")
            || name.starts_with("fs.mqueue.")
            || name == "kernel.sem";
        if ipc && host.ipc_mode == Some(IpcMode::Host) {
            return invalid(format!("sysctl '{name}' not allowed in host ipc namespace"));
        }
    }
    Ok(())
}

/// Checks a restart policy.
///
/// # Errors
/// [`Error::Invalid`] with dockerd's text.
pub(crate) fn check_restart_policy(policy: &RestartPolicy) -> Result<(), Error> {
    if policy.maximum_retry_count != 0 && policy.kind != RestartKind::OnFailure {
        return invalid(
            "invalid restart policy: maximum retry count can only be used with 'on-failure'",
        );
    }
    if policy.maximum_retry_count < 0 {
        return invalid("invalid restart policy: maximum retry count cannot be negative");
    }
    Ok(())
}

/// Checks limits; returns warnings for people.
///
/// # Errors
/// [`Error::Invalid`] with dockerd's text.
pub(crate) fn check_resources(limits: &Resources) -> Result<Vec<String>, Error> {
    check_memory(limits)?;
    check_cpu(limits)?;
    for rule in limits.device_cgroup_rules.iter().flatten() {
        devices::parse_rule(rule)?;
    }
    for device in limits.devices.iter().flatten() {
        if device
            .cgroup_permissions
            .chars()
            .any(|c| !"rwm".contains(c))
        {
            let mode = &device.cgroup_permissions;
            return invalid(format!("invalid device mode: {mode}"));
        }
    }
    for limit in limits.ulimits.iter().flatten() {
        if !ULIMITS.contains(&limit.name.as_str()) {
            return invalid(format!("invalid ulimit type: {}", limit.name));
        }
        if limit.hard != -1 && (limit.soft == -1 || limit.soft > limit.hard) {
            return invalid(format!(
                "ulimit soft limit must be less than or equal to hard limit: {} > {}",
                limit.soft, limit.hard
            ));
        }
    }
    if limits.blkio_weight > 0 && !(10..=1000).contains(&limits.blkio_weight) {
        return invalid("Range of blkio weight is from 10 to 1000");
    }
    let mut warnings = Vec::new();
    if limits.oom_kill_disable == Some(true) && limits.memory == 0 {
        warnings.push(
            "OOM killer is disabled for the container, but no memory limit is set, this can result \
             in the system running out of resources."
                .to_owned(),
        );
    }
    Ok(warnings)
}

const ULIMITS: [&str; 15] = [
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

fn check_memory(limits: &Resources) -> Result<(), Error> {
    let (memory, swap) = (limits.memory, limits.memory_swap);
    if memory != 0 && memory < MIN_MEMORY {
        return invalid("Minimum memory limit allowed is 6MB");
    }
    if memory > 0 && swap > 0 && swap < memory {
        return invalid("Minimum memoryswap limit should be larger than memory limit, see usage");
    }
    if memory == 0 && swap > 0 {
        return invalid(
            "You should always set the Memory limit when using Memoryswap limit, see usage",
        );
    }
    if let Some(swappiness) = limits.memory_swappiness
        && !(-1..=100).contains(&swappiness)
    {
        return invalid(format!(
            "Invalid value: {swappiness}, valid memory swappiness range is 0-100"
        ));
    }
    let reservation = limits.memory_reservation;
    if reservation > 0 && reservation < MIN_MEMORY {
        return invalid("Minimum memory reservation allowed is 6MB");
    }
    if memory > 0 && reservation > 0 && memory < reservation {
        return invalid(
            "Minimum memory limit can not be less than memory reservation limit, see usage",
        );
    }
    Ok(())
}

fn check_cpu(limits: &Resources) -> Result<(), Error> {
    let shares = limits.cpu_shares;
    if shares < 0 {
        return invalid(format!(
            "invalid CPU shares ({shares}): value must be a positive integer"
        ));
    }
    if limits.nano_cpus != 0 && (limits.cpu_period > 0 || limits.cpu_quota > 0) {
        let other = if limits.cpu_period > 0 {
            "Period"
        } else {
            "Quota"
        };
        return invalid(format!(
            "Conflicting options: Nano CPUs and CPU {other} cannot both be set."
        ));
    }
    let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let most = i64::try_from(cpus)
        .unwrap_or(i64::MAX)
        .saturating_mul(1_000_000_000);
    if limits.nano_cpus < 0 || limits.nano_cpus > most {
        return invalid(format!(
            "range of CPUs is from 0.01 to {cpus}.00, as there are only {cpus} CPUs available"
        ));
    }
    if limits.cpu_period != 0 && !(1000..=1_000_000).contains(&limits.cpu_period) {
        return invalid(
            "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)",
        );
    }
    if limits.cpu_quota > 0 && limits.cpu_quota < 1000 {
        return invalid("CPU cfs quota can not be less than 1ms (i.e. 1000)");
    }
    check_set(
        &limits.cpuset_cpus,
        "cpuset cpus",
        "CPUs",
        "/sys/devices/system/cpu/online",
    )?;
    check_set(
        &limits.cpuset_mems,
        "cpuset mems",
        "memory nodes",
        "/sys/devices/system/node/online",
    )
}

/// Checks a list of CPUs or memory nodes against those that are online.
fn check_set(list: &str, field: &str, things: &str, online: &str) -> Result<(), Error> {
    if list.is_empty() {
        return Ok(());
    }
    let Some(wanted) = parse_set(list) else {
        return invalid(format!("Invalid value {list} for {field}"));
    };
    let Ok(text) = std::fs::read_to_string(online) else {
        return Ok(());
    };
    let available = text.trim();
    let has = parse_set(available).unwrap_or_default();
    if wanted.iter().all(|number| has.contains(number)) {
        return Ok(());
    }
    invalid(format!(
        "Requested {things} are not available - requested {list}, available: {available}"
    ))
}

/// Parses `0-2,4`.
fn parse_set(list: &str) -> Option<Vec<u32>> {
    let mut numbers = Vec::new();
    for part in list.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (first.parse::<u32>().ok()?, last.parse::<u32>().ok()?);
        if first > last || last > 8192 {
            return None;
        }
        numbers.extend(first..=last);
    }
    Some(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Ulimit;

    fn refused(change: impl FnOnce(&mut ContainerSpec)) -> String {
        let mut spec = ContainerSpec::default();
        change(&mut spec);
        check(&spec).map_or_else(|error| error.to_string(), |_warnings| String::new())
    }

    #[test]
    fn nothing_special_is_allowed() {
        assert_eq!(refused(|_spec| {}), "");
    }

    #[test]
    fn refusals_are_in_dockers_words() {
        type Change = fn(&mut ContainerSpec);
        let cases: [(Change, &str); 6] = [
            (
                |s| s.host.resources.memory = 1000,
                "Minimum memory limit allowed is 6MB",
            ),
            (
                |s| s.host.resources.memory_swap = 200,
                "You should always set the Memory limit when using Memoryswap limit, see usage",
            ),
            (
                |s| {
                    s.host.resources.memory = 10_000_000;
                    s.host.resources.memory_swap = 200;
                },
                "Minimum memoryswap limit should be larger than memory limit, see usage",
            ),
            (
                |s| s.host.resources.cpu_shares = -1,
                "invalid CPU shares (-1): value must be a positive integer",
            ),
            (
                |s| {
                    s.host.restart_policy.kind = RestartKind::Always;
                    s.host.auto_remove = true;
                },
                "can't create 'AutoRemove' container with restart policy",
            ),
            (
                |s| s.host.restart_policy.maximum_retry_count = 3,
                "invalid restart policy: maximum retry count can only be used with 'on-failure'",
            ),
        ];
        for (change, text) in cases {
            assert_eq!(refused(change), text);
        }
    }

    #[test]
    fn refusals_of_processes_and_sets_are_in_dockers_words() {
        type Change = fn(&mut ContainerSpec);
        let cases: [(Change, &str); 7] = [
            (
                |s| s.host.oom_score_adj = 5000,
                "Invalid value 5000, range for oom score adj is [-1000, 1000]",
            ),
            (|s| s.host.shm_size = -1, "SHM size can not be less than 0"),
            (
                |s| s.working_dir = "a".into(),
                "the working directory 'a' is invalid, it needs to be an absolute path",
            ),
            (
                |s| s.stop_signal = Some("FOO".into()),
                "invalid signal: FOO",
            ),
            (
                |s| s.env = vec!["=a".into()],
                "invalid environment variable: =a",
            ),
            (
                |s| {
                    s.healthcheck = Some(Healthcheck {
                        interval: std::time::Duration::from_nanos(1),
                        ..Healthcheck::default()
                    });
                },
                "Interval in Healthcheck cannot be less than 1ms",
            ),
            (
                |s| {
                    s.host.resources.ulimits = Some(vec![Ulimit {
                        name: "foo".into(),
                        hard: 1,
                        soft: 1,
                    }]);
                },
                "invalid ulimit type: foo",
            ),
        ];
        for (change, text) in cases {
            assert_eq!(refused(change), text);
        }
        let found = refused(|s| s.host.resources.cpuset_cpus = "4000".into());
        assert!(found.starts_with("Requested CPUs are not available - requested 4000"));
    }

    #[test]
    fn published_ports_with_the_hosts_network_are_warned_of() {
        let mut spec = ContainerSpec::default();
        spec.host.network_mode = NetworkMode::Host;
        spec.host.port_bindings = Some([("80/tcp".parse().unwrap(), Vec::new())].into());
        assert_eq!(check(&spec).unwrap().len(), 1);
    }

    #[test]
    fn sets_of_cpus_are_parsed() {
        assert_eq!(parse_set("0-2,4"), Some(vec![0, 1, 2, 4]));
        assert_eq!(parse_set("2-0"), None);
        assert_eq!(parse_set("x"), None);
    }
}
