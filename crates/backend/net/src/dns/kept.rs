//! arcad's side of the process that answers.

use std::collections::BTreeMap;
use std::io::{self, Read as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::DnsConfig;
use super::orders::{Entry, Everything, Order, Reply, SOCKET, VERSION, read, write};
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
            sandboxes,
        });
        let failed = || Error::system("speak to the DNS process");
        for attempt in 0..2 {
            let (mut stream, child) = match self.connect() {
                Ok(stream) => (stream, None),
                Err(_) if !needed => return Ok(Vec::new()),
                Err(_) => self.start()?,
            };
            match ask(&mut stream, &order, &[]) {
                Ok(Reply::Lacks(lacking)) => {
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
                Ok(stream) => return Ok((stream, Some(child))),
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

fn ask(
    stream: &mut UnixStream,
    order: &Order,
    descriptors: &[std::os::fd::BorrowedFd<'_>],
) -> io::Result<Reply> {
    write(stream, order, descriptors)?;
    match read::<Reply>(stream)? {
        Some((reply, _)) => Ok(reply),
        None => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "on a thread that may block, for the moments until a process listens"
)]
fn pause() {
    thread::sleep(LOOK);
}
