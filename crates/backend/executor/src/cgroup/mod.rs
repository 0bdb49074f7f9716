//! The cgroups of a container: made, limited, joined, frozen, emptied, removed; v1 and v2.
//!
//! Where the hierarchies are is read from mountinfo ([`layout`]). What a limit is called differs
//! between the versions ([`v1`], [`v2`]); everything else is here and the same for both.

mod convert;
mod devices;
mod dirs;
mod layout;
mod systemd;
mod v1;
mod v2;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use arca_shim_proto::CgroupSpec;
use oci_spec::runtime::LinuxResources;
use serde::{Deserialize, Serialize};

use crate::error::{Context, ExecError};

pub(crate) use layout::Layout;

/// Where a container's cgroups are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CgroupPaths {
    /// The directory in each v1 hierarchy, by controller (`memory`, `cpu`, ..) and for
    /// `name=systemd` by that name. Empty on a host with cgroup v2 alone.
    pub v1: BTreeMap<String, PathBuf>,
    /// The directory in the unified hierarchy (v2), if one is mounted.
    pub unified: Option<PathBuf>,
    /// The systemd scope that the directories belong to, with the systemd driver.
    pub unit: Option<String>,
}

impl CgroupPaths {
    /// Says whether limits and statistics are those of cgroup v2.
    #[must_use]
    pub fn is_v2(&self) -> bool {
        self.v1.is_empty()
    }

    /// Says where the cgroups that `spec` names will be.
    pub(crate) fn plan(spec: &CgroupSpec, id: &str, layout: &Layout) -> Result<Self, ExecError> {
        if spec.systemd {
            let scope = systemd::Scope::parse(&spec.path, id)?;
            let mut paths = layout.paths(&scope.path())?;
            paths.unit = Some(scope.unit().to_owned());
            return Ok(paths);
        }
        let path = if spec.path.is_empty() {
            format!("/arca/{id}")
        } else {
            spec.path.clone()
        };
        layout.paths(&path)
    }

    /// Makes the planned cgroups and sets their limits; [`CgroupPaths::remove`] takes them back.
    ///
    /// With the systemd driver a scope needs a process in it: that is the calling process, from
    /// which the container's processes are made.
    pub(crate) fn create(
        &self,
        spec: &CgroupSpec,
        id: &str,
        layout: &Layout,
        resources: Option<&LinuxResources>,
    ) -> Result<(), ExecError> {
        if spec.systemd {
            let pid = rustix::process::getpid().as_raw_nonzero().get();
            systemd::start(&systemd::Scope::parse(&spec.path, id)?, pid, resources)?;
        }
        self.make(layout)?;
        resources.map_or(Ok(()), |resources| self.apply(resources))
    }

    fn make(&self, layout: &Layout) -> Result<(), ExecError> {
        for (controller, dir) in &self.v1 {
            dirs::make(dir)?;
            if controller == "cpuset" {
                v1::inherit_cpuset(dir, layout.mount_of(controller))?;
            }
        }
        match &self.unified {
            Some(dir) if self.is_v2() => v2::make(dir, layout.unified_mount()),
            Some(dir) => dirs::make(dir),
            None => Ok(()),
        }
    }

    /// Sets the limits in `resources`; what is not named stays as it is.
    ///
    /// # Errors
    /// When the kernel refuses a value, or the host lacks a controller that is asked for.
    pub(crate) fn apply(&self, resources: &LinuxResources) -> Result<(), ExecError> {
        if let Some(unit) = &self.unit {
            systemd::update(unit, resources)?;
        }
        match &self.unified {
            Some(dir) if self.is_v2() => v2::apply(dir, resources),
            _ => v1::apply(&self.v1, resources),
        }
    }

    /// Opens what a process that is about to be made needs to be in the cgroups from its start:
    /// see [`Entrance`]. The descriptor is the directory of the unified hierarchy, to make the
    /// process in; the process must not keep it, since it leads to directories of the host.
    pub(crate) fn open(&self) -> Result<(Entrance, Option<OwnedFd>), ExecError> {
        let unified = match &self.unified {
            None => None,
            Some(dir) => Some(
                File::open(dir)
                    .context(|| format!("open {}", dir.display()))?
                    .into(),
            ),
        };
        let unified_dir = self.unified.as_deref();
        let tasks = self
            .dirs()
            .filter(|dir| Some(*dir) != unified_dir)
            .map(|dir| {
                let file = dir.join("tasks");
                File::options()
                    .write(true)
                    .open(&file)
                    .context(|| format!("open {}", file.display()))
            });
        let tasks = tasks.collect::<Result<_, _>>()?;
        Ok((Entrance { tasks }, unified))
    }

    /// Moves process `pid` into the unified hierarchy, where it could not be made.
    pub(crate) fn join_unified(&self, pid: i32) -> Result<(), ExecError> {
        if let Some(dir) = &self.unified {
            let file = dir.join("cgroup.procs");
            match fs::write(&file, pid.to_string()) {
                Ok(()) => {}
                // A process that the container moved deeper made this directory an inner one.
                Err(error) if self.is_v2() && error.raw_os_error() == Some(BUSY) => {
                    v2::join_leaf(dir, pid)?;
                }
                Err(error) => {
                    let what = format!("failed to write {pid} to {}", file.display());
                    return Err(
                        ExecError::os(what, &error).within("unable to apply cgroup configuration")
                    );
                }
            }
        }
        Ok(())
    }

    /// Stops (`true`) or continues every process, and waits until that is so.
    pub(crate) fn freeze(&self, stop: bool) -> Result<(), ExecError> {
        match &self.unified {
            Some(dir) if self.is_v2() => v2::freeze(dir, stop),
            _ => {
                let dir = self.v1.get("freezer");
                let dir =
                    dir.ok_or_else(|| ExecError::other("cannot pause without the freezer cgroup"))?;
                v1::freeze(dir, stop)
            }
        }
    }

    /// Returns the processes, also those in cgroups below, as the host numbers them.
    pub(crate) fn pids(&self) -> Result<Vec<i32>, ExecError> {
        let Some(dir) = self.main() else {
            return Ok(Vec::new());
        };
        dirs::pids(dir)
    }

    /// Removes the cgroups, also those below; what is gone is fine.
    ///
    /// # Errors
    /// When there are still processes after a second.
    pub(crate) fn remove(&self) -> Result<(), ExecError> {
        let mut first_error = None;
        for dir in self.dirs() {
            if let Err(error) = dirs::remove(dir) {
                first_error.get_or_insert(error);
            }
        }
        if let Some(unit) = &self.unit {
            systemd::stop(unit);
        }
        first_error.map_or(Ok(()), Err)
    }

    /// The directory that tells best who is in the container.
    fn main(&self) -> Option<&Path> {
        let v1 = ["freezer", "pids", "memory"]
            .iter()
            .find_map(|name| self.v1.get(*name));
        v1.or_else(|| self.v1.values().next())
            .or(self.unified.as_ref())
            .map(PathBuf::as_path)
    }

    /// Each directory once: controllers may be mounted together.
    fn dirs(&self) -> impl Iterator<Item = &Path> {
        let mut all: Vec<&Path> = self
            .v1
            .values()
            .chain(&self.unified)
            .map(PathBuf::as_path)
            .collect();
        all.sort_unstable();
        all.dedup();
        all.into_iter()
    }
}

/// The way into a container's cgroups for one process.
///
/// To move a process into a cgroup the kernel waits until no process of the host is being made,
/// some 10 ms. It need not wait when a process is made in a cgroup (v2), nor when a thread moves
/// itself alone (v1).
#[derive(Debug)]
pub(crate) struct Entrance {
    tasks: Vec<File>,
}

impl Entrance {
    /// Moves the calling process, which must have one thread, into the v1 hierarchies.
    pub(crate) fn enter(&self) -> Result<(), ExecError> {
        for mut tasks in &self.tasks {
            tasks
                .write_all(b"0")
                .context(|| "unable to apply cgroup configuration")?;
        }
        Ok(())
    }
}

/// `EBUSY`.
const BUSY: i32 = rustix::io::Errno::BUSY.raw_os_error();
