//! What can be done with a container that runs.

use std::collections::BTreeSet;
use std::path::Path;

use arca_shim_proto::{
    AttachRequest, ConsoleSize, ExecRequest, ExecSpec, KillRequest, Request, ResizeRequest,
    Response, Started, UpdateRequest,
};
use arca_types::{ContainerId, ExecId, Signal, Timestamp};
use serde::Serialize;

use crate::error::Error;
use crate::link::Outgoing;
use crate::runtime::{ORDER, Runtime, START, blocking};
use crate::start::{Client, HandOver, Session};

/// A further process that was started.
#[derive(Debug)]
pub struct ExecStarted {
    /// The process, in the host's PID namespace.
    pub pid: i32,
    /// When it was started.
    pub at: Timestamp,
    /// The session of the client, if one was handed over.
    pub session: Option<Session>,
}

impl Runtime {
    /// Starts a further process in a container. `client` is attached from the first byte on.
    ///
    /// # Errors
    /// [`Error::NotRunning`]; [`Error::Refused`] with the text and exit code of the runtime.
    pub async fn exec(
        &self,
        id: &ContainerId,
        exec: &ExecId,
        spec: ExecSpec,
        client: Option<Client>,
    ) -> Result<ExecStarted, Error> {
        let link = self.shim(id)?.link;
        let mut hand_over = HandOver::new(&link, client.into_iter().collect());
        let request = ExecRequest {
            exec: exec.clone(),
            spec,
            attach: hand_over.specs.pop(),
        };
        let outgoing = Outgoing {
            request: Request::Exec(Box::new(request)),
            descriptors: hand_over.descriptors,
            sessions: hand_over.ends,
        };
        match link.ask("exec", START, outgoing).await? {
            Response::Started(Started { pid, at }) => Ok(ExecStarted {
                pid,
                at,
                session: hand_over.sessions.pop(),
            }),
            _ => Err(Error::Answer {
                id: id.clone(),
                what: "exec",
            }),
        }
    }

    /// Attaches a client to the container, or to an exec of it.
    ///
    /// # Errors
    /// [`Error::NotRunning`]; [`Error::Refused`] when there is no such exec. The client's connection
    /// is closed then.
    pub async fn attach(
        &self,
        id: &ContainerId,
        exec: Option<&ExecId>,
        client: Client,
    ) -> Result<Session, Error> {
        let link = self.shim(id)?.link;
        let (session, end) = Session::new();
        let number = link.session_number();
        let request = AttachRequest {
            exec: exec.cloned(),
            session: number,
            attach: client.spec,
        };
        let outgoing = Outgoing {
            request: Request::Attach(request),
            descriptors: vec![client.socket],
            sessions: vec![(number, end)],
        };
        link.order("attach", ORDER, outgoing).await?;
        Ok(session)
    }

    /// Sends a signal to the container's init process, or to an exec.
    ///
    /// # Errors
    /// [`Error::NotRunning`]; [`Error::Refused`] when there is no such exec.
    pub async fn kill(
        &self,
        id: &ContainerId,
        exec: Option<&ExecId>,
        signal: Signal,
    ) -> Result<(), Error> {
        let request = KillRequest {
            exec: exec.cloned(),
            signal,
        };
        self.order(id, "kill", Request::Kill(request)).await
    }

    /// Freezes all processes of a container.
    ///
    /// # Errors
    /// [`Error::NotRunning`]; [`Error::Refused`].
    pub async fn pause(&self, id: &ContainerId) -> Result<(), Error> {
        self.order(id, "pause", Request::Pause).await
    }

    /// Lets them go on.
    ///
    /// # Errors
    /// [`Error::NotRunning`]; [`Error::Refused`].
    pub async fn resume(&self, id: &ContainerId) -> Result<(), Error> {
        self.order(id, "resume", Request::Resume).await
    }

    /// Sets the size of a terminal.
    ///
    /// # Errors
    /// [`Error::NotRunning`]; [`Error::Refused`] when there is no such exec, or no terminal.
    pub async fn resize(
        &self,
        id: &ContainerId,
        exec: Option<&ExecId>,
        size: ConsoleSize,
    ) -> Result<(), Error> {
        let request = ResizeRequest {
            exec: exec.cloned(),
            size,
        };
        self.order(id, "resize", Request::Resize(request)).await
    }

    /// Changes resource limits; `resources` is `linux.resources` of the runtime-spec, of which only
    /// what is set is changed.
    ///
    /// # Errors
    /// [`Error::NotRunning`]; [`Error::Refused`].
    pub async fn update<T: Serialize>(&self, id: &ContainerId, resources: &T) -> Result<(), Error> {
        let resources =
            serde_json::value::to_raw_value(resources).map_err(|cause| Error::Message {
                id: id.clone(),
                cause: arca_shim_proto::FrameError::Encode(cause),
            })?;
        let request = UpdateRequest { resources };
        self.order(id, "update", Request::Update(request)).await
    }

    /// Lists the processes of a container, nested cgroups included.
    ///
    /// # Errors
    /// [`Error::NotRunning`]; [`Error::File`] when its cgroups cannot be read.
    pub async fn pids(&self, id: &ContainerId) -> Result<Vec<i32>, Error> {
        let (_, cgroups) = self.cgroups(id).await?;
        blocking(move || {
            let mut pids = BTreeSet::new();
            for directory in cgroups.values() {
                collect(directory, &mut pids).map_err(Error::file("read", directory))?;
            }
            Ok(pids.into_iter().collect())
        })
        .await
    }

    async fn order(
        &self,
        id: &ContainerId,
        what: &'static str,
        request: Request,
    ) -> Result<(), Error> {
        match self.shim(id)?.link.order(what, ORDER, request).await {
            // A shim whose container has ended may be gone before it reads an order.
            Err(Error::ShimLost { .. }) if self.has_ended(id).await? => {
                Err(Error::NotRunning(id.clone()))
            }
            done => done,
        }
    }

    /// Is there the record of the container's end?
    async fn has_ended(&self, id: &ContainerId) -> Result<bool, Error> {
        let directory = self.directory(id);
        blocking(move || Ok(directory.exit()?.is_some())).await
    }
}

/// Reads `cgroup.procs` of a cgroup and of those below it. One that goes away meanwhile is empty.
fn collect(directory: &Path, pids: &mut BTreeSet<i32>) -> std::io::Result<()> {
    let gone = |error: &std::io::Error| {
        matches!(
            error.raw_os_error(),
            Some(code) if code == rustix::io::Errno::NOENT.raw_os_error()
                || code == rustix::io::Errno::NODEV.raw_os_error()
                // A threaded cgroup of version 2 has no list of processes.
                || code == rustix::io::Errno::OPNOTSUPP.raw_os_error()
        )
    };
    match std::fs::read_to_string(directory.join("cgroup.procs")) {
        Ok(text) => pids.extend(text.lines().filter_map(|line| line.parse::<i32>().ok())),
        Err(error) if gone(&error) => {}
        Err(error) => return Err(error),
    }
    let entries = match std::fs::read_dir(directory) {
        Err(error) if gone(&error) => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            collect(&entry.path(), pids)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_of_nested_groups_are_found() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("a/b")).unwrap();
        std::fs::write(root.path().join("cgroup.procs"), "7\n0\n").unwrap();
        std::fs::write(root.path().join("a/b/cgroup.procs"), "9\n7\n").unwrap();
        let mut pids = BTreeSet::new();
        collect(root.path(), &mut pids).unwrap();
        assert_eq!(pids.into_iter().collect::<Vec<_>>(), [0, 7, 9]);
    }
}
