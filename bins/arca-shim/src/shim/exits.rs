//! The end of processes, and of the container.

use std::io::Read;
use std::time::{Duration, Instant};

use arca_shim_proto::{AttachEnd, EXIT_FILE, Event, ExecExit, ExitRecord, ExitStatus, Phase};
use arca_types::{Clock, ExecId, SystemClock};
use rustix::process::{WaitOptions, WaitStatus, wait};

use super::{INIT, Shim, complain};

/// How long output is waited for that others than the process hold open, as in dockerd.
const GRACE: Duration = Duration::from_secs(2);

/// How long the clients of an exec wait for arcad to take note of its end.
const SEEN: Duration = Duration::from_millis(500);

/// Of how many execs the end is remembered.
const REMEMBERED: usize = 64;

impl Shim {
    /// Takes note of all children that have ended.
    pub(super) fn reap(&mut self) {
        let mut bytes = [0; 256];
        while (&self.children)
            .read(&mut bytes)
            .is_ok_and(|count| count > 0)
        {}
        while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
            self.reaped(pid.as_raw_nonzero().get(), status);
        }
    }

    fn reaped(&mut self, pid: i32, status: WaitStatus) {
        if self.compressing == Some(pid) {
            self.compressing = None;
            if let Some(log) = &mut self.log
                && let Err(error) = log.compression_done(status.exit_status() == Some(0))
            {
                complain("a rotated log cannot be compressed", &error);
            }
            self.compress_log();
            return;
        }
        if self.delivery_ended(pid) {
            return;
        }
        let is_it = |process: &crate::process::Process| {
            process.status.is_none() && process.started.is_some_and(|started| started.pid == pid)
        };
        let found = self.processes.iter().find(|(_, process)| is_it(process));
        match found.map(|(number, _)| *number) {
            Some(number) => self.ended(number, status),
            // It may be one whose helper has not answered yet; else it is an orphan.
            None if !self.starting.is_empty() => {
                self.unclaimed.insert(pid, status);
            }
            None => {}
        }
    }

    /// A process was started that may have ended already.
    pub(super) fn claim(&mut self, number: u32) {
        let started = self
            .processes
            .get(&number)
            .and_then(|process| process.started);
        if let Some(started) = started
            && let Some(status) = self.unclaimed.remove(&started.pid)
        {
            self.ended(number, status);
        }
    }

    /// A process has ended: the rest of its output is read, but not waited for long.
    fn ended(&mut self, number: u32, status: WaitStatus) {
        let Some(process) = self.processes.get_mut(&number) else {
            return;
        };
        let signal = status.terminating_signal();
        process.status = Some(ExitStatus {
            code: status
                .exit_status()
                .or(signal.map(|signal| 128 + signal))
                .unwrap_or(255),
            signal,
            oom_killed: false,
            at: SystemClock.now(),
        });
        process.deadline = Some(Instant::now() + GRACE);
        process.pidfd = None;
        process.input.close();
        if number == INIT {
            // Without it nobody else of the container lives on, and nobody holds its output open.
            self.look_at_memory();
            if let Err(error) = arca_executor::delete(&self.container()) {
                complain("the container is not deleted", &error);
            }
        }
        for stream in 0..2 {
            self.pump(number, stream);
        }
        self.finish_if_ended(number);
    }

    /// Tells of a process's end when all its output is read.
    pub(super) fn finish_if_ended(&mut self, number: u32) {
        let Some(process) = self.processes.get_mut(&number) else {
            return;
        };
        let Some(status) = process
            .status
            .filter(|_| !process.finished && process.is_drained())
        else {
            return;
        };
        process.finished = true;
        process.deadline = None;
        match process.exec.clone() {
            Some(exec) => self.finish_exec(number, exec, status),
            None => self.finish_container(status),
        }
    }

    fn finish_container(&mut self, mut status: ExitStatus) {
        status.oom_killed = self.oom_killed;
        self.complete_log();
        self.finish_delivery();
        let record = ExitRecord {
            status,
            execs: self.ended_execs.iter().cloned().collect(),
        };
        if let Err(error) = self.directory.write(EXIT_FILE, &record) {
            complain("the exit status cannot be written", &error);
        }
        self.phase = Phase::Ended(status);
        self.tell(&Event::Exited(status));
        self.end_sessions(INIT);
    }

    fn finish_exec(&mut self, number: u32, exec: ExecId, status: ExitStatus) {
        self.execs.remove(&exec);
        let exit = ExecExit { exec, status };
        if self.ended_execs.len() == REMEMBERED {
            self.ended_execs.pop_front();
        }
        self.ended_execs.push_back(exit.clone());
        self.tell(&Event::ExecExited(exit));
        if self.is_heard() && self.clients_of(number).next().is_some() {
            if let Some(process) = self.processes.get_mut(&number) {
                process.deadline = Some(Instant::now() + SEEN);
            }
        } else {
            self.end_sessions(number);
        }
    }

    /// arcad knows of the end of an exec: its clients may know too.
    pub(super) fn exec_seen(&mut self, exec: &ExecId) {
        let is_it = |process: &crate::process::Process| {
            process.finished && process.exec.as_ref() == Some(exec)
        };
        let found = self.processes.iter().find(|(_, process)| is_it(process));
        if let Some(number) = found.map(|(number, _)| *number) {
            self.end_sessions(number);
        }
    }

    fn end_sessions(&mut self, number: u32) {
        if let Some(process) = self.processes.get_mut(&number) {
            process.deadline = None;
        }
        let clients: Vec<u32> = self.clients_of(number).collect();
        for client in clients {
            self.end_session(client, AttachEnd::Ended);
        }
        self.settle_clients(number);
        self.forget_finished();
    }

    /// Forgets execs that have ended and whose clients have everything.
    pub(super) fn forget_finished(&mut self) {
        let clients = &self.clients;
        self.processes.retain(|number, process| {
            let waited_for = process.deadline.is_some()
                || clients.values().any(|client| client.process == *number);
            process.exec.is_none() || !process.finished || waited_for
        });
    }

    /// Nobody waits any longer: for output that others hold open, or for arcad.
    pub(super) fn deadline_passed(&mut self, number: u32) {
        let Some(process) = self.processes.get_mut(&number) else {
            return;
        };
        process.deadline = None;
        if process.finished {
            self.end_sessions(number);
            return;
        }
        for stream in 0..2 {
            self.close_source(number, stream);
        }
        self.finish_if_ended(number);
    }

    /// Looks whether the kernel has killed something for want of memory.
    pub(super) fn look_at_memory(&mut self) {
        if self.oom.as_mut().is_some_and(crate::oom::OomWatch::look) {
            self.oom_killed = true;
            self.tell(&Event::Oom);
        }
    }
}
