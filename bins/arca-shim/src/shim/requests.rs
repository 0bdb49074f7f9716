//! What arcad asks for.

use std::os::fd::OwnedFd;

use arca_executor::ExecError;
use arca_shim_proto::{
    AttachRequest, Failure, FailureKind, Frame, Hello, KillRequest, OLDEST, Phase, Request,
    ResizeRequest, Response, State, UpdateRequest, VERSION,
};
use arca_types::ExecId;

use super::{INIT, Shim};
use crate::client::Owner;
use crate::container;

type Answer = Result<(), Failure>;

impl Shim {
    /// Does what a request asks for; `None` when the answer comes later.
    pub(super) fn answer(
        &mut self,
        connection: u32,
        frame: &Frame,
        descriptors: Vec<OwnedFd>,
    ) -> Option<Response> {
        let request = match Self::request(frame) {
            Ok(request) => request,
            Err(text) => {
                return Some(Response::Failed(Failure::new(
                    FailureKind::Unsupported,
                    text,
                )));
            }
        };
        let done = match request {
            Request::Hello(hello) => return self.hello(connection, frame.number, hello),
            Request::State => return Some(Response::State(Box::new(self.state()))),
            Request::Run(run) => match self.run(connection, frame.number, *run, descriptors) {
                Ok(()) => return None,
                Err(failure) => Err(failure),
            },
            Request::Exec(exec) => match self.exec(connection, frame.number, *exec, descriptors) {
                Ok(()) => return None,
                Err(failure) => Err(failure),
            },
            Request::Attach(attach) => self.attach(connection, attach, descriptors),
            Request::Kill(kill) => self.kill(&kill),
            Request::Pause => self.pause(),
            Request::Resume => self.resume(),
            Request::Resize(resize) => self.resize(&resize),
            Request::Update(update) => self.update(&update),
            Request::ExecSeen(exec) => {
                self.exec_seen(&exec);
                Ok(())
            }
        };
        Some(match done {
            Ok(()) => Response::Done,
            Err(failure) => Response::Failed(failure),
        })
    }

    /// The answer waits while the container is being started: it is about a container that runs, or
    /// does not.
    fn hello(&mut self, connection: u32, number: u64, hello: Hello) -> Option<Response> {
        if hello.oldest > VERSION || hello.version < OLDEST {
            let text = format!(
                "shim of protocol {OLDEST} to {VERSION}, not {}",
                hello.version
            );
            return Some(Response::Failed(Failure::new(
                FailureKind::Unsupported,
                text,
            )));
        }
        self.listen_to(connection);
        if self.phase == Phase::New {
            self.greetings.push((connection, number));
            return None;
        }
        Some(Response::State(Box::new(self.state())))
    }

    /// Answers the greetings that came while the container was being started.
    pub(super) fn answer_greetings(&mut self) {
        for (connection, number) in std::mem::take(&mut self.greetings) {
            let state = Response::State(Box::new(self.state()));
            self.respond(connection, number, &state);
        }
    }

    fn state(&self) -> State {
        let running = |(exec, number): (&ExecId, &u32)| {
            let started = self.processes.get(number)?.started?;
            Some((exec.clone(), started.pid))
        };
        State {
            hello: Hello {
                version: VERSION,
                oldest: OLDEST,
            },
            shim_pid: self.record.shim_pid,
            phase: self.phase,
            execs: self.execs.iter().filter_map(running).collect(),
            ended_execs: self.ended_execs.iter().cloned().collect(),
            oom_killed: self.oom_killed,
            cgroups: self.record.cgroups.clone(),
        }
    }

    /// The number of the process that a request is about, if it runs.
    pub(super) fn find(&self, exec: Option<&ExecId>) -> Result<u32, Failure> {
        match exec {
            None if matches!(self.phase, Phase::Running(_) | Phase::Paused(_)) => Ok(INIT),
            None => Err(self.not_running()),
            Some(exec) => self.execs.get(exec).copied().ok_or_else(|| {
                let text = format!("No such exec instance: {exec}");
                Failure::new(FailureKind::NotFound, text)
            }),
        }
    }

    pub(super) fn not_running(&self) -> Failure {
        let text = format!("container {} is not running", self.id);
        Failure::new(FailureKind::Conflict, text)
    }

    fn attach(
        &mut self,
        connection: u32,
        request: AttachRequest,
        mut descriptors: Vec<OwnedFd>,
    ) -> Answer {
        let number = self.find(request.exec.as_ref())?;
        let Some(socket) = descriptors.pop() else {
            let text = "a client came without its connection";
            return Err(Failure::new(FailureKind::InvalidConfig, text));
        };
        let owner = Owner {
            connection,
            session: request.session,
        };
        let client = self.add_client(number, request.attach, socket, owner);
        self.open_session(client);
        Ok(())
    }

    fn kill(&mut self, request: &KillRequest) -> Answer {
        let number = self.find(request.exec.as_ref())?;
        let process = self
            .processes
            .get(&number)
            .ok_or_else(|| self.not_running())?;
        match process.kill(request.signal.number()) {
            Ok(true) => Ok(()),
            Ok(false) => Err(self.not_running()),
            Err(error) => Err(internal("failed to send a signal", &error)),
        }
    }

    fn resize(&mut self, request: &ResizeRequest) -> Answer {
        let number = self.find(request.exec.as_ref())?;
        let Some(process) = self.processes.get_mut(&number) else {
            return Err(self.not_running());
        };
        match process.resize(request.size) {
            Ok(true) => Ok(()),
            Ok(false) => {
                let text = "cannot resize a process that has no terminal";
                Err(Failure::new(FailureKind::InvalidConfig, text))
            }
            Err(error) => Err(internal("failed to resize the terminal", &error)),
        }
    }

    fn pause(&mut self) -> Answer {
        match self.phase {
            Phase::Running(started) => {
                arca_executor::pause(&self.container()).map_err(refused)?;
                self.phase = Phase::Paused(started);
                Ok(())
            }
            Phase::Paused(_) => {
                let text = format!("container {} is already paused", self.id);
                Err(Failure::new(FailureKind::Conflict, text))
            }
            Phase::New | Phase::Ended(_) => Err(self.not_running()),
        }
    }

    fn resume(&mut self) -> Answer {
        match self.phase {
            Phase::Paused(started) => {
                arca_executor::resume(&self.container()).map_err(refused)?;
                self.phase = Phase::Running(started);
                Ok(())
            }
            Phase::New | Phase::Running(_) | Phase::Ended(_) => {
                let text = format!("container {} is not paused", self.id);
                Err(Failure::new(FailureKind::Conflict, text))
            }
        }
    }

    fn update(&mut self, request: &UpdateRequest) -> Answer {
        if !matches!(self.phase, Phase::Running(_) | Phase::Paused(_)) {
            return Err(self.not_running());
        }
        let resources = serde_json::from_str(request.resources.get()).map_err(|error| {
            let text = format!("failed to understand the limits: {error}");
            Failure::new(FailureKind::InvalidConfig, text)
        })?;
        arca_executor::update(&self.container(), &resources).map_err(refused)
    }

    pub(super) fn container(&self) -> arca_executor::Container {
        container::of(
            self.id.as_str(),
            self.directory.path(),
            self.runtime.clone(),
        )
    }
}

/// A failure of the system.
pub(super) fn internal(what: &str, error: &dyn std::error::Error) -> Failure {
    Failure::new(
        FailureKind::Internal,
        format!("{what}: {}", arca_types::chain(error)),
    )
}

/// A failure of the executor.
pub(super) fn refused(error: ExecError) -> Failure {
    let kind = match error.kind {
        arca_executor::FailureKind::NotFound => FailureKind::CommandNotFound,
        arca_executor::FailureKind::PermissionDenied => FailureKind::CommandNotExecutable,
        arca_executor::FailureKind::Other => FailureKind::Internal,
    };
    Failure::new(kind, error.message)
}
