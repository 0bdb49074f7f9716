//! Directories and files of a cgroup hierarchy, whatever its version.

use std::fs;
use std::io;
use std::path::Path;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::BUSY;
use crate::error::{Context, ExecError};

/// How long removal waits for processes that have been killed, in all.
const PATIENCE_MS: i64 = 1000;

/// Makes the directory and those above it.
pub(super) fn make(dir: &Path) -> Result<(), ExecError> {
    match fs::create_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            fs::create_dir_all(dir).context(|| format!("mkdir {}", dir.display()))
        }
        result => result.context(|| format!("mkdir {}", dir.display())),
    }
}

/// Writes a value into a file of the cgroup.
pub(super) fn write(dir: &Path, file: &str, value: &str) -> Result<(), ExecError> {
    let path = dir.join(file);
    fs::OpenOptions::new()
        .write(true)
        .open(&path)
        .and_then(|mut file| io::Write::write_all(&mut file, value.as_bytes()))
        .context(|| format!("failed to write \"{value}\" to {}", path.display()))
}

/// Reads a file of the cgroup without the newline at its end.
pub(super) fn read(dir: &Path, file: &str) -> Result<String, ExecError> {
    let path = dir.join(file);
    let text = fs::read_to_string(&path).context(|| format!("open {}", path.display()))?;
    Ok(text.trim_end().to_owned())
}

/// Says whether the cgroup has the file.
pub(super) fn has(dir: &Path, file: &str) -> bool {
    dir.join(file).exists()
}

/// Lists the processes in the cgroup and below; none when it is gone.
pub(super) fn pids(dir: &Path) -> Result<Vec<i32>, ExecError> {
    let mut all = Vec::new();
    let file = dir.join("cgroup.procs");
    match fs::read_to_string(&file) {
        Ok(text) => all.extend(text.lines().filter_map(|line| line.parse::<i32>().ok())),
        // A threaded cgroup (v2) has no processes of its own; a cgroup that is gone has none.
        Err(error) if gone(&error) || error.raw_os_error() == Some(OPNOTSUPP) => {}
        Err(error) => return Err(ExecError::os(format!("open {}", file.display()), &error)),
    }
    for child in children(dir)? {
        all.extend(pids(&child)?);
    }
    Ok(all)
}

/// Removes the cgroup and those below it, waiting a little for processes that are ending.
pub(super) fn remove(dir: &Path) -> Result<(), ExecError> {
    let mut patience = PATIENCE_MS;
    loop {
        for child in children(dir)? {
            remove(&child)?;
        }
        match fs::remove_dir(dir) {
            Err(error) if error.raw_os_error() == Some(BUSY) && patience > 0 => {
                patience -= wait_for_any_end(dir)?;
            }
            Err(error) if gone(&error) => return Ok(()),
            result => return result.context(|| format!("remove {}", dir.display())),
        }
    }
}

/// Waits until a process of the cgroup has ended; returns the milliseconds that are counted for it.
fn wait_for_any_end(dir: &Path) -> Result<i64, ExecError> {
    const SLICE_MS: i64 = 20;
    let open = |&pid: &i32| pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok();
    let processes: Vec<_> = pids(dir)?.iter().filter_map(open).collect();
    let mut waiting: Vec<PollFd<'_>> = processes
        .iter()
        .map(|pidfd| PollFd::new(pidfd, PollFlags::IN))
        .collect();
    // Without processes it is a zombie or the kernel's own cleaning that is waited for; neither can
    // be polled.
    let slice = Timespec {
        tv_sec: 0,
        tv_nsec: SLICE_MS * 1_000_000 / if waiting.is_empty() { 20 } else { 1 },
    };
    poll(&mut waiting, Some(&slice)).context(|| "poll")?;
    Ok(if waiting.is_empty() {
        SLICE_MS / 20
    } else {
        SLICE_MS
    })
}

fn children(dir: &Path) -> Result<Vec<std::path::PathBuf>, ExecError> {
    let entries = match fs::read_dir(dir) {
        Err(error) if gone(&error) => return Ok(Vec::new()),
        result => result.context(|| format!("open {}", dir.display()))?,
    };
    let is_dir = |entry: &fs::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_dir());
    Ok(entries
        .flatten()
        .filter(is_dir)
        .map(|entry| entry.path())
        .collect())
}

fn gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(NODEV)
}

const OPNOTSUPP: i32 = rustix::io::Errno::OPNOTSUPP.raw_os_error();
const NODEV: i32 = rustix::io::Errno::NODEV.raw_os_error();
