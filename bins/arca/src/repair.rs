//! Takes away what no record knows. What a record knows is the daemon's to repair, when it starts.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, ensure};
use arca_shim_proto::start_time;
use rustix::mount::{UnmountFlags, unmount};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::Options;
use crate::state::{Fault, shim_state};

/// Repairs each fault; returns what was done, one line each.
///
/// # Errors
/// Something could not be removed; what comes after it is left.
pub(crate) fn repair(faults: &[Fault], options: &Options) -> anyhow::Result<Vec<String>> {
    let mut done = Vec::new();
    for fault in faults {
        match fault {
            Fault::OrphanShim(id) => {
                let directory = options.exec_root.join("shims").join(id);
                end(&directory)?;
                remove(&directory)?;
                done.push(format!("ended the shim of {id}, and its container"));
            }
            Fault::StaleShimDirectory(id) => {
                let directory = options.exec_root.join("shims").join(id);
                // Its container may have outlived it.
                end(&directory)?;
                remove(&directory)?;
                done.push(format!("removed the shim's directory of {id}"));
            }
            Fault::OrphanNetns(id) => {
                let file = options.exec_root.join("netns").join(id);
                // Not mounted any more is as good as unmounted.
                unmount(&file, UnmountFlags::DETACH).ok();
                std::fs::remove_file(&file).with_context(|| file.display().to_string())?;
                done.push(format!("removed the network namespace {id}"));
            }
            Fault::OrphanDirectory(id) => {
                remove(&options.data_root.join("containers").join(id))?;
                done.push(format!("removed the directory of {id}"));
            }
            Fault::LostContainer(_) => {}
        }
    }
    Ok(done)
}

/// Ends a shim, then what is left of its container: processes, cgroups.
fn end(directory: &Path) -> anyhow::Result<()> {
    let Some(state) = shim_state(directory) else {
        return Ok(());
    };
    kill(state.shim_pid, state.shim_started)?;
    if let Some(init) = state.init {
        kill(init.pid, state.init_started)?;
    }
    let program = std::env::current_exe().context("where is this program?")?;
    let program = program.with_file_name("arca-shim");
    let status = Command::new(&program)
        .arg("clean")
        .arg(directory)
        .env_clear()
        .status()
        .with_context(|| program.display().to_string())?;
    ensure!(
        status.success(),
        "{} clean {}: {status}",
        program.display(),
        directory.display()
    );
    Ok(())
}

/// Kills the process with this number if it is the one that started then, and waits for its end.
fn kill(pid: i32, started: u64) -> anyhow::Result<()> {
    let Some(number) = Pid::from_raw(pid) else {
        return Ok(());
    };
    // The descriptor is opened before the look at the start time: it cannot come to mean another.
    let Ok(process) = pidfd_open(number, PidfdFlags::empty()) else {
        return Ok(());
    };
    if start_time(pid) != Some(started) {
        return Ok(());
    }
    pidfd_send_signal(&process, Signal::KILL).context("pidfd_send_signal")?;
    let mut wait = [rustix::event::PollFd::new(
        &process,
        rustix::event::PollFlags::IN,
    )];
    let limit = rustix::event::Timespec {
        tv_sec: 10,
        tv_nsec: 0,
    };
    let ended = rustix::event::poll(&mut wait, Some(&limit)).context("poll")?;
    ensure!(ended > 0, "process {pid} does not end");
    Ok(())
}

fn remove(directory: &Path) -> anyhow::Result<()> {
    std::fs::remove_dir_all(directory).with_context(|| directory.display().to_string())
}
