//! The container's first process, from its first instruction to the container's program.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use arca_sys::process::{Namespace, join_namespace, set_personality, unshare};
use oci_spec::runtime::{Linux, LinuxPersonalityDomain, Process, Spec};
use rustix::process::{Gid, Uid, setsid};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

use super::channel::ChildEnd;
use super::foreign::Foreign;
use super::hooks::{self, HookState};
use super::mounts::Surroundings;
use super::prepared::Prepared;
use super::tree::Tree;
use super::{console, finish, rootfs};
use crate::cgroup::{CgroupPaths, Entrance, Layout};
use crate::error::{Context, ExecError};
use crate::request::Streams;
use crate::seccomp::Filter;

/// Everything that the first process needs; made by the helper before the process is.
#[derive(Debug)]
pub(super) struct Init<'a> {
    /// The container's ID.
    pub(super) id: &'a str,
    /// The configuration and parts of it.
    pub(super) spec: &'a Spec,
    /// `linux` of the configuration.
    pub(super) linux: &'a Linux,
    /// `process` of the configuration.
    pub(super) process: &'a Process,
    /// The root filesystem, mounted and not attached.
    pub(super) root: OwnedFd,
    /// Where to attach it in the container's mount namespace, if not on `/`.
    pub(super) root_place: Option<PathBuf>,
    /// Namespaces that exist.
    pub(super) joins: Vec<(Namespace, OwnedFd)>,
    /// Namespaces that the process makes itself.
    pub(super) late: Vec<Namespace>,
    /// The user namespace that the process joins before it makes them.
    pub(super) users: Option<OwnedFd>,
    /// Make a cgroup namespace, which must wait until the process is in its cgroup.
    pub(super) new_cgroup_namespace: bool,
    /// The container has a user namespace.
    pub(super) user_namespace: bool,
    /// Its cgroups.
    pub(super) cgroup: &'a CgroupPaths,
    /// The way into them.
    pub(super) entrance: &'a Entrance,
    /// The host's cgroup hierarchies.
    pub(super) layout: &'a Layout,
    /// Mounts of other containers.
    pub(super) foreign: &'a Foreign,
    /// Mounts that were made before.
    pub(super) prepared: &'a Prepared,
    /// The seccomp filter.
    pub(super) filter: Option<&'a Filter>,
    /// Its standard streams.
    pub(super) streams: &'a Streams,
    /// What hooks read.
    pub(super) state: HookState<'a>,
}

impl Init<'_> {
    /// Runs in the new process; returns its exit code if it fails.
    pub(super) fn run(mut self, channel: &ChildEnd) -> u8 {
        match self.prepare(channel) {
            Ok(prepared) => {
                let (process, filter) = (self.process, self.filter);
                finish::become_process(process, filter, prepared, true, channel)
            }
            Err(error) => {
                channel.fail(error);
                1
            }
        }
    }

    fn prepare(&mut self, channel: &ChildEnd) -> Result<finish::Prepared, ExecError> {
        self.entrance.enter()?;
        // With the owners mapped.
        channel.wait()?;
        self.enter_namespaces()?;
        setsid().context(|| "setsid")?;
        let prepared = finish::prepare(self.process, self.id)?;
        self.set_names()?;
        self.set_parameters()?;

        rootfs::attach(self.root.as_fd(), self.root_place.as_deref(), self.linux)?;
        let tree = Tree::new(self.root.try_clone().context(|| "dup")?);
        let has_cgroup_namespace = self.new_cgroup_namespace
            || self
                .joins
                .iter()
                .any(|(namespace, _)| *namespace == Namespace::Cgroup);
        let around = Surroundings {
            cgroup: self.cgroup,
            layout: self.layout,
            cgroup_namespace: has_cgroup_namespace,
            foreign: self.foreign,
            prepared: self.prepared,
        };
        rootfs::fill(&tree, self.spec, &around, self.user_namespace)?;
        let hooks = self.spec.hooks().as_ref();
        if hooks.is_some() {
            channel.hooks()?;
        }
        let create = hooks.and_then(|hooks| hooks.create_container().as_deref());
        hooks::run("createContainer", create, &self.state)?;

        console::set_up(&tree, self.streams, self.process, true)?;
        rootfs::seal(&tree, self.spec, self.linux)?;
        rootfs::enter(&tree, self.linux)?;
        self.set_domain()?;
        let start = hooks.and_then(|hooks| hooks.start_container().as_deref());
        hooks::run("startContainer", start, &self.state)?;
        Ok(prepared)
    }

    fn enter_namespaces(&self) -> Result<(), ExecError> {
        if let Some(users) = &self.users {
            join_namespace(users.as_fd(), Namespace::User)
                .context(|| "failed to join the User namespace")?;
        }
        for namespace in &self.late {
            unshare(*namespace)
                .context(|| format!("failed to unshare the {namespace:?} namespace"))?;
        }
        for (namespace, fd) in &self.joins {
            join_namespace(fd.as_fd(), *namespace)
                .context(|| format!("failed to join the {namespace:?} namespace"))?;
        }
        if self.user_namespace {
            let what = || "failed to become root of the user namespace";
            let (uid, gid) = (Uid::from_raw(0), Gid::from_raw(0));
            set_thread_groups(&[]).context(what)?;
            set_thread_res_gid(gid, gid, gid).context(what)?;
            set_thread_res_uid(uid, uid, uid).context(what)?;
        }
        if self.new_cgroup_namespace {
            unshare(Namespace::Cgroup).context(|| "failed to unshare the cgroup namespace")?;
        }
        Ok(())
    }

    fn set_names(&self) -> Result<(), ExecError> {
        if let Some(name) = self
            .spec
            .hostname()
            .as_ref()
            .filter(|name| !name.is_empty())
        {
            rustix::system::sethostname(name.as_bytes()).context(|| "sethostname")?;
        }
        if let Some(name) = self
            .spec
            .domainname()
            .as_ref()
            .filter(|name| !name.is_empty())
        {
            rustix::system::setdomainname(name.as_bytes()).context(|| "setdomainname")?;
        }
        Ok(())
    }

    /// Sets kernel parameters by the host's `/proc`, which shows those of this process's namespaces.
    fn set_parameters(&self) -> Result<(), ExecError> {
        for (key, value) in self.linux.sysctl().iter().flatten() {
            // `a.b/c` is the parameter `b/c`'s spelling for a name with a dot in it.
            let first = key.find(['.', '/']);
            let slashes = first.is_some_and(|at| key.as_bytes().get(at) == Some(&b'/'));
            let swap = |letter| match letter {
                '.' if !slashes => '/',
                '/' if !slashes => '.',
                other => other,
            };
            let path: String = key.chars().map(swap).collect();
            fs::write(Path::new("/proc/sys").join(path), value)
                .context(|| format!("open sysctl {key} file"))?;
        }
        Ok(())
    }

    fn set_domain(&self) -> Result<(), ExecError> {
        let Some(personality) = self.linux.personality() else {
            return Ok(());
        };
        if personality
            .flags()
            .as_ref()
            .is_some_and(|flags| !flags.is_empty())
        {
            return Err(ExecError::other("linux.personality.flags is not supported"));
        }
        let domain = match personality.domain() {
            LinuxPersonalityDomain::PerLinux => 0,
            LinuxPersonalityDomain::PerLinux32 => 8,
        };
        set_personality(domain).context(|| "unable to set personality")
    }
}
