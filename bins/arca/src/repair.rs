//! Takes away what no record knows. What a record knows is the daemon's to repair, when it starts.

use std::path::Path;

use anyhow::Context;
use rustix::mount::{UnmountFlags, unmount};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::Options;
use crate::state::{Fault, shim_pid};

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
                end_shim(&directory)?;
                remove(&directory)?;
                done.push(format!("ended the shim of {id}, and with it its container"));
            }
            Fault::StaleShimDirectory(id) => {
                remove(&options.exec_root.join("shims").join(id))?;
                done.push(format!("removed the shim's directory of {id}"));
            }
            Fault::OrphanNetns(id) => {
                let file = options.exec_root.join("netns").join(id);
                // Not mounted any more is as good as unmounted.
                unmount(&file, UnmountFlags::DETACH).ok();
                std::fs::remove_file(&file).with_context(|| file.display().to_string())?;
                done.push(format!("removed the network namespace of {id}"));
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

/// Ends a shim, and waits for it: the kernel ends its container with it.
fn end_shim(directory: &Path) -> anyhow::Result<()> {
    let Some(pid) = shim_pid(directory).and_then(Pid::from_raw) else {
        return Ok(());
    };
    let process = pidfd_open(pid, PidfdFlags::empty()).context("pidfd_open")?;
    pidfd_send_signal(&process, Signal::KILL).context("pidfd_send_signal")?;
    let mut wait = [rustix::event::PollFd::new(
        &process,
        rustix::event::PollFlags::IN,
    )];
    let limit = rustix::event::Timespec {
        tv_sec: 10,
        tv_nsec: 0,
    };
    rustix::event::poll(&mut wait, Some(&limit)).context("poll")?;
    Ok(())
}

fn remove(directory: &Path) -> anyhow::Result<()> {
    std::fs::remove_dir_all(directory).with_context(|| directory.display().to_string())
}
