//! The namespaces of a configuration: which are new, which exist, which an exec joins.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::Path;

use arca_sys::process::{Namespace, Namespaces};
use oci_spec::runtime::{Linux, LinuxIdMapping, LinuxNamespaceType};

use super::overlay::open_namespace;
use super::state::JoinedNamespace;
use crate::error::{Context, ExecError};

/// What to do about each namespace.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// Made with the process.
    pub(super) new: Namespaces,
    /// Made by the process when it is in its cgroup.
    pub(super) new_cgroup: bool,
    /// Joined by the process.
    pub(super) joins: Vec<(Namespace, OwnedFd)>,
    /// The user namespace that exists, in which the new ones are made.
    pub(super) users: Option<OwnedFd>,
    /// Joined by the helper, so that the process is born in it.
    pub(super) pid: Option<OwnedFd>,
    /// The container has a user namespace.
    pub(super) user: bool,
    /// What an exec joins.
    pub(super) exec_joins: Vec<JoinedNamespace>,
}

impl Plan {
    /// Reads `linux.namespaces` and opens those that exist.
    pub(super) fn new(linux: &Linux) -> Result<Self, ExecError> {
        let mut plan = Self::default();
        for one in linux.namespaces().iter().flatten() {
            let (namespace, joined) = kind(one.typ())?;
            plan.exec_joins.push(joined);
            plan.user |= namespace == Namespace::User;
            let path = one
                .path()
                .as_deref()
                .filter(|path| !path.as_os_str().is_empty());
            match (path, namespace) {
                (None, Namespace::Cgroup) => plan.new_cgroup = true,
                (None, namespace) => plan.new = plan.new.with(namespace),
                (Some(path), Namespace::Pid) => plan.pid = Some(open_namespace(path)?),
                (Some(path), Namespace::User) => plan.users = Some(open_namespace(path)?),
                (Some(path), namespace) => plan.joins.push((namespace, open_namespace(path)?)),
            }
        }
        // A path may lead to the namespace that the helper is in; an exec must not join that one,
        // since a process may not join its own user namespace again.
        plan.exec_joins.dedup();
        Ok(plan)
    }
}

/// How the container's process comes to its namespaces.
#[derive(Debug)]
pub(super) enum Way {
    /// It is made with them.
    Straight,
    /// It is made with them by a process that is in this user namespace.
    Through(OwnedFd),
}

impl Plan {
    /// The way, and the namespaces that the process makes itself, when it has joined its user namespace.
    ///
    /// New namespaces belong to the user namespace that their maker is in. A pid namespace is that of children,
    /// so it needs a maker in between; without one the process can do all by itself.
    pub(super) fn way(&mut self) -> Result<(Way, Vec<Namespace>), ExecError> {
        const LATE: [Namespace; 4] = [
            Namespace::Mount,
            Namespace::Network,
            Namespace::Uts,
            Namespace::Ipc,
        ];
        let Some(users) = &self.users else {
            return Ok((Way::Straight, Vec::new()));
        };
        if self.new.has(Namespace::Pid) {
            let users = users.try_clone().context(|| "dup")?;
            return Ok((Way::Through(users), Vec::new()));
        }
        let late: Vec<Namespace> = LATE.into_iter().filter(|one| self.new.has(*one)).collect();
        for one in &late {
            self.new = self.new.without(*one);
        }
        Ok((Way::Straight, late))
    }
}

fn kind(kind: LinuxNamespaceType) -> Result<(Namespace, JoinedNamespace), ExecError> {
    Ok(match kind {
        LinuxNamespaceType::Cgroup => (Namespace::Cgroup, JoinedNamespace::Cgroup),
        LinuxNamespaceType::Ipc => (Namespace::Ipc, JoinedNamespace::Ipc),
        LinuxNamespaceType::Mount => (Namespace::Mount, JoinedNamespace::Mount),
        LinuxNamespaceType::Network => (Namespace::Network, JoinedNamespace::Network),
        LinuxNamespaceType::Pid => (Namespace::Pid, JoinedNamespace::Pid),
        LinuxNamespaceType::User => (Namespace::User, JoinedNamespace::User),
        LinuxNamespaceType::Uts => (Namespace::Uts, JoinedNamespace::Uts),
        LinuxNamespaceType::Time => {
            return Err(ExecError::other(
                "time namespaces are not supported by the built-in runtime",
            ));
        }
    })
}

/// Writes the mappings of the user namespace that process `pid` was born into.
pub(super) fn map_users(pid: i32, linux: &Linux) -> Result<(), ExecError> {
    let write = |file: &str, mappings: &Option<Vec<LinuxIdMapping>>| {
        let lines: String = mappings
            .iter()
            .flatten()
            .map(|one| format!("{} {} {}\n", one.container_id(), one.host_id(), one.size()))
            .collect();
        if lines.is_empty() {
            return Err(ExecError::other(
                "user namespaces enabled, but no mappings found",
            ));
        }
        let path = Path::new("/proc").join(pid.to_string()).join(file);
        fs::write(&path, lines).context(|| format!("failed to write {}", path.display()))
    };
    write("gid_map", linux.gid_mappings())?;
    write("uid_map", linux.uid_mappings())
}
