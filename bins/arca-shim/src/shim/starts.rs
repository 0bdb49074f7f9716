//! Starting the init process and execs, through helpers.

use std::os::fd::OwnedFd;

use arca_executor::ExecError;
use arca_logging::Writer;
use arca_shim_proto::{
    Channel, EXIT_FILE, ExecRequest, ExitRecord, ExitStatus, Failure, FailureKind, Phase, RUN_FILE,
    Response, RunRequest, STATE_FILE, SessionSpec, Started, start_time,
};
use arca_types::{Clock, ExecId, SystemClock};

use super::requests::{internal, refused};
use super::{INIT, Shim, complain};
use crate::client::Owner;
use crate::container;
use crate::helper::{self, Job, Outcome};
use crate::oom::OomWatch;
use crate::poller::{READ, Token};
use crate::process::{Process, Wanted};

/// A process that a helper is about to start.
pub(super) struct Starting {
    channel: Channel,
    /// Who waits for it.
    connection: u32,
    request: u64,
    stdin: bool,
}

impl Shim {
    /// Begins to start the container; it is answered when the helper is done.
    pub(super) fn run(
        &mut self,
        connection: u32,
        request: u64,
        run: RunRequest,
        descriptors: Vec<OwnedFd>,
    ) -> Result<(), Failure> {
        if self.used {
            let text = format!("container {} is running already", self.id);
            return Err(Failure::new(FailureKind::Conflict, text));
        }
        self.used = true;
        let outcome = self.prepare(connection, request, run, descriptors);
        if outcome.is_err() {
            self.answer_greetings();
        }
        outcome
    }

    fn prepare(
        &mut self,
        connection: u32,
        request: u64,
        run: RunRequest,
        descriptors: Vec<OwnedFd>,
    ) -> Result<(), Failure> {
        let spec = run.spec;
        self.directory
            .write(RUN_FILE, &spec)
            .map_err(|error| internal("failed to write the shim's files", &error))?;
        self.log = Some(Writer::open(&spec.log).map_err(|error| match error {
            arca_logging::Error::File { .. } => {
                internal("failed to initialize logging driver", &error)
            }
            error => Failure::new(FailureKind::InvalidConfig, error.to_string()),
        })?);
        self.deliver(&spec.log);
        self.runtime = spec.runtime.clone();
        self.record.runtime = spec.runtime.clone();
        let stdio = spec.stdio.clone();
        let wanted = Wanted {
            tty: stdio.tty,
            stdin: stdio.open_stdin,
            stdout: true,
            stderr: true,
        };
        let job = Job::Run {
            id: self.id.to_string(),
            directory: self.directory.path().to_owned(),
            spec: Box::new(spec),
        };
        let (process, streams) = Process::new(None, wanted, stdio.stdin_once)
            .map_err(|error| internal("failed to make standard streams", &error))?;
        self.processes.insert(INIT, process);
        self.add_clients(INIT, connection, run.attach, descriptors);
        self.launch(INIT, &job, streams, (connection, request, wanted.stdin))
    }

    /// Begins to start an exec; it is answered when the helper is done.
    pub(super) fn exec(
        &mut self,
        connection: u32,
        request: u64,
        exec: ExecRequest,
        descriptors: Vec<OwnedFd>,
    ) -> Result<(), Failure> {
        self.find(None)?;
        if self.execs.contains_key(&exec.exec) {
            let text = format!("exec {} is running already", exec.exec);
            return Err(Failure::new(FailureKind::Conflict, text));
        }
        let spec = exec.spec;
        let wanted = Wanted {
            tty: spec.tty,
            stdin: spec.open_stdin,
            stdout: spec.open_stdout,
            stderr: spec.open_stderr,
        };
        let (process, streams) = Process::new(Some(exec.exec.clone()), wanted, true)
            .map_err(|error| internal("failed to make standard streams", &error))?;
        let number = self.number();
        self.processes.insert(number, process);
        self.execs.insert(exec.exec, number);
        let sessions = exec.attach.into_iter().collect();
        self.add_clients(number, connection, sessions, descriptors);
        let job = Job::Exec {
            id: self.id.to_string(),
            directory: self.directory.path().to_owned(),
            runtime: self.runtime.clone(),
            process: spec.process,
            tty: spec.tty,
            console: spec.console,
        };
        self.launch(number, &job, streams, (connection, request, wanted.stdin))
    }

    /// Hands a job to a helper. When that fails the process is forgotten.
    fn launch(
        &mut self,
        number: u32,
        job: &Job,
        streams: Vec<OwnedFd>,
        (connection, request, stdin): (u32, u64, bool),
    ) -> Result<(), Failure> {
        let started = helper::start(&self.program, job, streams).and_then(|channel| {
            self.poller.add(&channel, Token::Helper(number), READ)?;
            Ok(channel)
        });
        match started {
            Ok(channel) => {
                let starting = Starting {
                    channel,
                    connection,
                    request,
                    stdin,
                };
                self.starting.insert(number, starting);
                Ok(())
            }
            Err(error) => {
                self.drop_process(number);
                Err(Failure::new(FailureKind::Internal, format!("{error:#}")))
            }
        }
    }

    fn add_clients(
        &mut self,
        number: u32,
        connection: u32,
        sessions: Vec<SessionSpec>,
        descriptors: Vec<OwnedFd>,
    ) {
        for ((session, spec), socket) in sessions.into_iter().zip(descriptors) {
            let owner = Owner {
                connection,
                session,
            };
            self.add_client(number, spec, socket, owner);
        }
    }

    /// A helper has answered, or is gone.
    pub(super) fn helper_answers(&mut self, number: u32) {
        let Some(starting) = self.starting.get_mut(&number) else {
            return;
        };
        let outcome = match read_outcome(&mut starting.channel) {
            Ok(None) => return,
            Ok(Some(outcome)) => outcome,
            Err(message) => Err(ExecError {
                kind: arca_executor::FailureKind::Other,
                message,
            }),
        };
        let Some(starting) = self.starting.remove(&number) else {
            return;
        };
        self.poller.remove(&starting.channel);
        let response = match outcome {
            Ok(pid) => self.started(number, pid, starting.stdin),
            Err(error) => Err(refused(error)),
        };
        let response = match response {
            Ok(started) => Response::Started(started),
            Err(failure) => Response::Failed(self.not_started(number, failure)),
        };
        self.respond(starting.connection, starting.request, &response);
        if number == INIT {
            self.answer_greetings();
        }
        // Only now: the start is told before the end.
        self.claim(number);
        if self.starting.is_empty() {
            self.unclaimed.clear();
        }
    }

    /// A process runs: its output is read from now on.
    fn started(&mut self, number: u32, pid: i32, stdin: bool) -> Result<Started, Failure> {
        let started = Started {
            pid,
            at: SystemClock.now(),
        };
        let process = self
            .processes
            .get_mut(&number)
            .ok_or_else(|| Failure::new(FailureKind::Internal, "the process was forgotten"))?;
        process
            .start(started, stdin)
            .map_err(|error| internal("failed to take over the process", &error))?;
        if number == INIT {
            self.phase = Phase::Running(started);
            self.note_init(started);
        }
        self.open_streams(number);
        let clients: Vec<u32> = self.clients_of(number).collect();
        for client in clients {
            self.open_session(client);
        }
        Ok(started)
    }

    /// Writes down who the init process is, and watches its memory.
    fn note_init(&mut self, started: Started) {
        self.record.init = Some(started);
        self.record.init_started = start_time(started.pid).unwrap_or_default();
        match container::cgroups(&self.container()) {
            Ok(cgroups) => self.record.cgroups = cgroups,
            Err(error) => complain("the container's cgroups are not known", &error),
        }
        if let Err(error) = self.directory.write(STATE_FILE, &self.record) {
            complain("the shim's state cannot be written", &error);
        }
        let watch = OomWatch::new(&self.record.cgroups).and_then(|watch| {
            if let Some(watch) = &watch {
                self.poller.add(watch, Token::Oom, READ)?;
            }
            Ok(watch)
        });
        match watch {
            Ok(watch) => self.oom = watch,
            Err(error) => complain("want of memory will not be noticed", &error),
        }
    }

    /// A process could not be started: nothing of it is left. Returns what to say.
    fn not_started(&mut self, number: u32, failure: Failure) -> Failure {
        self.drop_process(number);
        if number != INIT {
            return failure;
        }
        // For an arcad that is not there now.
        let code = match failure.kind {
            FailureKind::CommandNotFound | FailureKind::BadMount => 127,
            FailureKind::CommandNotExecutable => 126,
            _ => 128,
        };
        let record = ExitRecord {
            status: ExitStatus {
                code,
                signal: None,
                oom_killed: false,
                at: SystemClock.now(),
            },
            execs: Vec::new(),
        };
        if let Err(error) = self.directory.write(EXIT_FILE, &record) {
            complain("the exit status cannot be written", &error);
        }
        let message = format!("failed to create shim task: {}", failure.message);
        Failure::new(failure.kind, message)
    }

    /// Forgets a process that never ran, with its clients.
    fn drop_process(&mut self, number: u32) {
        if let Some(exec) = self
            .processes
            .remove(&number)
            .and_then(|process| process.exec)
        {
            self.forget_exec(&exec);
        }
        let clients: Vec<u32> = self.clients_of(number).collect();
        for client in clients {
            self.clients.remove(&client);
        }
    }

    fn forget_exec(&mut self, exec: &ExecId) {
        self.execs.remove(exec);
    }
}

/// Reads a helper's answer; an error is its text.
fn read_outcome(channel: &mut Channel) -> Result<Option<Outcome>, String> {
    channel.fill().map_err(|error| arca_types::chain(&error))?;
    match channel.next_frame() {
        Ok(Some((frame, _))) => frame
            .decode()
            .map(Some)
            .map_err(|error| arca_types::chain(&error)),
        Ok(None) if channel.is_closed() => Err("the helper died without an answer".to_owned()),
        Ok(None) => Ok(None),
        Err(error) => Err(arca_types::chain(&error)),
    }
}
