//! arcad's side of the process that answers.

use std::collections::BTreeMap;
use std::io::{self, Read as _};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt::socket_peercred;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::DnsConfig;
use super::orders::{Entry, Everything, NO_VERSION, Order, Reply, SOCKET, VERSION, read, write};
use super::server::Sockets;
use crate::error::Error;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long the process may take to come up.
const START: Duration = Duration::from_secs(5);
/// Between two looks whether it is there.
const LOOK: Duration = Duration::from_millis(2);

/// The process that answers, as arcad speaks to it.
#[derive(Debug)]
pub(crate) struct Kept {
    program: PathBuf,
    directory: PathBuf,
    link: Mutex<Option<UnixStream>>,
}

impl Kept {
    /// The process whose program is `program`, and whose socket is in `directory`. Nothing is started.
    pub(crate) fn new(program: PathBuf, directory: PathBuf) -> Self {
        Self {
            program,
            directory,
            link: Mutex::default(),
        }
    }

    fn link(&self) -> MutexGuard<'_, Option<UnixStream>> {
        self.link.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells everything, to the process that is there or to a new one; returns the sandboxes whose sockets
    /// it does not have. Without sandboxes, none is started.
    pub(crate) fn begin(
        self: &Arc<Self>,
        names: Vec<Entry>,
        sandboxes: BTreeMap<String, DnsConfig>,
        lost: impl FnOnce() + Send + 'static,
    ) -> Result<Vec<String>, Error> {
        let needed = !sandboxes.is_empty();
        let order = Order::Everything(Everything {
            version: VERSION,
            names,
            sandboxes: sandboxes.clone(),
        });
        let failed = || Error::system("speak to the DNS process");
        let mut old = self.outdated();
        for attempt in 0..2 {
            let (mut stream, child) = match self.connect() {
                Ok(stream) if old.is_none() => (stream, None),
                _ if needed => self.start()?,
                Ok(_) => {
                    // The next sandbox gets a process of the new program.
                    let _gone_already = std::fs::remove_file(self.directory.join(SOCKET));
                    if let Some(old) = old {
                        old.end();
                    }
                    return Ok(Vec::new());
                }
                Err(_) => return Ok(Vec::new()),
            };
            match ask(&mut stream, &order, &[]) {
                Ok(Reply::Lacks(lacking)) => {
                    let lacking = match old.take() {
                        Some(old) => old.hand_over(&mut stream, lacking, &sandboxes),
                        None => lacking,
                    };
                    *self.link() = Some(stream);
                    self.watch(child, lost)?;
                    return Ok(lacking);
                }
                // An old one, which ends: a new one takes its place.
                Ok(Reply::OtherVersion) if attempt == 0 => {
                    let _gone_already = std::fs::remove_file(self.directory.join(SOCKET));
                }
                Ok(other) => return Err(failed()(io::Error::other(format!("{other:?}")))),
                Err(error) => return Err(failed()(error)),
            }
        }
        Err(failed()(io::Error::other("it speaks another version")))
    }

    /// Whether there is a process, as far as is known.
    pub(crate) fn is_there(&self) -> bool {
        self.link().is_some()
    }

    /// Sends an order and waits for its answer.
    pub(crate) fn order(&self, order: &Order, sockets: Option<&Sockets>) -> Result<(), Error> {
        let failed = || Error::system("speak to the DNS process");
        let mut link = self.link();
        let Some(stream) = link.as_mut() else {
            return Err(failed()(io::ErrorKind::NotConnected.into()));
        };
        let descriptors = sockets.map(|sockets| [sockets.udp.as_fd(), sockets.tcp.as_fd()]);
        let descriptors = descriptors.as_ref().map_or(&[][..], |both| both);
        match ask(stream, order, descriptors) {
            Ok(Reply::Done) => Ok(()),
            Ok(other) => Err(failed()(io::Error::other(format!("{other:?}")))),
            Err(error) => {
                *link = None;
                Err(failed()(error))
            }
        }
    }

    /// Sends an order that has no answer. When that fails, everything is told anew to the next process.
    pub(crate) fn tell(&self, order: &Order) {
        let mut link = self.link();
        let Some(stream) = link.as_mut() else { return };
        if let Err(error) = write(stream, order, &[]) {
            tracing::debug!(%error, "the DNS process does not listen");
            *link = None;
        }
    }

    /// The process that is there, when its program is not the one that would be started now: it was
    /// replaced since.
    fn outdated(&self) -> Option<Old> {
        let stream = self.connect().ok()?;
        let file = |path: &Path| {
            let metadata = std::fs::metadata(path).ok()?;
            Some((metadata.dev(), metadata.ino()))
        };
        let running = file(Path::new(&format!("/proc/{}/exe", peer(&stream)?)))?;
        if running == file(&self.program)? {
            return None;
        }
        tracing::info!("a new DNS process takes over");
        Old::new(self).ok()
    }

    /// Ends the process, and returns when it has ended. For when no sandbox has a server.
    pub(crate) fn end(&self) {
        let Ok(last) = Old::new(self) else {
            return;
        };
        let process = peer(&last.last).and_then(|pid| {
            let pid = Pid::from_raw(pid.cast_signed())?;
            pidfd_open(pid, PidfdFlags::empty()).ok()
        });
        *self.link() = None;
        last.end();
        let Some(process) = process else { return };
        let wait = Timespec {
            tv_sec: PATIENCE.as_secs().cast_signed(),
            tv_nsec: 0,
        };
        let ended = poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&wait));
        if ended != Ok(1) {
            tracing::warn!("the DNS process does not end");
        }
    }

    fn connect(&self) -> io::Result<UnixStream> {
        let stream = UnixStream::connect(self.directory.join(SOCKET))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(stream)
    }

    fn start(&self) -> Result<(UnixStream, Option<Child>), Error> {
        let failed = || Error::system(format!("start {}", self.program.display()));
        std::fs::create_dir_all(&self.directory).map_err(failed())?;
        let mut child = Command::new(&self.program)
            .arg(&self.directory)
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(failed())?;
        let began = Instant::now();
        loop {
            match self.connect() {
                // Another one, whose place it takes, may still listen.
                Ok(stream) if peer(&stream) == Some(child.id()) => {
                    return Ok((stream, Some(child)));
                }
                Ok(_) if began.elapsed() > START => {
                    return Err(failed()(io::ErrorKind::TimedOut.into()));
                }
                Ok(_) => {}
                Err(error) if began.elapsed() > START => return Err(failed()(error)),
                Err(_) => {}
            }
            if let Ok(Some(status)) = child.try_wait() {
                return Err(failed()(io::Error::other(status.to_string())));
            }
            pause();
        }
    }

    /// Calls `lost` when the process ends.
    fn watch(
        &self,
        child: Option<Child>,
        lost: impl FnOnce() + Send + 'static,
    ) -> Result<(), Error> {
        let failed = || Error::system("watch the DNS process");
        let mut stream = self.connect().map_err(failed())?;
        stream.set_read_timeout(None).map_err(failed())?;
        let wait = move || {
            // It never says anything by itself: this ends with the process.
            let _ended = stream.read(&mut [0]);
            if let Some(mut child) = child {
                let _reaped = child.wait();
            }
            lost();
        };
        thread::Builder::new()
            .name("dns".to_owned())
            .stack_size(128 * 1024)
            .spawn(wait)
            .map(drop)
            .map_err(failed())
    }
}

/// A process whose place another one takes.
#[derive(Debug)]
pub(super) struct Old {
    stream: UnixStream,
    /// For the last word: one of before version 2 closes the other when it hears what it does not know.
    last: UnixStream,
}

impl Old {
    /// The process that listens now.
    pub(super) fn new(kept: &Kept) -> io::Result<Self> {
        Ok(Self {
            stream: kept.connect()?,
            last: kept.connect()?,
        })
    }

    /// Moves the sockets of these sandboxes to the process at `new`, which knows everything else already, and
    /// ends this one. Nobody notices: what comes meanwhile waits in the sockets. Returns those sandboxes
    /// whose sockets were not here.
    pub(super) fn hand_over(
        mut self,
        new: &mut UnixStream,
        sandboxes: Vec<String>,
        configs: &BTreeMap<String, DnsConfig>,
    ) -> Vec<String> {
        let mut lacking = Vec::new();
        for sandbox in sandboxes {
            if let Err(error) = self.move_one(new, &sandbox, configs) {
                tracing::warn!(%error, sandbox, "a sandbox's DNS questions may be lost for a moment");
                lacking.push(sandbox);
            }
        }
        self.end();
        lacking
    }

    fn move_one(
        &mut self,
        new: &mut UnixStream,
        sandbox: &str,
        configs: &BTreeMap<String, DnsConfig>,
    ) -> io::Result<()> {
        let Some(config) = configs.get(sandbox) else {
            return Ok(());
        };
        let (reply, sockets) = exchange(&mut self.stream, &Order::Take(sandbox.to_owned()), &[])?;
        if reply != Reply::Done {
            return Err(io::Error::other(format!("{reply:?}")));
        }
        let sockets: Vec<_> = sockets.iter().map(OwnedFd::as_fd).collect();
        let order = Order::Serve(sandbox.to_owned(), config.clone());
        match ask(new, &order, &sockets)? {
            Reply::Done => Ok(()),
            other => Err(io::Error::other(format!("{other:?}"))),
        }
    }

    /// Ends it, once it has answered what it was asked.
    fn end(mut self) {
        let nothing = Everything {
            version: NO_VERSION,
            ..Everything::default()
        };
        if let Err(error) = ask(&mut self.last, &Order::Everything(nothing), &[]) {
            tracing::debug!(%error, "the former DNS process has ended");
        }
    }
}

/// The process that listens at the other end.
fn peer(stream: &UnixStream) -> Option<u32> {
    let credentials = socket_peercred(stream).ok()?;
    u32::try_from(credentials.pid.as_raw_nonzero().get()).ok()
}

fn ask(
    stream: &mut UnixStream,
    order: &Order,
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<Reply> {
    exchange(stream, order, descriptors).map(|(reply, _)| reply)
}

fn exchange(
    stream: &mut UnixStream,
    order: &Order,
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<(Reply, Vec<OwnedFd>)> {
    write(stream, order, descriptors)?;
    read::<Reply>(stream)?.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}

#[expect(
    clippy::disallowed_methods,
    reason = "on a thread that may block, for the moments until a process listens"
)]
fn pause() {
    thread::sleep(LOOK);
}
