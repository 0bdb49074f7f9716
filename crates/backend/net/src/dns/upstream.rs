//! Servers that know the rest of the world.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::{Instant, timeout};

use super::cache::Cache;
use super::message::{self, Query, code};

/// How long one server may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long a server that did not answer is asked last.
const PENALTY: Duration = Duration::from_secs(30);
/// The longest answer by UDP that is taken.
const DATAGRAM: usize = 4096;

/// The servers of one sandbox, with what is known of their health.
#[derive(Debug)]
pub(crate) struct Upstreams {
    servers: Vec<Upstream>,
    /// What they said by UDP, and what by TCP: an answer that was cut is none by the other.
    said: [Mutex<Cache>; 2],
}

#[derive(Debug)]
struct Upstream {
    address: SocketAddr,
    /// Until when it is asked last.
    ill: Mutex<Option<Instant>>,
}

/// How a client asked: an answer that does not fit one way may fit the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    Udp,
    Tcp,
}

impl Upstreams {
    pub(crate) fn new(addresses: &[IpAddr], port: u16) -> Self {
        let upstream = |address: &IpAddr| Upstream {
            address: SocketAddr::new(*address, port),
            ill: Mutex::new(None),
        };
        Self {
            servers: addresses.iter().map(upstream).collect(),
            said: Default::default(),
        }
    }

    fn said(&self, transport: Transport) -> MutexGuard<'_, Cache> {
        let [udp, tcp] = &self.said;
        let said = match transport {
            Transport::Udp => udp,
            Transport::Tcp => tcp,
        };
        said.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was said to the same question a while ago and is still good.
    pub(crate) fn remembered(&self, request: &[u8], transport: Transport) -> Option<Vec<u8>> {
        self.said(transport).get(request, Instant::now())
    }

    /// Asks one server after the other, healthy ones first, until one has an answer. What the last one said
    /// counts when all fail; `None` when none said anything.
    pub(crate) async fn ask(
        &self,
        request: &[u8],
        query: &Query,
        transport: Transport,
    ) -> Option<Vec<u8>> {
        let now = Instant::now();
        let (ill, healthy): (Vec<_>, Vec<_>) = self.servers.iter().partition(|one| one.is_ill(now));
        let mut last = None;
        for upstream in healthy.into_iter().chain(ill) {
            let asked = timeout(
                PATIENCE,
                exchange(upstream.address, request, query, transport),
            );
            let answer = asked.await.ok().and_then(Result::ok);
            upstream.judge(answer.is_some());
            let Some(answer) = answer else { continue };
            match message::outcome(&answer) {
                Some(code::SERVER | code::REFUSED) | None => last = Some(answer),
                Some(_) => {
                    self.said(transport).put(request, &answer, Instant::now());
                    return Some(answer);
                }
            }
        }
        last
    }
}

impl Upstream {
    fn is_ill(&self, now: Instant) -> bool {
        self.ill
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .is_some_and(|until| now < until)
    }

    fn judge(&self, answered: bool) {
        let until = (!answered).then(|| Instant::now() + PENALTY);
        *self.ill.lock().unwrap_or_else(PoisonError::into_inner) = until;
    }
}

/// Asks one server, under a number that nobody can guess, and waits for its answer to this question.
async fn exchange(
    server: SocketAddr,
    request: &[u8],
    query: &Query,
    transport: Transport,
) -> std::io::Result<Vec<u8>> {
    let mut request = request.to_vec();
    let original = message::id(&request).unwrap_or(0);
    let own = random_id();
    message::set_id(&mut request, own);
    let mut answer = match transport {
        Transport::Udp => by_udp(server, &request, query, own).await?,
        Transport::Tcp => by_tcp(server, &request).await?,
    };
    if message::id(&answer) != Some(own) || !message::answers(&answer, &request, query) {
        return Err(std::io::ErrorKind::InvalidData.into());
    }
    message::set_id(&mut answer, original);
    Ok(answer)
}

async fn by_udp(
    server: SocketAddr,
    request: &[u8],
    query: &Query,
    id: u16,
) -> std::io::Result<Vec<u8>> {
    let any = crate::host::any(server.ip());
    // A port of its own for each question, chosen by the kernel.
    let socket = UdpSocket::bind(SocketAddr::new(any, 0)).await?;
    socket.connect(server).await?;
    socket.send(request).await?;
    let mut buffer = vec![0; DATAGRAM];
    loop {
        let length = socket.recv(&mut buffer).await?;
        let answer = buffer.get(..length).unwrap_or_default();
        // Something else than what was asked may be forged: wait for the true one.
        if message::id(answer) == Some(id) && message::answers(answer, request, query) {
            return Ok(answer.to_vec());
        }
    }
}

async fn by_tcp(server: SocketAddr, request: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server).await?;
    send(&mut stream, request).await?;
    receive(&mut stream).await
}

/// Writes a message with its length before it.
pub(crate) async fn send(stream: &mut TcpStream, message: &[u8]) -> std::io::Result<()> {
    let length = u16::try_from(message.len()).map_err(std::io::Error::other)?;
    let mut bytes = length.to_be_bytes().to_vec();
    bytes.extend(message);
    stream.write_all(&bytes).await
}

/// Reads a message with its length before it.
pub(crate) async fn receive(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let length = stream.read_u16().await?;
    let mut message = vec![0; length.into()];
    stream.read_exact(&mut message).await?;
    Ok(message)
}

fn random_id() -> u16 {
    u16::from_str_radix(&arca_types::random_hex(2), 16).unwrap_or(0)
}
