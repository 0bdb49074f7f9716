//! Output from processes to the log and the clients, and input to processes.

use arca_logging::Source as LogSource;
use arca_types::{Clock, SystemClock};
use rustix::io::Errno;

use super::{INIT, Shim, complain};
use crate::poller::{READ, Token, WRITE};

/// How much is read at once.
const CHUNK: usize = 256 << 10;

/// How often one source is read before others get their turn.
const ROUNDS: usize = 8;

/// What reading a source came to.
enum Pumped {
    /// There may be more.
    More,
    /// Nothing at the moment.
    Dry,
    /// The end.
    Ended,
    /// A client has to catch up first.
    Held,
}

impl Shim {
    /// Begins to read a process's output.
    pub(super) fn open_streams(&mut self, number: u32) {
        let Some(process) = self.processes.get_mut(&number) else {
            return;
        };
        for (stream, source) in (0..).zip(&mut process.sources) {
            let Some(fd) = source.fd.as_ref().filter(|_| !source.registered) else {
                continue;
            };
            match self.poller.add(fd, Token::Source(number, stream), READ) {
                Ok(()) => source.registered = true,
                Err(error) => complain("output cannot be waited for", &error),
            }
        }
    }

    /// Reads what a process has written, to the log and to the clients.
    pub(super) fn pump(&mut self, number: u32, stream: u8) {
        self.warm = true;
        let mut scratch = std::mem::take(&mut self.scratch);
        if scratch.is_empty() {
            scratch = vec![0; CHUNK];
        }
        let mut outcome = Pumped::More;
        for _ in 0..ROUNDS {
            outcome = self.pump_once(number, stream, &mut scratch);
            if !matches!(outcome, Pumped::More) {
                break;
            }
        }
        self.scratch = scratch;
        if number == INIT {
            self.flush_log();
        }
        match outcome {
            Pumped::More | Pumped::Dry => {}
            Pumped::Held => self.hold_source(number, stream),
            Pumped::Ended => self.close_source(number, stream),
        }
        self.settle_clients(number);
        self.finish_if_ended(number);
    }

    fn pump_once(&mut self, number: u32, stream: u8, scratch: &mut [u8]) -> Pumped {
        let full = self.clients_of(number).any(|client| {
            self.clients
                .get(&client)
                .is_some_and(crate::client::Client::is_full)
        });
        let Some(process) = self.processes.get_mut(&number) else {
            return Pumped::Dry;
        };
        let ended = process.status.is_some();
        let Some(source) = process.sources.get_mut(usize::from(stream)) else {
            return Pumped::Dry;
        };
        let Some(fd) = &source.fd else {
            return Pumped::Dry;
        };
        if full && !(ended && source.left_over > 0) {
            return Pumped::Held;
        }
        let count = match rustix::io::read(fd, &mut *scratch) {
            Ok(0) | Err(Errno::IO) => return Pumped::Ended,
            Ok(count) => count,
            Err(Errno::INTR) => return Pumped::More,
            Err(Errno::AGAIN) => return Pumped::Dry,
            Err(error) => {
                complain("output cannot be read", &std::io::Error::from(error));
                return Pumped::Ended;
            }
        };
        if ended {
            source.left_over = source.left_over.saturating_sub(count);
        }
        let bytes = scratch.get(..count).unwrap_or_default();
        if number == INIT {
            self.write_log(stream, bytes);
        }
        self.send_to_clients(number, stream, bytes);
        // A short read has emptied the pipe; asking again would cost a call to hear so.
        if count < scratch.len() && count < 4096 {
            Pumped::Dry
        } else {
            Pumped::More
        }
    }

    fn write_log(&mut self, stream: u8, bytes: &[u8]) {
        let source = log_source(stream);
        if let Some(log) = &mut self.log
            && let Err(error) = log.write(source, bytes, SystemClock.now())
        {
            complain("log entries are lost", &error);
        }
    }

    pub(super) fn flush_log(&mut self) {
        let Some(log) = &mut self.log else {
            return;
        };
        if let Err(error) = log.flush() {
            complain("log entries are lost", &error);
        }
        self.compress_log();
    }

    /// Nothing more is logged: everything is in the file after this.
    pub(super) fn complete_log(&mut self) {
        self.flush_log();
        if let Some(log) = &mut self.log
            && let Err(error) = log.complete()
        {
            complain("log entries are lost", &error);
        }
    }

    /// Has the next rotated file compressed by a process of its own.
    pub(super) fn compress_log(&mut self) {
        if self.compressing.is_some() {
            return;
        }
        let Some(log) = &mut self.log else {
            return;
        };
        let job = match log.take_compression() {
            Ok(Some(job)) => job,
            Ok(None) => return,
            Err(error) => {
                complain("a rotated log cannot be compressed", &error);
                return;
            }
        };
        let child = std::process::Command::new("/proc/self/exe")
            .arg("compress")
            .stdin(job.input)
            .stdout(job.output)
            .spawn();
        let pid = child.and_then(|child| i32::try_from(child.id()).map_err(std::io::Error::other));
        match pid {
            Ok(pid) => self.compressing = Some(pid),
            Err(error) => {
                complain("a rotated log cannot be compressed", &error);
                if let Err(error) = log.compression_done(false) {
                    complain("a rotated log cannot be compressed", &error);
                }
            }
        }
    }

    /// Stops reading a source until the clients have caught up.
    fn hold_source(&mut self, number: u32, stream: u8) {
        let process = self.processes.get_mut(&number);
        let source = process.and_then(|process| process.sources.get_mut(usize::from(stream)));
        if let Some(source) = source
            && let Some(fd) = source.fd.as_ref().filter(|_| source.registered)
        {
            self.poller.remove(fd);
            source.registered = false;
        }
    }

    /// A source has ended.
    pub(super) fn close_source(&mut self, number: u32, stream: u8) {
        let process = self.processes.get_mut(&number);
        let source = process.and_then(|process| process.sources.get_mut(usize::from(stream)));
        if let Some(source) = source
            && let Some(fd) = source.fd.take()
        {
            if source.registered {
                self.poller.remove(&fd);
                source.registered = false;
            }
            if number == INIT
                && let Some(log) = &mut self.log
                && let Err(error) = log.finish(log_source(stream), SystemClock.now())
            {
                complain("log entries are lost", &error);
            }
        }
    }

    /// A process takes input again.
    pub(super) fn feed(&mut self, number: u32) {
        if let Some(process) = self.processes.get_mut(&number) {
            process.input.flush();
        }
        self.settle_input(number);
        self.settle_clients(number);
        self.read_hung_up(number);
    }

    /// Waits for a process to take input, or not.
    pub(super) fn settle_input(&mut self, number: u32) {
        let Some(process) = self.processes.get_mut(&number) else {
            return;
        };
        let wants = process.input.wants_write();
        let Some(fd) = process.input.fd() else {
            // Closing the descriptor has taken it out of the set, unless it was a copy.
            process.input_registered = false;
            return;
        };
        if wants == process.input_registered {
            return;
        }
        if wants {
            if let Err(error) = self.poller.add(fd, Token::Input(number), WRITE) {
                complain("input cannot be waited for", &error);
            }
        } else {
            self.poller.remove(fd);
        }
        process.input_registered = wants;
    }
}

fn log_source(stream: u8) -> LogSource {
    if stream == 0 {
        LogSource::Stdout
    } else {
        LogSource::Stderr
    }
}
