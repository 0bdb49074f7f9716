//! What is kept about a container between two calls: `<state root>/<id>/`.
//!
//! The directory is on a filesystem that a reboot empties; nothing in it outlives the container.

use std::fs;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use oci_spec::runtime::Hooks;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde::{Deserialize, Serialize};

use crate::cgroup::CgroupPaths;
use crate::error::{Context, ExecError};
use crate::seccomp::Filter;

const STATE: &str = "state.json";
const SECCOMP: &str = "seccomp.bpf";

/// The record of a container that was started.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct State {
    /// The container's ID.
    pub(crate) id: String,
    /// The init process, as the host numbers it.
    pub(crate) pid: i32,
    /// When it was started, in clock ticks since boot: a reused number is another process.
    pub(crate) started: u64,
    /// The directory of `config.json`, for hooks.
    pub(crate) bundle: PathBuf,
    /// Its cgroups.
    pub(crate) cgroup: CgroupPaths,
    /// Its configuration has a user namespace.
    pub(crate) user_namespace: bool,
    /// Which namespaces of the init process an exec joins.
    pub(crate) joins: Vec<JoinedNamespace>,
    /// The hooks that run after the container's end.
    #[serde(default)]
    pub(crate) hooks: Option<Hooks>,
    /// `annotations` of the configuration, told to hooks.
    #[serde(default)]
    pub(crate) annotations: std::collections::BTreeMap<String, String>,
}

/// A kind of namespace that a container does not share with the shim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum JoinedNamespace {
    /// Control groups.
    Cgroup,
    /// IPC.
    Ipc,
    /// Mounts.
    Mount,
    /// Network.
    Network,
    /// Process IDs.
    Pid,
    /// Users.
    User,
    /// Host name.
    Uts,
}

/// A container's directory.
#[derive(Debug, Clone)]
pub(crate) struct Place(PathBuf);

impl Place {
    /// Names the directory of container `id`; it may be missing.
    pub(crate) fn new(root: &Path, id: &str) -> Result<Self, ExecError> {
        let odd = |letter: char| !letter.is_ascii_alphanumeric() && !"_+-.".contains(letter);
        if id.is_empty() || id == "." || id == ".." || id.contains(odd) {
            return Err(ExecError::other("invalid container ID format"));
        }
        Ok(Self(root.join(id)))
    }

    /// Makes the directory.
    pub(crate) fn create(&self) -> Result<(), ExecError> {
        let parent = self.0.parent().unwrap_or(Path::new("/"));
        let mut builder = fs::DirBuilder::new();
        builder.mode(0o700);
        builder
            .recursive(true)
            .create(parent)
            .context(|| format!("mkdir {}", parent.display()))?;
        match builder.recursive(false).create(&self.0) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Err(ExecError::other("container with given ID already exists"))
            }
            result => result.context(|| format!("mkdir {}", self.0.display())),
        }
    }

    /// Returns a path in the directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Saves the record, whole or not at all.
    pub(crate) fn save(&self, state: &State) -> Result<(), ExecError> {
        let text = serde_json::to_vec(state)
            .map_err(|error| ExecError::other(format!("encode the state: {error}")))?;
        self.write(STATE, &text)
    }

    /// Reads the record; `None` when the container is not known.
    pub(crate) fn load(&self) -> Result<Option<State>, ExecError> {
        let path = self.path(STATE);
        match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(ExecError::os(format!("open {}", path.display()), &error)),
            Ok(text) => serde_json::from_slice(&text)
                .map(Some)
                .map_err(|error| ExecError::other(format!("{}: {error}", path.display()))),
        }
    }

    /// Reads the record of a container that must be there.
    pub(crate) fn load_existing(&self) -> Result<State, ExecError> {
        self.load()?
            .ok_or_else(|| ExecError::other("container does not exist"))
    }

    /// Keeps the filter for processes that are started later.
    pub(crate) fn save_filter(&self, filter: &Filter) -> Result<(), ExecError> {
        self.write(SECCOMP, &filter.to_bytes())
    }

    /// Reads the filter, if the container has one.
    pub(crate) fn load_filter(&self) -> Result<Option<Filter>, ExecError> {
        let path = self.path(SECCOMP);
        match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(ExecError::os(format!("open {}", path.display()), &error)),
            Ok(bytes) => Filter::from_bytes(&bytes).map(Some),
        }
    }

    /// Removes the directory and what is in it; a directory that is gone is fine.
    pub(crate) fn remove(&self) -> Result<(), ExecError> {
        match fs::remove_dir_all(&self.0) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result.context(|| format!("remove {}", self.0.display())),
        }
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), ExecError> {
        let (new, path) = (self.path(&format!("{name}.new")), self.path(name));
        let mut options = fs::OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let written = options
            .open(&new)
            .and_then(|mut file| file.write_all(bytes));
        written
            .and_then(|()| fs::rename(&new, &path))
            .context(|| format!("write {}", path.display()))
    }
}

impl State {
    /// Opens the init process; `None` when it has ended.
    pub(crate) fn open_init(&self) -> Result<Option<OwnedFd>, ExecError> {
        let Some(pid) = Pid::from_raw(self.pid) else {
            return Ok(None);
        };
        match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(pidfd) => Ok((start_time(self.pid) == Some(self.started)).then_some(pidfd)),
            Err(rustix::io::Errno::SRCH) => Ok(None),
            Err(error) => Err(ExecError::os("pidfd_open", &error.into())),
        }
    }
}

/// Returns when process `pid` was started, in clock ticks since boot (proc_pid_stat(5), field 22);
/// `None` when there is no such process or it is a zombie.
pub(crate) fn start_time(pid: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut fields = fields.split(' ');
    let status = fields.next()?;
    let started = fields.nth(18)?.parse().ok()?;
    (status != "Z" && status != "X").then_some(started)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_cannot_leave_its_root() {
        for id in ["", ".", "..", "a/b", "a b"] {
            assert!(Place::new(Path::new("/r"), id).is_err(), "{id:?}");
        }
        assert_eq!(
            Place::new(Path::new("/r"), "a.b-c").unwrap().path("x"),
            Path::new("/r/a.b-c/x")
        );
    }

    #[test]
    fn an_id_is_taken_once_and_removal_is_idempotent() {
        let root = tempfile::tempdir().unwrap();
        let place = Place::new(root.path(), "one").unwrap();
        place.create().unwrap();
        let error = place.create().unwrap_err();
        assert_eq!(error.message, "container with given ID already exists");
        assert!(place.load().unwrap().is_none());
        place.remove().unwrap();
        place.remove().unwrap();
    }

    #[test]
    fn a_process_has_the_time_of_its_start() {
        let pid = i32::try_from(std::process::id()).unwrap();
        assert!(start_time(pid).unwrap() > 0);
        assert_eq!(start_time(i32::MAX), None);
    }
}
