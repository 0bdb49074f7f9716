//! The helper's side of starting a process.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use arca_sys::process::{Namespace, join_namespace, join_process, spawn, spawn_sibling};
use oci_spec::runtime::Process;
use rustix::process::{
    DumpableBehavior, Pid, Signal, WaitOptions, kill_process, set_dumpable_behavior, waitpid,
};

use super::channel::{self, ChildEnd, Heard, HelperEnd};
use super::foreign::Foreign;
use super::hooks::{self, HookState};
use super::init::Init;
use super::join::Join;
use super::namespaces::{Plan, Way, map_users};
use super::prepared::Prepared;
use super::state::{JoinedNamespace, Place, State, start_time};
use super::users::{self, Maps};
use super::{check, limits, overlay, rootfs};
use crate::cgroup::{CgroupPaths, Layout};
use crate::error::{Context, ExecError};
use crate::request::{ExecRequest, RunRequest, Started, Streams};
use crate::seccomp::{Filter, compile};

const RUN_FAILED: &str =
    "OCI runtime create failed: runc create failed: unable to start container process";
const INIT_FAILED: &str = "error during container init";
const EXEC_FAILED: &str = "OCI runtime exec failed: exec failed: unable to start container process";

/// Creates and starts a container.
pub(crate) fn run(request: &RunRequest) -> Result<Started, ExecError> {
    let place = Place::new(&request.container.state_root, &request.container.id)
        .map_err(|error| error.within(RUN_FAILED))?;
    place.create().map_err(|error| error.within(RUN_FAILED))?;
    Run::new(request, &place)
        .and_then(|run| run.start())
        .map_err(|error| {
            drop(place.remove());
            // What is wrong with the configuration is said before a process is thought of.
            if error.message.starts_with("sysctl ") {
                return error.within("OCI runtime create failed: runc create failed");
            }
            error.within(RUN_FAILED)
        })
}

/// A container that is being started.
struct Run<'a> {
    request: &'a RunRequest,
    place: &'a Place,
    layout: Layout,
    cgroup: CgroupPaths,
    filter: Option<Filter>,
    annotations: BTreeMap<String, String>,
}

impl<'a> Run<'a> {
    fn new(request: &'a RunRequest, place: &'a Place) -> Result<Self, ExecError> {
        let (linux, process) = check::configuration(&request.spec)?;
        check_streams(&request.streams, process)?;
        let filter = linux.seccomp().as_ref().map(compile).transpose()?;
        if let Some(filter) = &filter {
            place.save_filter(filter)?;
        }
        let layout = Layout::read()?;
        let cgroup = CgroupPaths::plan(&request.cgroup, &request.container.id, &layout)?;
        let annotations = request.spec.annotations().clone().unwrap_or_default();
        Ok(Self {
            request,
            place,
            layout,
            cgroup,
            filter,
            annotations: annotations.into_iter().collect(),
        })
    }

    fn start(&self) -> Result<Started, ExecError> {
        let started = self.in_cgroup();
        if started.is_err() {
            drop(self.cgroup.remove());
        }
        started
    }

    fn in_cgroup(&self) -> Result<Started, ExecError> {
        self.create_cgroup()?;
        let (entrance, unified) = self.cgroup.open()?;
        let (linux, process) = check::configuration(&self.request.spec)?;
        let mut plan = Plan::new(linux)?;
        let maps = Maps::of(linux);
        let root = overlay::detached(&self.request.rootfs, maps.as_ref())?;
        let root_place = rootfs::is_shared(linux).then(|| self.place.path("rootfs"));
        if let Some(place) = &root_place {
            std::fs::create_dir(place).context(|| format!("mkdir {}", place.display()))?;
        }
        let mounts = self.request.spec.mounts().as_deref().unwrap_or_default();
        let foreign = Foreign::open(mounts)?;
        let prepared = Prepared::open(mounts, maps.is_some())?;
        if let Some(maps) = &maps {
            users::give(maps, &self.request.streams, process.user().uid())?;
        }
        hide_from_container()?;
        if let Some(pid) = &plan.pid {
            join_namespace(pid.as_fd(), Namespace::Pid)
                .context(|| "failed to join the Pid namespace")?;
        }
        let (way, late) = plan.way()?;
        let init = Init {
            id: &self.request.container.id,
            spec: &self.request.spec,
            linux,
            process,
            root,
            root_place,
            joins: std::mem::take(&mut plan.joins),
            late,
            users: match way {
                Way::Through(_) => None,
                Way::Straight => plan.users.take(),
            },
            new_cgroup_namespace: plan.new_cgroup,
            user_namespace: plan.user,
            cgroup: &self.cgroup,
            entrance: &entrance,
            layout: &self.layout,
            foreign: &foreign,
            prepared: &prepared,
            filter: self.filter.as_ref(),
            streams: &self.request.streams,
            state: self.told("creating", None),
        };
        let (pid, helper) = match way {
            Way::Straight => make(plan.new, unified, |channel| init.run(channel)),
            Way::Through(users) => {
                make_inside(&users, plan.new, unified, |channel| init.run(channel))
            }
        }
        .context(|| "failed to make the process")?;
        let result = self.bring_up(pid, &plan, &helper);
        if result.is_err() {
            end(pid);
        }
        result.map(|()| Started { pid })
    }

    /// From a process that waits to one that has executed the container's program.
    fn bring_up(&self, pid: i32, plan: &Plan, helper: &HelperEnd) -> Result<(), ExecError> {
        let (linux, process) = check::configuration(&self.request.spec)?;
        if plan.new.has(Namespace::User) {
            map_users(pid, linux)?;
        }
        limits::apply(pid, process).map_err(|error| error.within(INIT_FAILED))?;
        self.place.save(&self.state(pid, plan))?;
        helper.go()?;
        let hooks = self.request.spec.hooks().as_ref();
        until_executed(helper, || {
            let told = self.told("creating", Some(pid));
            let prestart = hooks.and_then(|hooks| hooks.prestart().as_deref());
            hooks::run("prestart", prestart, &told)?;
            let create = hooks.and_then(|hooks| hooks.create_runtime().as_deref());
            hooks::run("createRuntime", create, &told)
        })
        .map_err(|error| error.within(INIT_FAILED))?;
        let poststart = hooks.and_then(|hooks| hooks.poststart().as_deref());
        hooks::run("poststart", poststart, &self.told("running", Some(pid)))
    }

    fn create_cgroup(&self) -> Result<(), ExecError> {
        let linux = self.request.spec.linux().as_ref();
        let resources = linux.and_then(|linux| linux.resources().as_ref());
        let id = &self.request.container.id;
        self.cgroup
            .create(&self.request.cgroup, id, &self.layout, resources)
    }

    fn told<'s>(&'s self, status: &'s str, pid: Option<i32>) -> HookState<'s> {
        HookState {
            oci_version: self.request.spec.version(),
            id: &self.request.container.id,
            status,
            pid,
            bundle: &self.request.bundle,
            annotations: &self.annotations,
        }
    }

    fn state(&self, pid: i32, plan: &Plan) -> State {
        State {
            id: self.request.container.id.clone(),
            pid,
            started: start_time(pid).unwrap_or_default(),
            bundle: self.request.bundle.clone(),
            cgroup: self.cgroup.clone(),
            user_namespace: plan.user,
            joins: plan.exec_joins.clone(),
            hooks: self.request.spec.hooks().clone(),
            annotations: self.annotations.clone(),
        }
    }
}

/// Starts a further process in a running container.
pub(crate) fn exec(request: &ExecRequest) -> Result<Started, ExecError> {
    start_exec(request).map_err(|error| match error.message.starts_with("Cwd must") {
        true => error.within("OCI runtime exec failed: exec failed"),
        false => error.within(EXEC_FAILED),
    })
}

fn start_exec(request: &ExecRequest) -> Result<Started, ExecError> {
    check::process(&request.process)?;
    check_streams(&request.streams, &request.process)?;
    let place = Place::new(&request.container.state_root, &request.container.id)?;
    let state = place.load_existing()?;
    let stopped = || ExecError::other("cannot exec in a stopped container");
    let init = state.open_init()?.ok_or_else(stopped)?;
    let filter = place.load_filter()?;
    if state.user_namespace {
        users::give_beside(state.pid, &request.streams, request.process.user().uid())?;
    }
    hide_from_container()?;
    if state.joins.contains(&JoinedNamespace::Pid) {
        let pid = arca_sys::process::Namespaces::default().with(Namespace::Pid);
        join_process(init.as_fd(), pid)
            .context(|| "failed to join the container's pid namespace")?;
    }
    let (entrance, unified) = state.cgroup.open()?;
    let join = || Join {
        state: &state,
        init: &init,
        process: &request.process,
        entrance: &entrance,
        filter: filter.as_ref(),
        streams: &request.streams,
    };
    let none = arca_sys::process::Namespaces::default();
    let what = || "failed to make the process";
    let born = make(none, unified, |channel| join().run(channel));
    let (pid, helper, moved) = match born {
        // The container has made its cgroup an inner one: the process goes further down.
        Err(error) if is_inner_cgroup(&error) => {
            let (pid, helper) = make(none, None, |channel| join().run(channel)).context(what)?;
            (pid, helper, state.cgroup.join_unified(pid))
        }
        result => result
            .map(|(pid, helper)| (pid, helper, Ok(())))
            .context(what)?,
    };
    let result = moved
        .and_then(|()| limits::apply(pid, &request.process))
        .and_then(|()| helper.go())
        .and_then(|()| until_executed(&helper, || Ok(())));
    if result.is_err() {
        end(pid);
    }
    result.map(|()| Started { pid })
}

/// Makes the process; each side keeps its own end of the channel alone.
fn make(
    namespaces: arca_sys::process::Namespaces,
    cgroup: Option<OwnedFd>,
    body: impl FnOnce(&ChildEnd) -> u8,
) -> io::Result<(i32, HelperEnd)> {
    let (pid, (helper, child)) = spawn(namespaces, cgroup, channel::pair()?, |(helper, child)| {
        drop(helper);
        body(&child)
    })?;
    drop(child);
    Ok((pid, helper))
}

/// Makes the process so that it and its new namespaces are in the user namespace `users`, which only a process
/// that gives the host's up can join: one in between, which ends at once.
fn make_inside(
    users: &OwnedFd,
    namespaces: arca_sys::process::Namespaces,
    cgroup: Option<OwnedFd>,
    body: impl FnOnce(&ChildEnd) -> u8,
) -> io::Result<(i32, HelperEnd)> {
    let told = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    let owned = (channel::pair()?, told);
    let none = arca_sys::process::Namespaces::default();
    let (between, ((helper, child), (heard, tell))) = spawn(none, cgroup, owned, |owned| {
        let ((helper, child), (heard, tell)) = owned;
        drop((helper, heard));
        let made = join_namespace(users.as_fd(), Namespace::User)
            .and_then(|()| spawn_sibling(namespaces, child, |child| body(&child)));
        let word = match made {
            Ok((pid, _child)) => pid,
            Err(error) => -error.raw_os_error().unwrap_or(1),
        };
        u8::from(rustix::io::write(&tell, &word.to_ne_bytes()).is_err())
    })?;
    drop((child, tell));
    let mut word = [0; 4];
    let length = rustix::io::retry_on_intr(|| rustix::io::read(&heard, &mut word));
    if let Some(between) = Pid::from_raw(between) {
        rustix::io::retry_on_intr(|| waitpid(Some(between), WaitOptions::empty()))?;
    }
    match (length?, i32::from_ne_bytes(word)) {
        (4, pid) if pid > 0 => Ok((pid, helper)),
        (4, code) => Err(io::Error::from_raw_os_error(-code)),
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// Says whether a process cannot be made in a cgroup v2 because of what is below that.
fn is_inner_cgroup(error: &io::Error) -> bool {
    let inner = [rustix::io::Errno::BUSY, rustix::io::Errno::OPNOTSUPP];
    inner
        .iter()
        .any(|one| error.raw_os_error() == Some(one.raw_os_error()))
}

/// Listens to the process until its program is executed.
fn until_executed(
    helper: &HelperEnd,
    mut hooks: impl FnMut() -> Result<(), ExecError>,
) -> Result<(), ExecError> {
    let mut running = false;
    loop {
        match helper.hear()? {
            Heard::Hooks => {
                hooks()?;
                helper.go()?;
            }
            Heard::Running => running = true,
            Heard::Failed(error) => return Err(error),
            Heard::Closed if running => return Ok(()),
            Heard::Closed => return Err(ExecError::other("the process ended before it was ready")),
        }
    }
}

/// Processes of the container must not look into this one, which is a process of the host, nor into
/// its child before that has executed the container's program.
fn hide_from_container() -> Result<(), ExecError> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable).context(|| "prctl")
}

fn end(pid: i32) {
    let Some(pid) = Pid::from_raw(pid) else {
        return;
    };
    kill_process(pid, Signal::KILL).ok();
    waitpid(Some(pid), WaitOptions::empty()).ok();
}

fn check_streams(streams: &Streams, process: &Process) -> Result<(), ExecError> {
    let terminal = process.terminal() == Some(true);
    match (streams, terminal) {
        (Streams::Console(_), true) | (Streams::Pipes(_), false) => Ok(()),
        (Streams::Console(_), false) => Err(ExecError::other(
            "a console was given but process.terminal is not set",
        )),
        (Streams::Pipes(_), true) => Err(ExecError::other(
            "process.terminal is set but no console was given",
        )),
    }
}
