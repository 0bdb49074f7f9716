//! What a shim leaves behind that died before its container.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use arca_shim_proto::{ExitStatus, start_time};
use arca_types::{Clock, SystemClock};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::directory::Directory;
use crate::error::Error;

/// How long killing and deleting a container may take.
const CLEAN_UP: Duration = Duration::from_secs(30);

/// The status of a container that was killed because its shim was lost.
pub(crate) fn killed() -> ExitStatus {
    ExitStatus {
        code: 137,
        signal: Some(9),
        oom_killed: false,
        at: SystemClock.now(),
    }
}

/// Kills what is left of a container and of its shim, and removes its cgroups. Blocks. Returns how
/// the container ended: as recorded, or killed.
pub(crate) fn clean_up(program: &Path, directory: &Directory) -> Result<ExitStatus, Error> {
    if let Some(exit) = directory.exit()? {
        return Ok(exit.status);
    }
    if let Some(state) = directory.state()? {
        kill(state.shim_pid, state.shim_started);
        if let Some(init) = state.init {
            kill(init.pid, state.init_started);
        }
    }
    let failed = |cause| Error::Spawn {
        program: program.to_owned(),
        cause,
    };
    let mut child = Command::new(program)
        .arg("clean")
        .arg(directory.path())
        .env_clear()
        .env(
            "PATH",
            "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        )
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::from(directory.open_shim_log()?))
        .spawn()
        .map_err(failed)?;
    let ended = i32::try_from(child.id())
        .ok()
        .and_then(Pid::from_raw)
        .is_some_and(|pid| wait(pid, CLEAN_UP));
    if !ended {
        child.kill().map_err(failed)?;
    }
    let status = child.wait().map_err(failed)?;
    if status.success() {
        return Ok(killed());
    }
    let words = directory.last_words().unwrap_or_else(|| status.to_string());
    Err(failed(std::io::Error::other(words)))
}

/// Waits for a process to end.
fn wait(pid: Pid, deadline: Duration) -> bool {
    let Ok(pidfd) = pidfd_open(pid, PidfdFlags::empty()) else {
        return true;
    };
    let timeout = Timespec {
        tv_sec: i64::try_from(deadline.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: 0,
    };
    let mut watched = [PollFd::new(&pidfd, PollFlags::IN)];
    loop {
        match poll(&mut watched, Some(&timeout)) {
            Err(rustix::io::Errno::INTR) => {}
            result => return result.is_ok_and(|count| count > 0),
        }
    }
}

/// Kills the process with this number if it is the one that started then.
fn kill(pid: i32, started: u64) {
    let Some(pid) = Pid::from_raw(pid) else {
        return;
    };
    // The descriptor is opened before the look at the start time: it cannot come to mean another.
    let Ok(pidfd) = pidfd_open(pid, PidfdFlags::empty()) else {
        return;
    };
    if start_time(pid.as_raw_nonzero().get()) == Some(started)
        && pidfd_send_signal(&pidfd, Signal::KILL).is_ok()
    {
        wait(pid, Duration::from_secs(10));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_process_that_started_then_is_killed() {
        let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
        let raw = i32::try_from(child.id()).unwrap();
        let started = start_time(raw).unwrap();

        kill(raw, started + 1);
        assert!(child.try_wait().unwrap().is_none());

        kill(raw, started);
        assert!(!child.wait().unwrap().success());
    }
}
