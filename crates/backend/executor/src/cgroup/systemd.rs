//! The systemd driver: the container's cgroup is a scope that systemd makes (systemd.scope(5)).

mod bus;

use std::fs;

use rustix::event::{Timespec, poll};

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
pub(super) fn start(scope: &Scope, pid: i32) -> Result<(), ExecError> {
    let mut bus = Bus::system()?;
    let properties = [
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
