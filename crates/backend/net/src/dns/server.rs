//! The server of one sandbox.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

use super::DnsConfig;
use super::message::{self, Answer, Query, code, kind};
use super::names::Names;
use super::upstream::{Transport, Upstreams, receive, send};
use crate::error::Error;

/// Where a sandbox's programs find the server, at port 53.
pub(crate) const ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 11);
/// How many questions of one sandbox may wait for other servers at a time; more are refused.
const WAITING: usize = 256;
/// How many connections of one sandbox there may be at a time.
const CONNECTIONS: usize = 64;
/// How long a connection may be silent.
const SILENCE: Duration = Duration::from_secs(10);
/// After a failure that may last.
const BREATH: Duration = Duration::from_millis(100);
/// The longest question.
const DATAGRAM: usize = 4096;

/// Sockets inside a sandbox, on ports that the kernel chose.
#[derive(Debug)]
pub(crate) struct Sockets {
    pub(super) udp: UdpSocket,
    pub(super) tcp: TcpListener,
}

impl Sockets {
    /// Binds the sockets in the namespace of the calling thread.
    pub(crate) fn bind() -> Result<Self, Error> {
        let failed = || Error::system("bind a DNS socket in a namespace");
        let any_port = SocketAddr::new(ADDRESS.into(), 0);
        let udp = UdpSocket::bind(any_port).map_err(failed())?;
        let tcp = TcpListener::bind(any_port).map_err(failed())?;
        udp.set_nonblocking(true).map_err(failed())?;
        tcp.set_nonblocking(true).map_err(failed())?;
        Ok(Self { udp, tcp })
    }

    /// The ports, UDP and TCP.
    pub(crate) fn ports(&self) -> Result<(u16, u16), Error> {
        let failed = || Error::system("read the address of a DNS socket");
        let udp = self.udp.local_addr().map_err(failed())?.port();
        Ok((udp, self.tcp.local_addr().map_err(failed())?.port()))
    }
}

/// A server that answers until this is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    tasks: [JoinHandle<()>; 2],
    udp: Arc<tokio::net::UdpSocket>,
    tcp: Arc<tokio::net::TcpListener>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    names: Arc<Names>,
    /// What is known here.
    config: RwLock<DnsConfig>,
    upstreams: RwLock<Arc<Upstreams>>,
    waiting: Semaphore,
    /// Changes when somebody else receives what comes from then on.
    over: watch::Sender<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Server {
    /// Begins to answer. Has to be called within a tokio runtime.
    pub(crate) fn start(
        sockets: Sockets,
        names: Arc<Names>,
        config: &DnsConfig,
    ) -> Result<Self, Error> {
        Self::start_with(sockets, names, config, config.upstreams())
    }

    /// The same, with other servers to ask.
    pub(super) fn start_with(
        sockets: Sockets,
        names: Arc<Names>,
        config: &DnsConfig,
        upstreams: Upstreams,
    ) -> Result<Self, Error> {
        let failed = || Error::system("serve DNS in a namespace");
        let udp = tokio::net::UdpSocket::from_std(sockets.udp).map_err(failed())?;
        let udp = Arc::new(udp);
        let tcp = tokio::net::TcpListener::from_std(sockets.tcp).map_err(failed())?;
        let tcp = Arc::new(tcp);
        let shared = Arc::new(Shared {
            names,
            config: RwLock::new(config.clone()),
            upstreams: RwLock::new(Arc::new(upstreams)),
            waiting: Semaphore::new(WAITING),
            over: watch::Sender::new(()),
        });
        let tasks = [
            tokio::spawn(serve_udp(Arc::clone(&udp), Arc::clone(&shared))),
            tokio::spawn(serve_tcp(Arc::clone(&tcp), Arc::clone(&shared))),
        ];
        Ok(Self {
            tasks,
            udp,
            tcp,
            shared,
        })
    }

    /// The sockets, UDP and TCP, for somebody else who receives what comes from now on. What was received
    /// already is answered here, until [`is_done`](Self::is_done).
    ///
    /// # Errors
    /// When there are no descriptors left; nothing has changed then.
    pub(super) fn hand_over(&self) -> std::io::Result<[OwnedFd; 2]> {
        let udp = self.udp.as_fd().try_clone_to_owned()?;
        let tcp = self.tcp.as_fd().try_clone_to_owned()?;
        self.shared.over.send_replace(());
        Ok([udp, tcp])
    }

    /// Whether everything is answered that was received before the sockets were handed over.
    pub(super) fn is_done(&self) -> bool {
        self.tasks.iter().all(JoinHandle::is_finished)
    }

    /// How many questions wait for servers outside.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        WAITING - self.shared.waiting.available_permits()
    }

    /// Changes what is known here.
    pub(crate) fn configure(&self, config: &DnsConfig) {
        let shared = &self.shared;
        let mut own = shared
            .config
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        if own.upstreams != config.upstreams {
            *shared
                .upstreams
                .write()
                .unwrap_or_else(PoisonError::into_inner) = Arc::new(config.upstreams());
        }
        own.clone_from(config);
    }
}

async fn serve_udp(socket: Arc<tokio::net::UdpSocket>, shared: Arc<Shared>) {
    let mut buffer = vec![0; DATAGRAM];
    let mut waiting = JoinSet::new();
    let mut over = shared.over.subscribe();
    loop {
        tokio::select! {
            _ = over.changed() => break,
            received = socket.recv_from(&mut buffer) => {
                let Ok((length, client)) = received else {
                    tokio::time::sleep(BREATH).await;
                    continue;
                };
                let request = buffer.get(..length).unwrap_or_default();
                match shared.local(request, Transport::Udp) {
                    Local::Answer(response) => reply(&socket, &response, client).await,
                    Local::Nothing => {}
                    Local::Elsewhere(query) => {
                        let (socket, shared) = (Arc::clone(&socket), Arc::clone(&shared));
                        let request = request.to_vec();
                        waiting.spawn(async move {
                            let response = shared.forward(&request, &query, Transport::Udp).await;
                            reply(&socket, &message::fit(response, &query), client).await;
                        });
                    }
                }
            }
            Some(_) = waiting.join_next() => {}
        }
    }
    while waiting.join_next().await.is_some() {}
}

async fn reply(socket: &tokio::net::UdpSocket, response: &[u8], client: SocketAddr) {
    if let Err(error) = socket.send_to(response, client).await {
        tracing::debug!(%error, "a DNS answer is lost");
    }
}

async fn serve_tcp(listener: Arc<tokio::net::TcpListener>, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    let mut over = shared.over.subscribe();
    loop {
        tokio::select! {
            _ = over.changed() => break,
            accepted = listener.accept(), if connections.len() < CONNECTIONS => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(converse(stream, Arc::clone(&shared)));
                }
                Err(_) => tokio::time::sleep(BREATH).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
    while connections.join_next().await.is_some() {}
}

/// Answers the questions of one connection, one after the other.
async fn converse(mut stream: TcpStream, shared: Arc<Shared>) {
    while let Ok(Ok(request)) = timeout(SILENCE, receive(&mut stream)).await {
        let response = match shared.local(&request, Transport::Tcp) {
            Local::Answer(response) => response,
            Local::Nothing => return,
            Local::Elsewhere(query) => shared.forward(&request, &query, Transport::Tcp).await,
        };
        match timeout(SILENCE, send(&mut stream, &response)).await {
            Ok(Ok(())) => {}
            _ => return,
        }
    }
}

/// What can be said without asking anybody.
enum Local {
    Answer(Vec<u8>),
    Elsewhere(Query),
    /// Not even a question.
    Nothing,
}

impl Shared {
    fn local(&self, request: &[u8], transport: Transport) -> Local {
        let Some(query) = message::parse(request) else {
            return message::malformed(request).map_or(Local::Nothing, Local::Answer);
        };
        let answer = match self.known(&query) {
            Some(answers) => Some(message::respond(request, &query, code::OK, &answers)),
            None => self.upstreams().remembered(request, transport),
        };
        match answer {
            Some(answer) if transport == Transport::Udp => {
                Local::Answer(message::fit(answer, &query))
            }
            Some(answer) => Local::Answer(answer),
            None => Local::Elsewhere(query),
        }
    }

    /// The answers to a question about a name of ours; none when it has no record of the type.
    fn known(&self, query: &Query) -> Option<Vec<Answer>> {
        if !query.is_internet {
            return None;
        }
        let config = self.config.read().unwrap_or_else(PoisonError::into_inner);
        let networks = &config.networks;
        if query.kind == kind::PTR {
            let address = message::reverse(&query.name)?;
            let name = self.names.reverse(networks, address)?;
            return Some(vec![Answer::Name(name)]);
        }
        let name = config.links.get(&query.name).unwrap_or(&query.name);
        let mut addresses = self.names.lookup(networks, name)?;
        addresses.retain(|address| {
            matches!(
                (query.kind, address),
                (kind::A | kind::ANY, IpAddr::V4(_)) | (kind::AAAA | kind::ANY, IpAddr::V6(_))
            )
        });
        rotate(&mut addresses);
        Some(addresses.into_iter().map(Answer::Address).collect())
    }

    fn upstreams(&self) -> Arc<Upstreams> {
        let current = self.upstreams.read();
        Arc::clone(&current.unwrap_or_else(PoisonError::into_inner))
    }

    async fn forward(&self, request: &[u8], query: &Query, transport: Transport) -> Vec<u8> {
        let failed = |code| message::respond(request, query, code, &[]);
        let upstreams = self.upstreams();
        let Ok(_permit) = self.waiting.try_acquire() else {
            return failed(code::REFUSED);
        };
        let answer = upstreams.ask(request, query, transport).await;
        answer.unwrap_or_else(|| failed(code::SERVER))
    }
}

/// Begins with another address each time, so that clients who take the first one spread.
fn rotate(addresses: &mut [IpAddr]) {
    if addresses.len() > 1 {
        let random = u8::from_str_radix(&arca_types::random_hex(1), 16).unwrap_or(0);
        let by = usize::from(random) % addresses.len();
        addresses.rotate_left(by);
    }
}
