//! The hooks of the configuration (config.md, "POSIX-platform Hooks").

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use oci_spec::runtime::Hook;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde::Serialize;

use crate::error::{Context, ExecError};

/// What a hook reads on its standard input (runtime.md, "State").
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct HookState<'a> {
    /// The version of the specification.
    pub(super) oci_version: &'a str,
    /// The container's ID.
    pub(super) id: &'a str,
    /// `creating`, `created`, `running` or `stopped`.
    pub(super) status: &'a str,
    /// The init process, while there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) pid: Option<i32>,
    /// The directory of the configuration.
    pub(super) bundle: &'a Path,
    /// The annotations of the configuration.
    pub(super) annotations: &'a BTreeMap<String, String>,
}

/// Runs the hooks in their order; the first that fails ends it.
pub(super) fn run(
    kind: &str,
    hooks: Option<&[Hook]>,
    state: &HookState<'_>,
) -> Result<(), ExecError> {
    let hooks = hooks.unwrap_or_default();
    if hooks.is_empty() {
        return Ok(());
    }
    let input = serde_json::to_vec(state)
        .map_err(|error| ExecError::other(format!("encode the state: {error}")))?;
    for (number, hook) in hooks.iter().enumerate() {
        run_one(hook, &input)
            .map_err(|error| error.within(format!("error running {kind} hook #{number}")))?;
    }
    Ok(())
}

fn run_one(hook: &Hook, input: &[u8]) -> Result<(), ExecError> {
    let mut command = Command::new(hook.path());
    let args = hook.args().as_deref().unwrap_or_default();
    if let Some((name, rest)) = args.split_first() {
        command.arg0(name).args(rest);
    }
    command.env_clear();
    for variable in hook.env().iter().flatten() {
        let (name, value) = variable.split_once('=').unwrap_or((variable, ""));
        command.env(name, value);
    }
    let what = || hook.path().display().to_string();
    let mut child = command
        .stdin(readable(input).context(what)?)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .context(what)?;
    if let Some(seconds) = hook.timeout() {
        wait_until(&mut child, seconds)?;
    }
    let mut said = String::new();
    if let Some(stderr) = child.stderr.take() {
        drop(stderr.take(4096).read_to_string(&mut said));
    }
    let status = child.wait().context(what)?;
    if status.success() {
        return Ok(());
    }
    Err(ExecError::other(format!(
        "{status}, stderr: {}",
        said.trim_end()
    )))
}

/// A file with `input`: a hook need not read it, and writing to a pipe that nobody reads would end
/// this process.
fn readable(input: &[u8]) -> io::Result<Stdio> {
    let mut file = File::from(memfd_create("state", MemfdFlags::CLOEXEC)?);
    file.write_all(input)?;
    file.rewind()?;
    Ok(file.into())
}

/// Waits for the end of the process, and ends it when its time is up.
fn wait_until(child: &mut Child, seconds: i64) -> Result<(), ExecError> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| ExecError::other("no process ID"))?;
    let pidfd = pidfd_open(pid, PidfdFlags::empty()).context(|| "pidfd_open")?;
    let time = Timespec {
        tv_sec: seconds,
        tv_nsec: 0,
    };
    if poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&time)).context(|| "poll")? == 0 {
        drop(child.kill());
        drop(child.wait());
        return Err(ExecError::other(format!(
            "hook ran past specified timeout of {seconds}s"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hook(script: &str, timeout: Option<i64>) -> Vec<Hook> {
        let json = serde_json::json!([{ "path": "/bin/sh", "args": ["sh", "-c", script],
            "env": ["A=b"], "timeout": timeout }]);
        serde_json::from_value(json).unwrap()
    }

    fn run_with(hooks: &[Hook]) -> Result<(), ExecError> {
        let annotations = BTreeMap::new();
        let state = HookState {
            oci_version: "1.2.1",
            id: "one",
            status: "created",
            pid: Some(7),
            bundle: Path::new("/b"),
            annotations: &annotations,
        };
        run("createRuntime", Some(hooks), &state)
    }

    #[test]
    fn a_hook_reads_the_state_and_has_its_environment_alone() {
        let script = "read -r line; test \"$A\" = b && test -z \"$HOME\" && case $line in \
            *'\"id\":\"one\",\"status\":\"created\",\"pid\":7,\"bundle\":\"/b\"'*) exit 0;; esac; exit 9";
        run_with(&hook(script, Some(10))).unwrap();
    }

    #[test]
    fn a_hook_that_fails_says_why() {
        let error = run_with(&hook("echo no >&2; exit 3", None)).unwrap_err();
        assert_eq!(
            error.message,
            "error running createRuntime hook #0: exit status: 3, stderr: no"
        );
    }

    #[test]
    fn a_hook_ends_when_its_time_is_up() {
        let error = run_with(&hook("exec sleep 100", Some(0))).unwrap_err();
        assert!(
            error.message.contains("past specified timeout"),
            "{}",
            error.message
        );
    }
}
