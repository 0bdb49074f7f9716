//! What is allowed together in a container's configuration. The texts are dockerd's.

use arca_types::{Signal, ULIMITS, parse_size};

use crate::Error;
use crate::abilities::Abilities;
use crate::binds;
use crate::limits::{self, Occasion};
use crate::model::{
    ContainerSpec, HealthTest, Healthcheck, HostSpec, IpcMode, NetworkMode, PidMode, Resources,
    RestartKind, RestartPolicy, UtsMode,
};
use crate::spec::{capabilities, devices, mounts, security};

/// A refusal.
pub(crate) fn invalid<T>(text: impl Into<String>) -> Result<T, Error> {
    Err(Error::Invalid(text.into()))
}

/// Checks a configuration as sent, and drops limits that the host does not have; returns warnings for
/// people.
///
/// # Errors
/// [`Error::Invalid`] for what cannot be.
pub(crate) fn check(spec: &mut ContainerSpec, has: &Abilities) -> Result<Vec<String>, Error> {
    check_namespaces(spec)?;
    check_process(spec)?;
    if let Some(healthcheck) = &spec.healthcheck {
        check_health(healthcheck)?;
    }
    check_host(&spec.host)?;
    root_size(&spec.host)?;
    let mut warnings = limits::check(&mut spec.host.resources, has, Occasion::Create)?;
    check_devices_and_ulimits(&spec.host.resources)?;
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

/// The bytes that a container may write, if it says so.
///
/// # Errors
/// [`Error::Invalid`] for options that there are not, and for what is no size.
pub(crate) fn root_size(host: &HostSpec) -> Result<Option<u64>, Error> {
    let mut size = None;
    for (name, value) in host.storage_opt.iter().flatten() {
        if !name.eq_ignore_ascii_case("size") {
            return invalid(format!("Unknown option {name}"));
        }
        match parse_size(value) {
            Some(bytes) => size = Some(bytes),
            None => return invalid(format!("invalid StorageOpt: invalid size: '{value}'")),
        }
    }
    Ok(size)
}

/// Checks what a container with a user namespace (`remapped`) cannot have.
///
/// # Errors
/// [`Error::Invalid`] with dockerd's text.
pub(crate) fn check_remapped(host: &HostSpec, remapped: bool) -> Result<(), Error> {
    if !remapped {
        return Ok(());
    }
    if host.privileged {
        return invalid(
            "privileged mode is incompatible with user namespaces.  You must run the container in the \
             host namespace when running privileged mode",
        );
    }
    if host.network_mode == NetworkMode::Host {
        return invalid(
            "cannot share the host's network namespace when user namespaces are enabled",
        );
    }
    if host.pid_mode == PidMode::Host {
        return invalid("cannot share the host PID namespace when user namespaces are enabled");
    }
    Ok(())
}

/// Checks what cannot be set where a namespace is shared.
fn check_namespaces(spec: &ContainerSpec) -> Result<(), Error> {
    let host = &spec.host;
    let some = |list: &Option<Vec<String>>| list.as_ref().is_some_and(|list| !list.is_empty());
    let published = host.port_bindings.as_ref().is_some_and(|p| !p.is_empty());
    let links = "network can't be used with links. This would result in undefined behavior";
    let conflict = |what: &str| invalid(format!("conflicting options: {what}"));
    if let NetworkMode::Container(_) = host.network_mode {
        let kind = "and the container type network mode";
        if !spec.hostname.is_empty() {
            return conflict("hostname and the network mode");
        }
        if some(&host.links) {
            return conflict(&format!("container type {links}"));
        }
        if some(&host.dns) {
            return conflict("dns and the network mode");
        }
        if some(&host.extra_hosts) {
            return conflict("custom host-to-IP mapping and the network mode");
        }
        if published || host.publish_all_ports {
            return conflict(&format!("port publishing {kind}"));
        }
        if !spec.exposed_ports.is_empty() {
            return conflict(&format!("port exposing {kind}"));
        }
    }
    if host.uts_mode == UtsMode::Host && !spec.hostname.is_empty() {
        return conflict("hostname and the UTS mode");
    }
    if host.network_mode == NetworkMode::Host && some(&host.links) {
        let links = links.trim_start_matches("network");
        return conflict(&format!("host type networking{links}"));
    }
    Ok(())
}

fn check_process(spec: &mut ContainerSpec) -> Result<(), Error> {
    if spec
        .volumes
        .iter()
        .flatten()
        .any(|path| binds::clean(path) == "/")
    {
        return invalid("invalid specification: destination can't be '/'");
    }
    if !spec.working_dir.is_empty() {
        let dir = &spec.working_dir;
        if !dir.starts_with('/') {
            return invalid(format!(
                "the working directory '{dir}' is invalid, it needs to be an absolute path"
            ));
        }
        spec.working_dir = binds::clean(dir);
    }
    if let Some(signal) = spec
        .stop_signal
        .as_deref()
        .filter(|signal| !signal.is_empty())
    {
        // A number beyond those of the kernel is only found out when the container is stopped.
        if signal.parse::<i32>().is_ok_and(|number| number != 0) {
            return check_env(spec);
        }
        parse_signal(signal)?;
    }
    check_env(spec)
}

fn check_env(spec: &ContainerSpec) -> Result<(), Error> {
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
    text.parse().map_err(|_error| {
        Error::Invalid(match text.parse::<i32>() {
            Ok(number) if number != 0 => {
                format!("the linux daemon does not support signal {number}")
            }
            _ => format!("invalid signal: {text}"),
        })
    })
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
    security::parse(host.security_opt.as_deref().unwrap_or_default())
        .map_err(Error::into_failure)?;
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
        binds::check_place(path).map_err(Error::Invalid)?;
        mounts::check_tmpfs(path, options)?;
    }
    for bind in host.binds.iter().flatten() {
        binds::parse(bind).map_err(Error::into_failure)?;
    }
    for mount in host.mounts.iter().flatten() {
        binds::check(mount)?;
    }
    for source in host.volumes_from.iter().flatten() {
        binds::parse_volumes_from(source)?;
    }
    for entry in host.extra_hosts.iter().flatten() {
        check_extra_host(entry)?;
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

/// Checks a line of `ExtraHosts`, `name:address`.
fn check_extra_host(entry: &str) -> Result<(), Error> {
    let (name, address) = entry.split_once(':').unwrap_or((entry, ""));
    if name.is_empty() || !entry.contains(':') {
        return invalid(format!("bad format for add-host: \"{entry}\""));
    }
    // The address of the host is filled in when the container is started.
    if address != "host-gateway" && address.parse::<std::net::IpAddr>().is_err() {
        return invalid(format!("invalid IP address in add-host: \"{address}\""));
    }
    Ok(())
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
    let only = "invalid restart policy: maximum retry count can only be used with 'on-failure'";
    if policy.maximum_retry_count != 0 && policy.kind != RestartKind::OnFailure {
        return match policy.maximum_retry_count {
            ..0 => invalid(format!("{only} and cannot be negative")),
            _ => invalid(only),
        };
    }
    if policy.maximum_retry_count < 0 {
        return invalid("invalid restart policy: maximum retry count cannot be negative");
    }
    Ok(())
}

/// Checks devices and process limits, which no other check of limits is about.
fn check_devices_and_ulimits(limits: &Resources) -> Result<(), Error> {
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
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Ulimit;

    fn refused(change: impl FnOnce(&mut ContainerSpec)) -> String {
        let mut spec = ContainerSpec::default();
        change(&mut spec);
        check(&mut spec, &Abilities::default())
            .map_or_else(|error| error.to_string(), |_warnings| String::new())
    }

    #[test]
    fn a_container_with_a_user_namespace_cannot_have_the_hosts() {
        let with = |change: fn(&mut HostSpec)| {
            let mut host = HostSpec::default();
            change(&mut host);
            [true, false].map(|remapped| check_remapped(&host, remapped).is_ok())
        };
        assert_eq!(with(|_host| {}), [true, true]);
        assert_eq!(with(|host| host.privileged = true), [false, true]);
        assert_eq!(
            with(|host| host.network_mode = NetworkMode::Host),
            [false, true]
        );
        assert_eq!(with(|host| host.pid_mode = PidMode::Host), [false, true]);
    }

    #[test]
    fn nothing_special_is_allowed() {
        assert_eq!(refused(|_spec| {}), "");
    }

    #[test]
    fn refusals_are_in_dockers_words() {
        type Change = fn(&mut ContainerSpec);
        let cases: [(Change, &str); 7] = [
            (
                |s| s.host.extra_hosts = Some(vec!["x:y".into()]),
                "invalid IP address in add-host: \"y\"",
            ),
            (
                |s| s.host.extra_hosts = Some(vec!["x=1.2.3.4".into()]),
                "bad format for add-host: \"x=1.2.3.4\"",
            ),
            (
                |s| s.host.tmpfs = Some([("t".to_owned(), String::new())].into()),
                "invalid mount path: 't' mount path must be absolute",
            ),
            (
                |s| s.host.tmpfs = Some([("/".to_owned(), String::new())].into()),
                "invalid specification: destination can't be '/'",
            ),
            (
                |s| {
                    s.host.network_mode = NetworkMode::Host;
                    s.host.links = Some(vec!["a:b".into()]);
                },
                "conflicting options: host type networking can't be used with links. This would \
                 result in undefined behavior",
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
    fn refusals_of_processes_and_their_limits_are_in_dockers_words() {
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
    }

    #[test]
    fn published_ports_with_the_hosts_network_are_warned_of() {
        let mut spec = ContainerSpec::default();
        spec.host.network_mode = NetworkMode::Host;
        spec.host.port_bindings = Some([("80/tcp".parse().unwrap(), Vec::new())].into());
        assert_eq!(check(&mut spec, &Abilities::default()).unwrap().len(), 1);
    }
}
