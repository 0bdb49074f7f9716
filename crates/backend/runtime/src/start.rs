//! Starting a container: a shim, and through it the container's init process.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::Stdio as ChildStdio;
use std::sync::Arc;

use arca_shim_proto::{
    AttachEnd, AttachSpec, Event as ShimEvent, ExitStatus, Hello, Request, Response, RunRequest,
    RunSpec, SessionSpec, Started,
};
use arca_types::{ContainerId, Timestamp};
use tokio::sync::{mpsc, oneshot};

use crate::directory::Directory;
use crate::error::Error;
use crate::events::{Event, Happening, Seen};
use crate::link::{Link, Outgoing};
use crate::lost;
use crate::runtime::{HELLO, Runtime, START, Shim, blocking};

/// A client to hand over: what it takes part in, and its connection.
#[derive(Debug)]
pub struct Client {
    /// What it takes part in.
    pub spec: AttachSpec,
    /// Its connection, closed by the shim when the session ends. Nothing else may keep it open.
    pub socket: OwnedFd,
}

/// A client's session in a shim. It goes on when this is dropped.
#[derive(Debug)]
pub struct Session(oneshot::Receiver<AttachEnd>);

impl Session {
    /// Waits for the session to end; [`AttachEnd::ClientGone`] also stands for a lost shim.
    pub async fn ended(self) -> AttachEnd {
        self.0.await.unwrap_or(AttachEnd::ClientGone)
    }

    /// A session, its number, and what resolves it.
    pub(crate) fn new() -> (Self, oneshot::Sender<AttachEnd>) {
        let (end, ended) = oneshot::channel();
        (Self(ended), end)
    }
}

/// A container that was started.
#[derive(Debug)]
pub struct ContainerStarted {
    /// The init process, in the host's PID namespace.
    pub pid: i32,
    /// When it was started.
    pub at: Timestamp,
    /// The sessions of the clients, in their order.
    pub sessions: Vec<Session>,
}

/// Clients made ready to be handed over.
#[derive(Debug, Default)]
pub(crate) struct HandOver {
    pub(crate) specs: Vec<SessionSpec>,
    pub(crate) descriptors: Vec<OwnedFd>,
    pub(crate) ends: Vec<(u64, oneshot::Sender<AttachEnd>)>,
    pub(crate) sessions: Vec<Session>,
}

impl HandOver {
    pub(crate) fn new(link: &Link, clients: Vec<Client>) -> Self {
        let mut hand_over = Self::default();
        for client in clients {
            let number = link.session_number();
            let (session, end) = Session::new();
            hand_over.specs.push((number, client.spec));
            hand_over.descriptors.push(client.socket);
            hand_over.ends.push((number, end));
            hand_over.sessions.push(session);
        }
        hand_over
    }
}

impl Runtime {
    /// Starts a container: a shim, and its init process. `clients` are attached from the first byte
    /// on. When it fails nothing is left of it, and the clients' connections are closed.
    ///
    /// # Errors
    /// [`Error::Running`]; [`Error::Refused`] with the text and exit code of the runtime;
    /// [`Error::Spawn`], [`Error::File`]; [`Error::Deadline`] after two minutes.
    pub async fn start(
        &self,
        id: &ContainerId,
        spec: RunSpec,
        clients: Vec<Client>,
    ) -> Result<ContainerStarted, Error> {
        if self.shim(id).is_ok() {
            return Err(Error::Running(id.clone()));
        }
        let directory = self.directory(id);
        let (socket, child) = {
            let (directory, program) = (directory.clone(), self.inner.config.shim.clone());
            let id = id.clone();
            blocking(move || spawn(&directory, &program, &id)).await?
        };
        let link = self.link(id, socket, Some(child))?;
        match self.bring_up(id, &link, spec, clients).await {
            Ok(started) => Ok(started),
            Err(error) => {
                self.forget(id);
                Err(self.after_failed_start(id, directory, error).await)
            }
        }
    }

    async fn bring_up(
        &self,
        id: &ContainerId,
        link: &Link,
        spec: RunSpec,
        clients: Vec<Client>,
    ) -> Result<ContainerStarted, Error> {
        let hand_over = HandOver::new(link, clients);
        let run = RunRequest {
            id: id.clone(),
            spec,
            attach: hand_over.specs,
        };
        let outgoing = Outgoing {
            request: Request::Run(Box::new(run)),
            descriptors: hand_over.descriptors,
            sessions: hand_over.ends,
        };
        let (hello, run) = tokio::join!(
            link.ask("hello", HELLO.max(START), Request::Hello(our_hello())),
            link.ask("run", START, outgoing),
        );
        hello?;
        match run? {
            Response::Started(Started { pid, at }) => {
                // Either this or the watch sees both facts, and acts on them.
                let broken = self.amend(id, |shim| {
                    shim.init = Some(pid);
                    shim.broken
                });
                if broken == Some(true) {
                    return Err(Error::ShimLost {
                        id: id.clone(),
                        reason: "the connection closed".to_owned(),
                    });
                }
                Ok(ContainerStarted {
                    pid,
                    at,
                    sessions: hand_over.sessions,
                })
            }
            _ => Err(Error::Answer {
                id: id.clone(),
                what: "run",
            }),
        }
    }

    /// Takes back what a failed start has left, and makes the error say what the shim said last.
    async fn after_failed_start(
        &self,
        id: &ContainerId,
        directory: Directory,
        error: Error,
    ) -> Error {
        let program = self.inner.config.shim.clone();
        let refused = matches!(error, Error::Refused(_));
        let cleaned = blocking(move || {
            let words = directory.last_words();
            if !refused {
                lost::clean_up(&program, &directory)?;
            }
            directory.remove()?;
            Ok(words)
        })
        .await;
        match (error, cleaned) {
            (Error::ShimLost { id, .. }, Ok(Some(reason))) => Error::ShimLost { id, reason },
            (error, Ok(_)) => error,
            (error, Err(cause)) => {
                tracing::warn!(container.id = %id, %cause, "failed start not cleaned up");
                error
            }
        }
    }

    /// Takes over a connection: from now on its events are told.
    pub(crate) fn link(
        &self,
        id: &ContainerId,
        socket: OwnedFd,
        child: Option<tokio::process::Child>,
    ) -> Result<Link, Error> {
        let directory = self.directory(id);
        let (link, events, task) =
            Link::new(id.clone(), socket).map_err(Error::file("connect to", directory.path()))?;
        let closing = self.inner.closing.clone();
        self.inner
            .tasks
            .spawn(async move { closing.run_until_cancelled(task).await });
        let shim = Shim {
            link: link.clone(),
            init: None,
            broken: false,
            cgroups: None,
        };
        self.know(id, shim);
        let watch = Watch {
            runtime: self.clone(),
            id: id.clone(),
            link: link.clone(),
            child,
        };
        let closing = self.inner.closing.clone();
        self.inner
            .tasks
            .spawn(async move { closing.run_until_cancelled(watch.run(events)).await });
        Ok(link)
    }
}

/// What this build says of itself.
pub(crate) fn our_hello() -> Hello {
    Hello {
        version: arca_shim_proto::VERSION,
        oldest: arca_shim_proto::OLDEST,
    }
}

/// Executes the shim, with one end of a socket pair as its standard input.
fn spawn(
    directory: &Directory,
    program: &std::path::Path,
    id: &ContainerId,
) -> Result<(OwnedFd, tokio::process::Child), Error> {
    directory.create()?;
    let spawned = spawn_in(directory, program, id);
    if spawned.is_err() {
        directory.remove()?;
    }
    spawned
}

fn spawn_in(
    directory: &Directory,
    program: &std::path::Path,
    id: &ContainerId,
) -> Result<(OwnedFd, tokio::process::Child), Error> {
    let failed = |cause| Error::Spawn {
        program: program.to_owned(),
        cause,
    };
    let (ours, theirs) = UnixStream::pair().map_err(failed)?;
    let child = tokio::process::Command::new(program)
        .arg("serve")
        .arg(directory.path())
        .arg(id.as_str())
        .env_clear()
        .env(
            "PATH",
            "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        )
        .current_dir(directory.path())
        .stdin(ChildStdio::from(OwnedFd::from(theirs)))
        .stdout(ChildStdio::null())
        .stderr(ChildStdio::from(directory.open_shim_log()?))
        .kill_on_drop(false)
        .spawn()
        .map_err(failed)?;
    Ok((ours.into(), child))
}

/// Reads the events of one shim until its connection closes; then finds out how it ended.
struct Watch {
    runtime: Runtime,
    id: ContainerId,
    link: Link,
    child: Option<tokio::process::Child>,
}

impl Watch {
    async fn run(mut self, mut events: mpsc::Receiver<ShimEvent>) {
        let mut exited = false;
        while let Some(event) = events.recv().await {
            let mut seen = Seen::default();
            let what = match event {
                ShimEvent::Exited(status) => {
                    exited = true;
                    Happening::Exited(status)
                }
                ShimEvent::Oom => Happening::Oom,
                ShimEvent::ExecExited(exit) => {
                    seen = Seen::exec(self.link.clone(), exit.exec.clone());
                    Happening::ExecExited(exit)
                }
                ShimEvent::AttachEnded { .. } => continue,
            };
            self.tell(what, seen).await;
        }
        if !exited {
            let started = self.runtime.amend(&self.id, |shim| {
                shim.broken = true;
                shim.init.is_some()
            });
            if started == Some(true) {
                self.find_end().await;
            }
        }
        // A shim lingers until the last attached client has all its output; it is reaped then.
        if let Some(child) = &mut self.child {
            match child.wait().await {
                Ok(status) => tracing::debug!(container.id = %self.id, %status, "shim ended"),
                Err(error) => tracing::warn!(container.id = %self.id, %error, "cannot reap a shim"),
            }
        }
    }

    /// The connection closed without a word about the container's end.
    async fn find_end(&mut self) {
        self.runtime.forget(&self.id);
        let what = match self.left_exit().await {
            Some(status) => Happening::Exited(status),
            None => {
                let reason = self.reason().await;
                let (program, directory) = (
                    self.runtime.inner.config.shim.clone(),
                    self.runtime.directory(&self.id),
                );
                let status = blocking(move || lost::clean_up(&program, &directory)).await;
                let status = status.unwrap_or_else(|error| {
                    tracing::error!(container.id = %self.id, error = %arca_types::chain(&error),
                        "what a lost shim has left is not cleaned up");
                    lost::killed()
                });
                Happening::ShimLost { reason, status }
            }
        };
        self.tell(what, Seen::default()).await;
    }

    async fn left_exit(&self) -> Option<ExitStatus> {
        let directory = self.runtime.directory(&self.id);
        let record = blocking(move || directory.exit()).await.ok()??;
        Some(record.status)
    }

    async fn reason(&mut self) -> String {
        let Some(child) = &mut self.child else {
            return "its process is gone".to_owned();
        };
        match tokio::time::timeout(HELLO, child.wait()).await {
            Ok(Ok(status)) => format!("its process ended: {status}"),
            Ok(Err(error)) => format!("its process cannot be waited for: {error}"),
            Err(_elapsed) => "its connection closed".to_owned(),
        }
    }

    async fn tell(&self, what: Happening, seen: Seen) {
        let event = Event {
            id: self.id.clone(),
            what,
            seen,
        };
        self.runtime.inner.subscribers.tell(event).await;
    }
}

impl Runtime {
    /// The container's cgroups, asked of the shim once.
    pub(crate) async fn cgroups(
        &self,
        id: &ContainerId,
    ) -> Result<(i32, Arc<arca_shim_proto::CgroupPaths>), Error> {
        let shim = self.shim(id)?;
        let pid = shim.init.ok_or_else(|| Error::NotRunning(id.clone()))?;
        if let Some(cgroups) = shim.cgroups {
            return Ok((pid, cgroups));
        }
        match shim.link.ask("state", HELLO, Request::State).await? {
            Response::State(state) => {
                let cgroups = Arc::new(state.cgroups);
                self.amend(id, |shim| shim.cgroups = Some(Arc::clone(&cgroups)));
                Ok((pid, cgroups))
            }
            _ => Err(Error::Answer {
                id: id.clone(),
                what: "state",
            }),
        }
    }
}
