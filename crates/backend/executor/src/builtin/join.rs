//! A further process of a running container: in its namespaces, its cgroups and under its filter.

use std::os::fd::{AsFd, OwnedFd};

use arca_sys::process::{Namespace, Namespaces, join_process};
use oci_spec::runtime::Process;
use rustix::fs::{Mode, OFlags, open};
use rustix::process::{Gid, Uid, setsid};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

use super::channel::ChildEnd;
use super::state::{JoinedNamespace, State};
use super::tree::Tree;
use super::{console, finish};
use crate::cgroup::Entrance;
use crate::error::{Context, ExecError};
use crate::request::Streams;
use crate::seccomp::Filter;

/// Everything that the process needs; made by the helper before the process is.
#[derive(Debug)]
pub(super) struct Join<'a> {
    /// The container.
    pub(super) state: &'a State,
    /// Its init process.
    pub(super) init: &'a OwnedFd,
    /// What to run.
    pub(super) process: &'a Process,
    /// The way into the container's cgroups.
    pub(super) entrance: &'a Entrance,
    /// The container's filter.
    pub(super) filter: Option<&'a Filter>,
    /// The standard streams.
    pub(super) streams: &'a Streams,
}

impl Join<'_> {
    /// Runs in the new process; returns its exit code if it fails.
    pub(super) fn run(self, channel: &ChildEnd) -> u8 {
        match self.prepare(channel) {
            Ok(prepared) => {
                finish::become_process(self.process, self.filter, prepared, true, channel)
            }
            Err(error) => {
                channel.fail(error);
                1
            }
        }
    }

    fn prepare(&self, channel: &ChildEnd) -> Result<finish::Prepared, ExecError> {
        self.entrance.enter()?;
        // With the limits.
        channel.wait()?;
        let prepared = finish::prepare(self.process, &self.state.id)?;
        join_process(self.init.as_fd(), rest(&self.state.joins))
            .context(|| "failed to join the container's namespaces")?;
        if self.state.user_namespace {
            let what = || "failed to become root of the user namespace";
            let (uid, gid) = (Uid::from_raw(0), Gid::from_raw(0));
            set_thread_groups(&[]).context(what)?;
            set_thread_res_gid(gid, gid, gid).context(what)?;
            set_thread_res_uid(uid, uid, uid).context(what)?;
        }
        setsid().context(|| "setsid")?;
        // Joining a mount namespace makes its root this process's root.
        let root = open(
            "/",
            OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        );
        let tree = Tree::new(root.context(|| "open /")?);
        console::set_up(&tree, self.streams, self.process, false)?;
        Ok(prepared)
    }
}

/// The namespaces that the process itself joins: all but the pid namespace, which it is born in.
fn rest(joins: &[JoinedNamespace]) -> Namespaces {
    joins
        .iter()
        .fold(Namespaces::default(), |all, one| match one {
            JoinedNamespace::Pid => all,
            JoinedNamespace::Cgroup => all.with(Namespace::Cgroup),
            JoinedNamespace::Ipc => all.with(Namespace::Ipc),
            JoinedNamespace::Mount => all.with(Namespace::Mount),
            JoinedNamespace::Network => all.with(Namespace::Network),
            JoinedNamespace::User => all.with(Namespace::User),
            JoinedNamespace::Uts => all.with(Namespace::Uts),
        })
}
