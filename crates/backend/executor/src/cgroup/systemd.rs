//! The systemd driver: the container's cgroup is a scope that systemd makes (systemd.scope(5)).

mod bus;

use std::fs;

use oci_spec::runtime::{LinuxCpu, LinuxMemory, LinuxResources};
use rustix::event::{Timespec, poll};

use super::convert;
use crate::error::{Context, ExecError};
use bus::{Bus, Value};

/// How long systemd may take to start a scope.
const PATIENCE_MS: u32 = 10_000;

/// A scope to make: `slice:prefix:name` of the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Scope {
    slice: String,
    unit: String,
}

impl Scope {
    /// Reads `slice:prefix:name`; parts that are empty are `system.slice`, `docker` and `id`.
    pub(super) fn parse(path: &str, id: &str) -> Result<Self, ExecError> {
        let mut parts = path.split(':');
        let (slice, prefix, name) = match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(""), None, None, None) => ("", "docker", id),
            (Some(slice), Some(prefix), Some(name), None) => (slice, prefix, name),
            _ => {
                return Err(ExecError::other(format!(
                    "expected cgroupsPath to be of format \"slice:prefix:name\" for systemd cgroups, got {path:?} instead"
                )));
            }
        };
        let slice = if slice.is_empty() {
            "system.slice"
        } else {
            slice
        };
        let name = if name.is_empty() { id } else { name };
        if !slice.ends_with(".slice") || slice.contains('/') || name.contains('/') {
            return Err(ExecError::other(format!("invalid slice name: {slice}")));
        }
        let unit = if prefix.is_empty() {
            format!("{name}.scope")
        } else {
            format!("{prefix}-{name}.scope")
        };
        Ok(Self {
            slice: slice.to_owned(),
            unit,
        })
    }

    /// The unit's name.
    pub(super) fn unit(&self) -> &str {
        &self.unit
    }

    /// The directory below the root of a hierarchy: `a-b.slice` lies in `a.slice`.
    pub(super) fn path(&self) -> String {
        let mut path = String::new();
        let bare = self.slice.trim_end_matches(".slice");
        if bare != "-" {
            let mut so_far = String::new();
            for part in bare.split('-') {
                if !so_far.is_empty() {
                    so_far.push('-');
                }
                so_far.push_str(part);
                path.push_str(&format!("/{so_far}.slice"));
            }
        }
        format!("{path}/{}", self.unit)
    }
}

/// Starts the scope with process `pid` in it and waits until systemd has moved the process.
pub(super) fn start(
    scope: &Scope,
    pid: i32,
    resources: Option<&LinuxResources>,
) -> Result<(), ExecError> {
    let mut bus = Bus::system()?;
    let mut properties = vec![
        (
            "Description",
            Value::Text(format!("container {}", scope.unit)),
        ),
        ("Slice", Value::Text(scope.slice.clone())),
        ("Delegate", Value::Flag(true)),
        ("DefaultDependencies", Value::Flag(false)),
        ("CollectMode", Value::Text("inactive-or-failed".to_owned())),
        ("CPUAccounting", Value::Flag(true)),
        ("IOAccounting", Value::Flag(true)),
        ("MemoryAccounting", Value::Flag(true)),
        ("TasksAccounting", Value::Flag(true)),
        ("PIDs", Value::Numbers(vec![pid.unsigned_abs()])),
    ];
    properties.extend(resources.map_or_else(Vec::new, limits));
    bus.start_transient_unit(&scope.unit, &properties)
        .map_err(|error| {
            error.within("unable to apply cgroup configuration: unable to start unit")
        })?;
    for _ in 0..PATIENCE_MS {
        let of_process =
            fs::read_to_string(format!("/proc/{pid}/cgroup")).context(|| "open cgroup")?;
        if of_process.lines().any(|line| line.ends_with(&scope.unit)) {
            return Ok(());
        }
        poll(
            &mut [],
            Some(&Timespec {
                tv_sec: 0,
                tv_nsec: 1_000_000,
            }),
        )
        .context(|| "poll")?;
    }
    Err(ExecError::other(format!(
        "systemd did not start {} in time",
        scope.unit
    )))
}

/// Tells systemd of limits that are changed, so that it does not set them back.
pub(super) fn update(unit: &str, resources: &LinuxResources) -> Result<(), ExecError> {
    let properties = limits(resources);
    if properties.is_empty() {
        return Ok(());
    }
    Bus::system()?.set_unit_properties(unit, &properties)
}

/// The limits that systemd keeps itself (systemd.resource-control(5)).
fn limits(resources: &LinuxResources) -> Vec<(&'static str, Value)> {
    let long = |limit: i64| Value::Long(u64::try_from(limit).unwrap_or(u64::MAX));
    let mut all = Vec::new();
    let memory = resources.memory().as_ref();
    if let Some(limit) = memory
        .and_then(LinuxMemory::limit)
        .filter(|&limit| limit != 0)
    {
        all.push(("MemoryMax", long(limit)));
    }
    if let Some(pids) = resources.pids().as_ref().filter(|pids| pids.limit() != 0) {
        all.push(("TasksMax", long(pids.limit())));
    }
    let cpu = resources.cpu().as_ref();
    if let Some(shares) = cpu.and_then(LinuxCpu::shares).filter(|&shares| shares != 0) {
        all.push(("CPUWeight", Value::Long(convert::weight_of_shares(shares))));
    }
    let quota = cpu.and_then(LinuxCpu::quota).filter(|&quota| quota != 0);
    if let Some(quota) = quota {
        let period = cpu.and_then(LinuxCpu::period).filter(|&period| period != 0);
        let period = i64::try_from(period.unwrap_or(100_000)).unwrap_or(i64::MAX);
        let a_second = if quota < 0 {
            -1
        } else {
            quota.saturating_mul(1_000_000) / period
        };
        // systemd takes steps of 10 ms.
        let step = if a_second < 0 {
            -1
        } else {
            (a_second + 9_999) / 10_000 * 10_000
        };
        all.push(("CPUQuotaPerSecUSec", long(step)));
    }
    all
}

/// Stops the scope. It is gone by itself when its last process is; what remains is systemd's.
pub(super) fn stop(unit: &str) {
    if let Ok(mut bus) = Bus::system() {
        drop(bus.stop_unit(unit));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn systemd_hears_of_limits_in_its_terms() {
        let resources = r#"{"memory": {"limit": 4096}, "pids": {"limit": -1},
            "cpu": {"shares": 262144, "quota": 50001, "period": 100000}}"#;
        let all = limits(&serde_json::from_str(resources).unwrap());
        let expected = [
            ("MemoryMax", 4096),
            ("TasksMax", u64::MAX),
            ("CPUWeight", 10_000),
            ("CPUQuotaPerSecUSec", 510_000),
        ];
        assert_eq!(
            all,
            expected.map(|(name, value)| (name, Value::Long(value)))
        );
        assert!(limits(&LinuxResources::default()).is_empty());
    }

    #[test]
    fn a_scope_lies_in_its_slice_and_that_in_those_above() {
        let path = |text| Scope::parse(text, "abc").unwrap().path();
        assert_eq!(
            path("system.slice:docker:abc"),
            "/system.slice/docker-abc.scope"
        );
        assert_eq!(path(":arca:abc"), "/system.slice/arca-abc.scope");
        assert_eq!(
            path("a-b-c.slice::x"),
            "/a.slice/a-b.slice/a-b-c.slice/x.scope"
        );
        assert_eq!(path("-.slice:p:x"), "/p-x.scope");
        for wrong in ["/docker/abc", "a:b", "a.slice:b:c:d", "nope:b:c"] {
            Scope::parse(wrong, "abc").unwrap_err();
        }
    }
}
