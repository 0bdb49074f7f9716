//! The process that answers, also while arcad is away. Its program is `arca-dns`.

use std::collections::BTreeMap;
use std::io;
use std::net::{TcpListener, UdpSocket};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::Errno;

use super::names::Names;
use super::orders::{Everything, Order, Reply, SOCKET, VERSION, read, write};
use super::server::{Server, Sockets};
use crate::error::Error;

/// How often it looks whether anybody needs it.
const LOOK: Duration = Duration::from_secs(1);
/// How long it waits for the first one to say something.
const FIRST: Duration = Duration::from_secs(30);
/// How long the answers may take that are owed when another process has the sockets.
const LAST: Duration = Duration::from_secs(30);

/// Answers the questions of sandboxes as it is told by the socket in `directory`, until nobody needs it.
///
/// # Errors
/// When the socket or the runtime cannot be had.
pub fn keep_names(directory: &Path) -> Result<(), Error> {
    // Of a session of its own: signals for arcad's are not for this process.
    if let Err(error) = rustix::process::setsid() {
        tracing::debug!(%error, "leads a session already");
    }
    let failed = || Error::system("serve DNS in a process of its own");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(failed())?;
    let path = directory.join(SOCKET);
    let listener = listen(&path).map_err(failed())?;
    let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
    let over = eventfd(0, flags).map_err(|errno| failed()(errno.into()))?;
    let keeper = Arc::new(Keeper {
        names: Arc::default(),
        over,
        began: Instant::now(),
        state: Mutex::default(),
        runtime: runtime.handle().clone(),
    });
    while keeper.is_needed(&path) {
        match keeper.accept(&listener) {
            Ok(Some(stream)) => keeper.listen_to(stream).map_err(failed())?,
            Ok(None) => {}
            Err(error) => return Err(failed()(error)),
        }
    }
    Ok(())
}

/// Takes the place of a socket that nobody listens on any more.
fn listen(path: &Path) -> io::Result<UnixListener> {
    let own = path.with_extension(format!("{}", std::process::id()));
    let listener = UnixListener::bind(&own)?;
    std::fs::set_permissions(&own, std::fs::Permissions::from_mode(0o600))?;
    std::fs::rename(&own, path)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

#[derive(Debug)]
struct Keeper {
    names: Arc<Names>,
    began: Instant,
    /// Wakes who waits for somebody when it is over (eventfd(2)).
    over: OwnedFd,
    state: Mutex<State>,
    runtime: tokio::runtime::Handle,
}

#[derive(Debug, Default)]
struct State {
    servers: BTreeMap<String, Server>,
    /// Those whose sockets another process has, with the time since when: they answer what they were asked.
    leaving: Vec<(Instant, Server)>,
    /// How many there are who may have something to say.
    listening: usize,
    /// Whether there ever was one.
    heard: bool,
    /// Another version takes over.
    over: bool,
}

impl Keeper {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_needed(&self, path: &Path) -> bool {
        let mut state = self.state();
        let owes =
            |(since, server): &(Instant, Server)| since.elapsed() < LAST && !server.is_done();
        state.leaving.retain(owes);
        let alone = state.listening == 0 && (state.servers.is_empty() || !path.exists());
        let waits = !state.heard && self.began.elapsed() < FIRST;
        !state.leaving.is_empty() || (!state.over && (waits || !alone))
    }

    /// Waits a while for somebody who has something to say, or until it is over.
    fn accept(&self, listener: &UnixListener) -> io::Result<Option<UnixStream>> {
        let wait = Timespec {
            tv_sec: LOOK.as_secs().cast_signed(),
            tv_nsec: 0,
        };
        let mut fds = [
            PollFd::new(listener, PollFlags::IN),
            PollFd::new(&self.over, PollFlags::IN),
        ];
        match poll(&mut fds, Some(&wait)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        match rustix::io::read(&self.over, &mut [0; 8]) {
            Ok(_) | Err(Errno::AGAIN) => {}
            Err(errno) => return Err(errno.into()),
        }
        match listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(false)?;
                Ok(Some(stream))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn listen_to(self: &Arc<Self>, mut stream: UnixStream) -> io::Result<()> {
        {
            let mut state = self.state();
            state.listening += 1;
            state.heard = true;
        }
        let keeper = Arc::clone(self);
        let obey = move || {
            while let Ok(Some((order, descriptors))) = read::<Order>(&mut stream) {
                let written = match order {
                    Order::Take(sandbox) => keeper.hand_over(&mut stream, &sandbox),
                    order => match keeper.obey(order, descriptors) {
                        Some(reply) => write(&mut stream, &reply, &[]),
                        None => Ok(()),
                    },
                };
                if written.is_err() {
                    break;
                }
            }
            keeper.gone();
        };
        std::thread::Builder::new()
            .name("orders".to_owned())
            .spawn(obey)
            .map(drop)
    }

    /// One who was listened to has gone. If that one said that it is over, it is seen at once.
    fn gone(&self) {
        let mut state = self.state();
        state.listening -= 1;
        if state.over
            && let Err(error) = rustix::io::write(&self.over, &1_u64.to_ne_bytes())
        {
            tracing::debug!(%error, "it is seen with the next look");
        }
    }

    fn obey(&self, order: Order, descriptors: Vec<OwnedFd>) -> Option<Reply> {
        let _runtime = self.runtime.enter();
        match order {
            Order::Everything(all) => return Some(self.begin_anew(all)),
            Order::Serve(sandbox, dns) => {
                let made = sockets(descriptors).and_then(|sockets| {
                    let names = Arc::clone(&self.names);
                    Server::start(sockets, names, &dns).map_err(io::Error::other)
                });
                match made {
                    Ok(server) => drop(self.state().servers.insert(sandbox, server)),
                    Err(error) => return Some(Reply::Failed(error.to_string())),
                }
            }
            Order::Configure(sandbox, dns) => match self.state().servers.get(&sandbox) {
                Some(server) => server.configure(&dns),
                None => return Some(Reply::Lacks(vec![sandbox])),
            },
            Order::End(sandbox) => drop(self.state().servers.remove(&sandbox)),
            // It has descriptors in its answer.
            Order::Take(sandbox) => return Some(Reply::Lacks(vec![sandbox])),
            Order::Name(entry) => {
                let (network, name) = (&entry.network, &entry.network_name);
                self.names.set(network, name, &entry.endpoint, entry.named);
                return None;
            }
            Order::Forget(network, endpoint) => {
                self.names.remove(&network, &endpoint);
                return None;
            }
        }
        Some(Reply::Done)
    }

    /// Gives the sockets of a sandbox to who asks, and answers only what was received before.
    fn hand_over(&self, stream: &mut UnixStream, sandbox: &str) -> io::Result<()> {
        let mut state = self.state();
        let Some(server) = state.servers.get(sandbox) else {
            return write(stream, &Reply::Lacks(vec![sandbox.to_owned()]), &[]);
        };
        let [udp, tcp] = match server.hand_over() {
            Ok(sockets) => sockets,
            Err(error) => return write(stream, &Reply::Failed(error.to_string()), &[]),
        };
        if let Some(server) = state.servers.remove(sandbox) {
            state.leaving.push((Instant::now(), server));
        }
        write(stream, &Reply::Done, &[udp.as_fd(), tcp.as_fd()])
    }

    fn begin_anew(&self, all: Everything) -> Reply {
        let mut state = self.state();
        if all.version != VERSION {
            state.over = true;
            return Reply::OtherVersion;
        }
        self.names.replace(all.names);
        state
            .servers
            .retain(|name, _| all.sandboxes.contains_key(name));
        let mut lacking = Vec::new();
        for (sandbox, dns) in all.sandboxes {
            match state.servers.get(&sandbox) {
                Some(server) => server.configure(&dns),
                None => lacking.push(sandbox),
            }
        }
        Reply::Lacks(lacking)
    }
}

fn sockets(descriptors: Vec<OwnedFd>) -> io::Result<Sockets> {
    let mut descriptors = descriptors.into_iter();
    match (descriptors.next(), descriptors.next()) {
        (Some(udp), Some(tcp)) => Ok(Sockets {
            udp: UdpSocket::from(udp),
            tcp: TcpListener::from(tcp),
        }),
        _ => Err(io::Error::other("two sockets should have come along")),
    }
}
