//! Sending a log to its receiver, from the files that the writer leaves.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use arca_shim_proto::LogSpec;

use super::address::{self, Target};
use super::encode::{Encoder, Line, Messages, Parts};
use super::link::{self, Link};
use super::tls::{self, Tls};
use crate::batch::Batch;
use crate::error::Error;
use crate::files::with_suffix;
use crate::reader::{Cursor, Progress, Reader};
use crate::values::{duration, human_size};

/// The longest delay before the receiver is tried again; each try doubles it.
const LONGEST: Duration = Duration::from_secs(10);
/// What has arrived counts as received when the connection was good for so long after: until then it
/// is sent again when the connection breaks. Without acknowledgements there is no better way.
const SETTLED: Duration = Duration::from_secs(1);
/// Bytes that are sent at once.
const WINDOW: usize = 64 << 10;
/// Places that are remembered until they are settled.
const PLACES: usize = 64;
/// How long the receiver is tried when the log is removed and nobody will deliver it later.
const LAST_TRIES: Duration = Duration::from_secs(600);

/// Delivers one log, and remembers how far it has come.
pub struct Delivery {
    spec: LogSpec,
    target: Target,
    tls: Option<Tls>,
    policy: Policy,
    encoder: Encoder,
    parts: Parts,
    reader: Reader,
    /// Everything before is received.
    committed: Cursor,
    /// Places that were sent, when, and how many bytes before them.
    sent: VecDeque<(Cursor, Instant, u64)>,
    /// Readable when the container has ended.
    ended: OwnedFd,
    finished: Option<Instant>,
    /// Nobody else delivers this log while it is there.
    _lock: File,
}

impl std::fmt::Debug for Delivery {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        to.debug_struct("Delivery")
            .field("path", &self.spec.path)
            .finish_non_exhaustive()
    }
}

/// What the options say about trying again.
#[derive(Debug, Clone, Copy)]
struct Policy {
    first: Duration,
    /// So many tries in vain, and what waits is dropped.
    most: Option<u64>,
    /// The connection is made anew so often, to find receivers that have moved.
    renewed: Option<Duration>,
    limit: Duration,
    window: usize,
}

impl Policy {
    fn of(spec: &LogSpec) -> Self {
        let option = |name: &str| spec.options.get(name).map(String::as_str);
        let time = |name: &str| {
            let time = option(name).and_then(|text| duration(text).ok());
            time.filter(|time| !time.is_zero())
        };
        let seconds = option("gelf-tcp-reconnect-delay").and_then(|text| text.parse().ok());
        let first = time("fluentd-retry-wait").or(seconds.map(Duration::from_secs));
        let most = option("fluentd-max-retries").or(option("gelf-tcp-max-reconnect"));
        let window = option("fluentd-buffer-limit").and_then(|text| human_size(text, 1024.0).ok());
        let window = window.and_then(|bytes| usize::try_from(bytes).ok());
        Self {
            first: first.unwrap_or(Duration::from_millis(100)),
            most: most.and_then(|text| text.parse().ok()),
            renewed: time("fluentd-async-reconnect-interval"),
            limit: time("fluentd-write-timeout").unwrap_or(link::TIMEOUT),
            window: window.map_or(WINDOW, |window| window.min(WINDOW)),
        }
    }
}

impl Delivery {
    /// Prepares to deliver a log from where it was left. The other side of the socket `ended` is closed
    /// when nothing more is written; it gets a byte when the log may be removed without harm. Waits
    /// while somebody else delivers it; `None` when that one will have done it all.
    ///
    /// # Errors
    /// [`Error::File`], and [`Error::Initialize`] when the options make no sense.
    pub fn open(spec: LogSpec, ended: OwnedFd) -> Result<Option<Self>, Error> {
        let lock = with_suffix(&spec.path, ".lock");
        let taken = take_lock(&lock, &ended).map_err(Error::file("lock", &lock))?;
        let Some(lock) = taken else {
            return Ok(None);
        };
        let committed = load(&cursor_file(&spec.path));
        let reader = Reader::resume(&spec, &committed, true)?;
        tell(&ended);
        Ok(Some(Self {
            target: address::target(&spec.driver, &spec.options).map_err(Error::Initialize)?,
            tls: tls::config(&spec).map_err(Error::Initialize)?,
            policy: Policy::of(&spec),
            encoder: Encoder::new(&spec).map_err(Error::Initialize)?,
            parts: Parts::default(),
            reader,
            committed,
            sent: VecDeque::new(),
            spec,
            ended,
            finished: None,
            _lock: lock,
        }))
    }

    /// Delivers until the container has ended and everything is received. Returns after a long time
    /// without success when the log is removed; `complain` hears of each outage once.
    ///
    /// # Errors
    /// What goes wrong here, rather than at the receiver.
    pub fn run(mut self, complain: &mut dyn FnMut(&io::Error)) -> Result<(), Error> {
        let mut wait = self.policy.first;
        let mut tries = 0;
        loop {
            let before = self.committed.clone();
            let error = match self.session() {
                Ok(Outcome::Done) => return Ok(()),
                Ok(Outcome::Renew) => continue,
                Err(Failure::Here(error)) => return Err(error),
                Err(Failure::There(error)) => error,
            };
            if self.committed != before {
                (wait, tries) = (self.policy.first, 0);
            }
            if tries == 0 {
                complain(&error);
            }
            tries += 1;
            self.rewind()?;
            if self.policy.most.is_some_and(|most| tries > most) {
                self.give_up()?;
                tries = 0;
            }
            let is_removed = !self.spec.path.exists();
            if is_removed
                && self
                    .finished
                    .is_some_and(|since| since.elapsed() > LAST_TRIES)
            {
                return Ok(());
            }
            self.pause(wait)?;
            wait = (wait * 2).min(LONGEST.max(self.policy.first));
        }
    }

    /// Goes back to what is received for sure.
    fn rewind(&mut self) -> Result<(), Error> {
        self.sent.clear();
        self.parts = Parts::default();
        if let Encoder::Fluentd(fluentd) = &mut self.encoder {
            fluentd.forget();
        }
        // Of a log that was removed there is only what is open.
        if self.spec.path.exists() && self.reader.cursor() != self.committed {
            self.reader = Reader::resume(&self.spec, &self.committed, true)?;
            if self.finished.is_some() {
                self.finish()?;
            }
        }
        Ok(())
    }

    /// Drops what waits, because the options say so.
    fn give_up(&mut self) -> Result<(), Error> {
        let mut batch = Batch::default();
        while self.reader.next_batch(&mut batch)? == Progress::Entries {}
        self.commit(self.reader.cursor())
    }

    fn finish(&mut self) -> Result<(), Error> {
        self.finished.get_or_insert_with(Instant::now);
        self.reader.finish();
        self.reader
            .hold()
            .map_err(Error::file("open log", &self.spec.path))
    }

    /// Waits before the next try, and notices the end meanwhile.
    fn pause(&mut self, time: Duration) -> Result<(), Error> {
        let until = Instant::now() + time;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            let watched = [self.ended.as_fd()];
            let watched = if self.finished.is_some() {
                &[][..]
            } else {
                &watched
            };
            let ready = link::wait(watched, Some(left));
            let ready = ready.map_err(Error::file("watch", &self.spec.path))?;
            if ready.contains(&true) {
                self.finish()?;
            }
        }
    }

    /// Delivers over one connection.
    fn session(&mut self) -> Result<Outcome, Failure> {
        let mut link = Link::open(&self.target, self.tls.as_ref(), self.policy.limit)?;
        let opened = Instant::now();
        let mut batch = Batch::default();
        loop {
            let progress = self.reader.next_batch(&mut batch)?;
            self.send(&batch, &mut link)?;
            self.settle(&mut link)?;
            match progress {
                Progress::Entries => {}
                Progress::End if self.sent.is_empty() => return Ok(Outcome::Done),
                Progress::Pending | Progress::End => self.idle(&link)?,
            }
            let is_old = |limit| opened.elapsed() > limit;
            if self.policy.renewed.is_some_and(is_old) && self.sent.is_empty() {
                return Ok(Outcome::Renew);
            }
        }
    }

    fn send(&mut self, batch: &Batch, link: &mut Link) -> Result<(), Failure> {
        if batch.is_empty() {
            return Ok(());
        }
        let mut messages = Messages::default();
        for entry in batch.entries() {
            let text = entry.line.strip_suffix(b"\n").unwrap_or(entry.line);
            let part = self.parts.of(&entry);
            let line = Line { entry, text, part };
            self.encoder.encode(&line, &mut messages);
            if messages.bytes().len() >= self.policy.window {
                self.send_messages(&mut messages, link)?;
            }
        }
        self.send_messages(&mut messages, link)?;
        if self.sent.len() >= PLACES {
            self.sent.pop_back();
        }
        self.sent
            .push_back((self.reader.cursor(), Instant::now(), link.sent()));
        Ok(())
    }

    fn send_messages(&mut self, messages: &mut Messages, link: &mut Link) -> Result<(), Failure> {
        link.send(messages)?;
        messages.clear();
        if let Encoder::Fluentd(fluentd) = &mut self.encoder {
            fluentd.confirm(link)?;
        }
        Ok(())
    }

    /// Takes note of what is received.
    fn settle(&mut self, link: &mut Link) -> Result<(), Failure> {
        let acknowledged =
            matches!(&self.encoder, Encoder::Fluentd(fluentd) if fluentd.is_acknowledged());
        if !acknowledged {
            link.check()?;
        }
        let arrived = link.arrived();
        let mut settled = None;
        while let Some((cursor, _, _)) = self.sent.pop_front_if(|(_, at, bytes)| {
            acknowledged || (*bytes <= arrived && at.elapsed() >= SETTLED)
        }) {
            settled = Some(cursor);
        }
        if let Some(cursor) = settled {
            self.commit(cursor)?;
        }
        Ok(())
    }

    fn commit(&mut self, cursor: Cursor) -> Result<(), Error> {
        self.committed = cursor;
        let path = cursor_file(&self.spec.path);
        match save(&path, &self.committed) {
            // The log was removed.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            saved => saved.map_err(Error::file("write", path)),
        }
    }

    /// Waits for something to send, for the end, or for the receiver to go.
    fn idle(&mut self, link: &Link) -> Result<(), Failure> {
        let oldest = self.sent.front();
        let settles = oldest.map(|(_, at, _)| {
            let left = SETTLED.saturating_sub(at.elapsed());
            // It is late when the receiver is slow to take it.
            left.max(Duration::from_millis(50))
        });
        let limit = match (settles, self.policy.renewed) {
            (Some(settles), Some(renewed)) => Some(settles.min(renewed)),
            (settles, renewed) => settles.or(renewed),
        };
        let mut watched = vec![link.as_fd()];
        if self.finished.is_none() {
            watched.push(self.ended.as_fd());
        }
        let notifier = self.reader.notifier().filter(|_| self.finished.is_none());
        watched.extend(notifier);
        let ready = link::wait(&watched, limit)?;
        if self.finished.is_none() && ready.get(1) == Some(&true) {
            self.finish()?;
        }
        Ok(())
    }
}

enum Outcome {
    Done,
    Renew,
}

enum Failure {
    /// The receiver, or the way to it.
    There(io::Error),
    Here(Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::There(error)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Here(error)
    }
}

fn cursor_file(path: &Path) -> PathBuf {
    with_suffix(path, ".sent")
}

/// Tells the shim that the log may be removed; it may be gone, or not listen any more.
fn tell(shim: &OwnedFd) {
    let flags = rustix::net::SendFlags::DONTWAIT | rustix::net::SendFlags::NOSIGNAL;
    drop(rustix::net::send(shim, b"!", flags).map_err(io::Error::from));
}

/// Waits for the lock; `None` when the end comes first.
fn take_lock(path: &Path, ended: &OwnedFd) -> io::Result<Option<File>> {
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)?;
    let mut wait = Duration::from_millis(10);
    loop {
        // The end first: who holds the lock after it reads what was written before it.
        let is_over = link::wait(&[ended.as_fd()], Some(Duration::ZERO))?.contains(&true);
        match file.try_lock() {
            Ok(()) => return Ok(Some(file)),
            Err(std::fs::TryLockError::WouldBlock) if is_over => return Ok(None),
            Err(std::fs::TryLockError::WouldBlock) => tell(ended),
            Err(std::fs::TryLockError::Error(error)) => return Err(error),
        }
        link::wait(&[ended.as_fd()], Some(wait))?;
        wait = (wait * 2).min(Duration::from_secs(1));
    }
}

/// Where delivery was; the beginning when that is not known.
fn load(path: &Path) -> Cursor {
    let bytes = std::fs::read(path).unwrap_or_default();
    serde_json::from_slice(&bytes).unwrap_or_default()
}

fn save(path: &Path, cursor: &Cursor) -> io::Result<()> {
    let next = with_suffix(path, ".tmp");
    std::fs::write(&next, serde_json::to_vec(cursor).map_err(io::Error::other)?)?;
    std::fs::rename(next, path)
}
