//! The shim's state, and what is done when something is ready.

mod connections;
mod deliveries;
mod exits;
mod requests;
mod sessions;
mod starts;
mod streams;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use arca_logging::Writer;
use arca_shim_proto::{ExecExit, LogSpec, Phase, RuntimeKind, StateRecord};
use arca_types::{ContainerId, ExecId};

use self::connections::Connection;
use self::starts::Starting;
use crate::client::Client;
use crate::delivery::Delivery;
use crate::directory::Directory;
use crate::oom::OomWatch;
use crate::poller::{Poller, Ready, Token};
use crate::process::Process;

/// The number of the init process among the processes.
const INIT: u32 = 0;

/// One container and all who have to do with it.
pub(crate) struct Shim {
    id: ContainerId,
    directory: Directory,
    record: StateRecord,
    runtime: RuntimeKind,
    /// This program, in a way that lets no container write to it.
    program: OwnedFd,
    poller: Poller,
    listener: UnixListener,
    children: UnixStream,
    connections: BTreeMap<u32, Connection>,
    /// Greetings that are answered when the container has been started.
    greetings: Vec<(u32, u64)>,
    phase: Phase,
    processes: BTreeMap<u32, Process>,
    /// The processes of execs that have not ended.
    execs: HashMap<ExecId, u32>,
    ended_execs: VecDeque<ExecExit>,
    clients: BTreeMap<u32, Client>,
    starting: BTreeMap<u32, Starting>,
    /// Children that ended and that nobody has claimed yet, while helpers are at work.
    unclaimed: HashMap<i32, rustix::process::WaitStatus>,
    log: Option<Writer>,
    /// The process that compresses a log file.
    compressing: Option<i32>,
    /// The process that sends the log to somebody else.
    delivery: Option<Delivery>,
    /// When to start it again, and what.
    delivery_due: Option<(Instant, LogSpec)>,
    oom: Option<OomWatch>,
    oom_killed: bool,
    /// Something was to be run; it may have failed.
    used: bool,
    next_number: u32,
    scratch: Vec<u8>,
    /// Memory was used that can be given back.
    warm: bool,
}

impl Shim {
    pub(crate) fn new(
        record: StateRecord,
        directory: Directory,
        (program, poller): (OwnedFd, Poller),
        (listener, children): (UnixListener, UnixStream),
    ) -> Self {
        Self {
            id: record.id.clone(),
            directory,
            program,
            record,
            runtime: RuntimeKind::default(),
            poller,
            listener,
            children,
            connections: BTreeMap::new(),
            greetings: Vec::new(),
            phase: Phase::New,
            processes: BTreeMap::new(),
            execs: HashMap::new(),
            ended_execs: VecDeque::new(),
            clients: BTreeMap::new(),
            starting: BTreeMap::new(),
            unclaimed: HashMap::new(),
            log: None,
            compressing: None,
            delivery: None,
            delivery_due: None,
            oom: None,
            oom_killed: false,
            used: false,
            next_number: INIT + 1,
            scratch: Vec::new(),
            warm: true,
        }
    }

    /// Has the container ended, and has everybody who was to hear of it heard?
    pub(crate) fn is_done(&self) -> bool {
        match self.phase {
            Phase::Running(_) | Phase::Paused(_) => false,
            // Nothing was run: it is over when it failed, or when nobody can ask for it any more.
            Phase::New => {
                self.starting.is_empty()
                    && (self.used || self.connections.is_empty())
                    && self.is_told()
            }
            Phase::Ended(_) => {
                self.clients.is_empty()
                    && self.starting.is_empty()
                    && self.compressing.is_none()
                    && self.is_told()
            }
        }
    }

    fn is_told(&self) -> bool {
        self.connections.values().all(Connection::is_flushed)
    }

    /// Waits for something to happen.
    pub(crate) fn wait(
        &mut self,
        timeout: Option<Duration>,
        ready: &mut Vec<Ready>,
    ) -> std::io::Result<()> {
        self.poller.wait(timeout, ready)
    }

    /// The time until the next timer.
    pub(crate) fn timeout(&self) -> Option<Duration> {
        let next = self
            .processes
            .values()
            .filter_map(|process| process.deadline)
            .chain(self.delivery_due.as_ref().map(|(due, _)| *due))
            .min();
        next.map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }

    /// Is there memory to give back?
    pub(crate) fn is_warm(&self) -> bool {
        self.warm
    }

    /// Gives back memory that a burst has left.
    pub(crate) fn cool_down(&mut self) {
        self.scratch = Vec::new();
        if let Some(log) = &mut self.log {
            log.release_memory();
        }
        self.warm = false;
        arca_sys::memory::give_back();
    }

    pub(crate) fn dispatch(&mut self, ready: Ready) {
        match ready.token {
            Token::Children => self.reap(),
            Token::Listener => self.accept_all(),
            Token::Connection(number) => self.serve_connection(number),
            Token::Helper(number) => self.helper_answers(number),
            Token::Source(number, stream) => self.pump(number, stream),
            Token::Input(number) => self.feed(number),
            Token::Client(number) => self.serve_client(number, ready.hung_up),
            Token::Oom => self.look_at_memory(),
        }
    }

    /// Does what is due.
    pub(crate) fn look_at_timers(&mut self) {
        let now = Instant::now();
        let due: Vec<u32> = self
            .processes
            .iter()
            .filter(|(_, process)| process.deadline.is_some_and(|deadline| deadline <= now))
            .map(|(number, _)| *number)
            .collect();
        for number in due {
            self.deadline_passed(number);
        }
        if let Some((_, log)) = self.delivery_due.take_if(|(due, _)| *due <= now) {
            self.deliver(&log);
        }
    }

    fn number(&mut self) -> u32 {
        let number = self.next_number;
        self.next_number += 1;
        number
    }
}

/// Says what went wrong, in `shim.log`; nobody else can be told.
fn complain(what: &str, error: &dyn std::error::Error) {
    // What fails for every line that is logged must not fill the disk too.
    const MOST: usize = 200;
    static COMPLAINTS: AtomicUsize = AtomicUsize::new(0);
    if COMPLAINTS.fetch_add(1, Ordering::Relaxed) < MOST {
        eprintln!("{what}: {}", arca_types::chain(error));
    }
}
