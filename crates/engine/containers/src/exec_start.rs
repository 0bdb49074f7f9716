//! `ExecStart`: runs a further process, with a client or without.

use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use arca_runtime::{AttachEnd, AttachSpec, Client, ConsoleSize, ExecExit, ExecSpec, Session};
use arca_types::ContainerId;

use crate::Error;
use crate::container::Container;
use crate::exec_create::can_exec;
use crate::execs::Exec;
use crate::keys;
use crate::links;
use crate::requests::ExecStartRequest;
use crate::service::Containers;
use crate::spec::{self, oci};
use crate::start::blocking;
use crate::users;

/// How long the news of an exit may take after the client has all output.
const NEWS: Duration = Duration::from_secs(5);

/// A session that may be started, and waits for its client's connection.
#[derive(Debug)]
pub struct ExecSession {
    /// Whether the client takes it for one with a terminal: its output is not framed then.
    pub tty: bool,
    containers: Containers,
    container: Arc<Container>,
    exec: Arc<Exec>,
    size: Option<(u32, u32)>,
}

impl Containers {
    /// Prepares to start a session; what can be refused is refused here (`ExecStart`).
    ///
    /// # Errors
    /// [`Error::NoSuchExec`]; [`Error::Conflict`] when it was started already and nobody attaches: who
    /// does is told on the stream, as by dockerd; [`Error::NotRunning`] and its like when the container
    /// has changed.
    pub fn exec_start(&self, id: &str, request: ExecStartRequest) -> Result<ExecSession, Error> {
        let exec = self.find_exec(id)?;
        if request.detach {
            exec.check_new()?;
        }
        let container = self.get(exec.container.as_str())?;
        can_exec(&container, container.id.as_str())?;
        let size = request.console_size.or(exec.request.console_size);
        Ok(ExecSession {
            tty: request.tty,
            containers: self.clone(),
            container,
            exec,
            size,
        })
    }

    pub(crate) fn find_exec(&self, id: &str) -> Result<Arc<Exec>, Error> {
        self.service()
            .execs
            .get(id)
            .ok_or_else(|| Error::NoSuchExec(id.to_owned()))
    }

    /// A session has ended.
    pub(crate) async fn exec_ended(&self, container: &ContainerId, exit: ExecExit) {
        let service = self.service();
        service.forget_execs(std::slice::from_ref(&exit.exec)).await;
        let Some(exec) = service.execs.get(exit.exec.as_str()) else {
            return;
        };
        if exec.end(exit.status.code, exit.status.at).is_none() {
            return;
        }
        let Some(handle) = service.index.get(container) else {
            return;
        };
        let event = crate::actor::event(&handle.snapshot(), "exec_die")
            .with("execID", exec.id.as_str())
            .with("exitCode", exit.status.code.to_string());
        service.events.publish(event).await;
    }
}

impl ExecSession {
    /// Runs the process without a client; returns when it runs.
    ///
    /// # Errors
    /// [`Error::Runtime`] when it cannot be started.
    pub async fn run_detached(self) -> Result<(), Error> {
        self.run(None).await.map(|_session| ())
    }

    /// Hands the client's connection over, runs the process, and waits for it to end or for the client
    /// to detach. `early` is what the client has sent already.
    ///
    /// # Errors
    /// [`Error::Runtime`] when it cannot be started; the connection is closed then, so that whoever
    /// wants to tell the client keeps a duplicate of it.
    pub async fn connect(self, socket: OwnedFd, early: Vec<u8>) -> Result<(), Error> {
        let request = &self.exec.request;
        let spec = AttachSpec {
            stdin: request.streams.stdin,
            stdout: request.streams.stdout,
            stderr: request.streams.stderr,
            detach_keys: if request.tty {
                keys::parse(request.detach_keys.as_deref())?
            } else {
                Vec::new()
            },
            framed: !self.tty,
            early,
        };
        let Some(session) = self.run(Some(Client { spec, socket })).await? else {
            return Ok(());
        };
        match session.ended().await {
            AttachEnd::Detached => {
                let event = crate::actor::event(&self.container, "exec_detach")
                    .with("execID", self.exec.id.as_str());
                self.containers.service().events.publish(event).await;
            }
            AttachEnd::Ended => {
                if tokio::time::timeout(NEWS, self.exec.ended()).await.is_err() {
                    tracing::warn!(exec.id = %self.exec.id, "no news of the exit");
                }
            }
            AttachEnd::ClientGone => {}
        }
        Ok(())
    }

    /// Starts the process. A client's session is its answer.
    pub(crate) async fn run(&self, client: Option<Client>) -> Result<Option<Session>, Error> {
        let service = self.containers.service();
        let since = service.clock.now();
        if !self.exec.claim(since) {
            return self.exec.check_new().map(|()| None);
        }
        self.containers
            .exec_event(&self.container, &self.exec, "exec_start")
            .await;
        let prepared = match self.spec().await {
            Ok(spec) => service.note_exec(&self.exec, since).await.map(|()| spec),
            Err(error) => Err(error),
        };
        let started = match prepared {
            Ok(spec) => service
                .runtime
                .exec(&self.container.id, &self.exec.id, spec, client)
                .await
                .map_err(Error::Runtime),
            Err(error) => Err(error),
        };
        match started {
            Ok(started) => {
                self.exec.started(started.pid.unsigned_abs(), started.at);
                Ok(started.session)
            }
            Err(error) => {
                let ended = self.exec.end(error.exit_code(), service.clock.now());
                service
                    .forget_execs(std::slice::from_ref(&self.exec.id))
                    .await;
                tracing::debug!(exec.id = %self.exec.id, ?ended, "not started");
                Err(error)
            }
        }
    }

    async fn spec(&self) -> Result<ExecSpec, Error> {
        let request = Arc::clone(&self.exec.request);
        let container = Arc::clone(&self.container);
        let pid = container.state.process().map_or(0, |process| process.pid);
        let account = blocking({
            let (request, container) = (Arc::clone(&request), Arc::clone(&container));
            move || {
                let path = format!("/proc/{pid}/root");
                let gone = |_error| Error::NotRunning(container.id.to_string());
                let root = std::fs::File::open(path).map_err(gone)?;
                let own = &container.spec;
                if request.user.is_empty() {
                    let groups = own.host.group_add.as_deref().unwrap_or_default();
                    users::resolve(root.as_fd(), &own.user, groups)
                } else {
                    users::resolve(root.as_fd(), &request.user, &[])
                }
            }
        })
        .await?;
        let size = |value: u32| u16::try_from(value).unwrap_or(u16::MAX);
        let console = self
            .size
            .filter(|size| *size != (0, 0))
            .map(|(rows, columns)| ConsoleSize {
                width: size(columns),
                height: size(rows),
            });
        let mut process = self.process(&account)?;
        let service = self.containers.service();
        process.apparmor_profile = service.apparmor_profile(&container.spec).await?;
        Ok(ExecSpec {
            process: serde_json::value::to_raw_value(&process)
                .map_err(|error| Error::Failed(format!("cannot write the process: {error}")))?,
            tty: request.tty,
            open_stdin: request.streams.stdin,
            open_stdout: request.streams.stdout,
            open_stderr: request.streams.stderr,
            console,
        })
    }

    fn process(&self, account: &users::Account) -> Result<oci::Process, Error> {
        let service = self.containers.service();
        let (request, own) = (&self.exec.request, &self.container.spec);
        let capabilities = spec::capability_set(own, &service.facts, request.privileged)?;
        let options = spec::security::parse(own.host.security_opt.as_deref().unwrap_or_default())?;
        let mut env = spec::environment(own, self.container.hostname(), request.tty);
        spec::override_with(&mut env, &request.env);
        // A container that has ended since does not keep others from looking into this one.
        let linked = service.linked(&self.container).unwrap_or_default();
        links::add_environment(&mut env, &self.container.name, &linked);
        spec::add_home(&mut env, &account.home);
        let mut words = request.cmd.clone();
        let path = if words.is_empty() {
            String::new()
        } else {
            words.remove(0)
        };
        let mut process = spec::process(&spec::ProcessInput {
            spec: own,
            command: (&path, &words),
            hostname: self.container.hostname(),
            account,
            capabilities: &capabilities,
            init: false,
            rlimits: spec::resources::rlimits(
                own.host.resources.ulimits.as_deref(),
                &service.config().ulimits,
            ),
            no_new_privileges: options
                .no_new_privileges
                .unwrap_or(service.config().no_new_privileges),
        });
        process.env = env;
        process.terminal = request.tty;
        process.console_size = None;
        if !request.working_dir.is_empty() {
            process.cwd.clone_from(&request.working_dir);
        }
        Ok(process)
    }
}
