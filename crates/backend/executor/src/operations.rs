//! What can be done with a container, whatever made it.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use arca_shim_proto::RuntimeKind;
use arca_sys::mount_attr::{MountChange, change_mount};
use arca_sys::process::send_signal;
use oci_spec::runtime::LinuxResources;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::CWD;
use rustix::mount::{OpenTreeFlags, open_tree};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::binary::Binary;
use crate::builtin::{self, Place, State};
use crate::cgroup::CgroupPaths;
use crate::error::{Context, ExecError};
use crate::request::{Container, ExecRequest, RunRequest, Started};

/// How many times the processes of a container that is deleted are killed and waited for.
const ROUNDS: usize = 50;

/// Creates and starts a container. For a helper only: it changes the caller's namespaces.
///
/// # Errors
/// With the text that dockerd shows after `failed to create shim task: `, for a container that then
/// has left nothing behind.
pub fn run(request: &RunRequest) -> Result<Started, ExecError> {
    match Binary::of(&request.container) {
        Some(binary) => binary.run(request),
        None => builtin::run(request),
    }
}

/// Starts a further process in a running container. For a helper only: it changes the caller's
/// namespaces.
///
/// # Errors
/// With the text that dockerd shows.
pub fn exec(request: &ExecRequest) -> Result<Started, ExecError> {
    match Binary::of(&request.container) {
        Some(binary) => binary.exec(request),
        None => builtin::exec(request),
    }
}

/// Stops every process of the container until [`resume`], and returns when they have stopped.
///
/// # Errors
/// When the container is not known, or the host has no freezer.
pub fn pause(container: &Container) -> Result<(), ExecError> {
    match Binary::of(container) {
        Some(binary) => binary.simple(&["pause"]),
        None => load(container)?.1.cgroup.freeze(true),
    }
}

/// Lets the processes of the container go on.
///
/// # Errors
/// When the container is not known.
pub fn resume(container: &Container) -> Result<(), ExecError> {
    match Binary::of(container) {
        Some(binary) => binary.simple(&["resume"]),
        None => load(container)?.1.cgroup.freeze(false),
    }
}

/// Changes the limits that `resources` names and leaves the others.
///
/// # Errors
/// When the kernel refuses a value; those before it are set then.
pub fn update(container: &Container, resources: &LinuxResources) -> Result<(), ExecError> {
    match Binary::of(container) {
        Some(binary) => binary.update(resources),
        None => load(container)?.1.cgroup.apply(resources),
    }
}

/// Sends a signal, by its number, to the init process.
///
/// # Errors
/// `container not running` when it has ended.
pub fn kill(container: &Container, signal: i32) -> Result<(), ExecError> {
    if let Some(binary) = Binary::of(container) {
        return binary.simple(&["kill", &signal.to_string()]);
    }
    let not_running = || ExecError::other("container not running");
    let init = load(container)?.1.open_init()?.ok_or_else(not_running)?;
    match send_signal(init.as_fd(), signal) {
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error()) => {
            Err(not_running())
        }
        result => result.context(|| format!("signal {signal}")),
    }
}

/// Lists the processes of the container, as the host numbers them; none when it has ended.
///
/// # Errors
/// When the container is not known.
pub fn pids(container: &Container) -> Result<Vec<i32>, ExecError> {
    load(container)?.1.cgroup.pids()
}

/// Returns where the container's cgroups are: statistics, limits and events are read there.
///
/// # Errors
/// When the container is not known.
pub fn cgroups(container: &Container) -> Result<CgroupPaths, ExecError> {
    Ok(load(container)?.1.cgroup)
}

/// Ends whatever is left of the container and removes its cgroups and its state. What is gone is
/// fine; a failure leaves the state, so that it can be tried again.
///
/// # Errors
/// When processes cannot be ended, a cgroup cannot be removed or a hook fails.
pub fn delete(container: &Container) -> Result<(), ExecError> {
    let place = Place::new(&container.state_root, &container.id)?;
    let Some(state) = place.load()? else {
        return place.remove();
    };
    if let Some(binary) = Binary::of(container) {
        binary.delete(state.open_init()?.is_some())?;
    }
    end_all(&state.cgroup)?;
    state.cgroup.remove()?;
    if container.runtime == RuntimeKind::BuiltIn {
        builtin::run_poststop(&state)?;
    }
    place.remove()
}

/// Kills what is in the cgroups and waits for it: new processes may appear while that is done.
fn end_all(cgroup: &CgroupPaths) -> Result<(), ExecError> {
    for _ in 0..ROUNDS {
        let open = |&pid: &i32| pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok();
        let processes: Vec<OwnedFd> = cgroup.pids()?.iter().filter_map(open).collect();
        if processes.is_empty() {
            return Ok(());
        }
        for process in &processes {
            drop(send_signal(process.as_fd(), 9));
        }
        // A frozen process does not die on v1.
        drop(cgroup.freeze(false));
        let mut waiting: Vec<PollFd<'_>> = processes
            .iter()
            .map(|pidfd| PollFd::new(pidfd, PollFlags::IN))
            .collect();
        let slice = Timespec {
            tv_sec: 0,
            tv_nsec: 100_000_000,
        };
        poll(&mut waiting, Some(&slice)).context(|| "poll")?;
    }
    Err(ExecError::other(
        "processes of the container cannot be ended",
    ))
}

fn load(container: &Container) -> Result<(Place, State), ExecError> {
    let place = Place::new(&container.state_root, &container.id)?;
    let state = place.load_existing()?;
    Ok((place, state))
}

/// Opens the program of this process, to be executed again as `/proc/self/fd/N`, in a way that lets
/// nobody write to it: a container that gets hold of a helper's `/proc/PID/exe` reaches the program
/// through a mount that is read-only and that only this descriptor leads to.
///
/// # Errors
/// What open_tree(2) and mount_setattr(2) say.
pub fn sealed_self() -> io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let program = open_tree(CWD, "/proc/self/exe", flags)?;
    let change = MountChange {
        set: rustix::mount::MountAttrFlags::MOUNT_ATTR_RDONLY
            .bits()
            .into(),
        ..MountChange::default()
    };
    change_mount(program.as_fd(), change, false)?;
    Ok(program)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use super::*;

    #[test]
    fn the_sealed_program_runs_and_cannot_be_written() {
        let program = sealed_self().unwrap();
        let path = format!("/proc/self/fd/{}", program.as_raw_fd());
        let error = std::fs::File::options()
            .write(true)
            .open(&path)
            .unwrap_err();
        let refused = [rustix::io::Errno::ROFS, rustix::io::Errno::TXTBSY];
        assert!(
            refused
                .iter()
                .any(|one| error.raw_os_error() == Some(one.raw_os_error()))
        );
        let output = std::process::Command::new(path)
            .arg("--list")
            .output()
            .unwrap();
        assert!(output.status.success());
    }

    #[test]
    fn deleting_what_is_not_there_is_fine() {
        let root = tempfile::tempdir().unwrap();
        let container = Container {
            state_root: root.path().to_path_buf(),
            id: "none".to_owned(),
            runtime: RuntimeKind::BuiltIn,
        };
        delete(&container).unwrap();
        assert_eq!(
            pids(&container).unwrap_err().message,
            "container does not exist"
        );
    }
}
