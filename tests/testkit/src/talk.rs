//! Servers and clients of the test's own, in the network namespaces of containers: whether packets arrive,
//! and who sent them.

use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::{
    IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket,
};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::net::sockopt::{Timeout, set_socket_timeout};

use crate::netns::in_named_netns;

/// Between two looks whether it is over, and between two datagrams of a client.
const LOOK: Duration = Duration::from_millis(150);
/// When a question of a [`Flow`] counts as lost.
const LOST: Duration = Duration::from_secs(4);
/// Between two of them.
const PACE: Duration = Duration::from_millis(4);
/// How many questions a flow asks at the least.
const LEAST: usize = 60;
/// Where a container asks for names.
const RESOLVER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 11)), 53);
/// The types of DNS records with addresses.
const A: u16 = 1;
const AAAA: u16 = 28;

/// How something is carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// A connection.
    Tcp,
    /// A datagram, sent again while nothing comes back.
    Udp,
}

/// Tells everybody who asks by TCP or UDP, IPv4 or IPv6, which address it sees; until it is dropped.
#[derive(Debug)]
pub struct Greeter {
    over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Greeter {
    /// Listens at `port` in the network namespace behind `netns`.
    pub fn start(netns: &Path, port: u16) -> Self {
        let (tcp, udp) = in_named_netns(netns, || {
            let any = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
            (
                TcpListener::bind(any).unwrap(),
                UdpSocket::bind(any).unwrap(),
            )
        });
        // accept(2) obeys it, too.
        set_socket_timeout(&tcp, Timeout::Recv, Some(LOOK)).unwrap();
        udp.set_read_timeout(Some(LOOK)).unwrap();
        let over = Arc::new(AtomicBool::new(false));
        let (first, second) = (Arc::clone(&over), Arc::clone(&over));
        let threads = vec![
            std::thread::spawn(move || {
                while !first.load(Ordering::Relaxed) {
                    if let Ok((stream, peer)) = tcp.accept() {
                        let over = Arc::clone(&first);
                        std::thread::spawn(move || converse(stream, peer.ip(), &over));
                    }
                }
            }),
            std::thread::spawn(move || {
                let mut buffer = [0; 512];
                while !second.load(Ordering::Relaxed) {
                    let Ok((_, peer)) = udp.recv_from(&mut buffer) else {
                        continue;
                    };
                    let text = peer.ip().to_canonical().to_string();
                    drop(udp.send_to(text.as_bytes(), peer));
                }
            }),
        ];
        Self { over, threads }
    }
}

impl Drop for Greeter {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            drop(thread.join());
        }
    }
}

/// Tells a client its address in a line, and then every line of its own, until it has said all.
fn converse(mut stream: TcpStream, peer: IpAddr, over: &AtomicBool) {
    stream.set_read_timeout(Some(LOOK)).unwrap();
    let mut buffer = [0; 512];
    let greeting = format!("{}\n", peer.to_canonical());
    let mut written = stream.write_all(greeting.as_bytes());
    while written.is_ok() && !over.load(Ordering::Relaxed) {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => written = stream.write_all(&buffer[..length]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => break,
        }
    }
}

/// Questions on the way to a [`Greeter`], or to a name server, one after the other in a namespace.
#[derive(Debug)]
pub struct Flow {
    over: Arc<AtomicBool>,
    thread: JoinHandle<Told>,
}

/// What came of a [`Flow`].
#[derive(Debug, Clone, Copy)]
pub struct Told {
    /// How many questions were answered.
    pub answered: usize,
    /// How many were not.
    pub lost: usize,
    /// The longest time that one took.
    pub longest: Duration,
}

impl Flow {
    /// Asks by one connection, or from one socket, every few milliseconds.
    pub fn start(netns: &Path, to: SocketAddr, by: Transport) -> Self {
        let any: IpAddr = match to.is_ipv4() {
            true => Ipv4Addr::UNSPECIFIED.into(),
            false => Ipv6Addr::UNSPECIFIED.into(),
        };
        match by {
            Transport::Tcp => {
                let stream = in_named_netns(netns, || TcpStream::connect(to).unwrap());
                stream.set_read_timeout(Some(LOST)).unwrap();
                stream.set_nodelay(true).unwrap();
                let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
                lines.next().unwrap().unwrap();
                Self::of(netns, move || {
                    let asked = (&stream).write_all(b"still there?\n");
                    asked.is_ok() && lines.next().is_some_and(|line| line.is_ok())
                })
            }
            Transport::Udp => {
                let socket =
                    in_named_netns(netns, || UdpSocket::bind(SocketAddr::new(any, 0)).unwrap());
                socket.connect(to).unwrap();
                socket.set_read_timeout(Some(LOST)).unwrap();
                Self::of(netns, move || {
                    let mut buffer = [0; 512];
                    let answer = socket.send(b"still there?");
                    answer.and_then(|_| socket.recv(&mut buffer)).is_ok()
                })
            }
        }
    }

    /// Asks the name server for a name that it has to know.
    pub fn of_names(netns: &Path, name: &str) -> Self {
        let name = name.to_owned();
        Self::of(netns, move || {
            lookup(&name, false, LOST).is_some_and(|addresses| !addresses.is_empty())
        })
    }

    fn of(netns: &Path, mut ask: impl FnMut() -> bool + Send + 'static) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let (netns, end) = (netns.to_owned(), Arc::clone(&over));
        let (mut answered, mut lost, mut longest) = (0, 0, Duration::ZERO);
        let work = move || {
            while answered + lost < LEAST || !end.load(Ordering::Relaxed) {
                let asked = Instant::now();
                match ask() {
                    true => answered += 1,
                    false => lost += 1,
                }
                longest = longest.max(asked.elapsed());
                std::thread::park_timeout(PACE);
            }
            Told {
                answered,
                lost,
                longest,
            }
        };
        let thread = std::thread::spawn(move || in_named_netns(&netns, work));
        Self { over, thread }
    }

    /// Ends it, once it has asked often enough to say something.
    pub fn end(self) -> Told {
        self.over.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

/// Asks a [`Greeter`] from the network namespace of the calling thread; the address that it sees, or none
/// when no answer comes in time.
pub fn seen(to: SocketAddr, by: Transport, patience: Duration) -> Option<IpAddr> {
    let text = match by {
        Transport::Tcp => {
            let mut stream = TcpStream::connect_timeout(&to, patience).ok()?;
            stream.set_read_timeout(Some(patience)).unwrap();
            stream.shutdown(Shutdown::Write).ok()?;
            let mut text = String::new();
            stream.read_to_string(&mut text).ok()?;
            text
        }
        Transport::Udp => {
            let answer = datagram(to, b"who am I?", LOOK, patience)?;
            String::from_utf8_lossy(&answer).into_owned()
        }
    };
    // A proxy accepts a connection and says nothing when there is nobody behind it.
    text.trim().parse().ok()
}

/// Sends a datagram, every `pause` again, until one comes back.
fn datagram(to: SocketAddr, bytes: &[u8], pause: Duration, patience: Duration) -> Option<Vec<u8>> {
    let any: IpAddr = if to.is_ipv4() {
        Ipv4Addr::UNSPECIFIED.into()
    } else {
        Ipv6Addr::UNSPECIFIED.into()
    };
    let socket = UdpSocket::bind(SocketAddr::new(any, 0)).ok()?;
    socket.connect(to).ok()?;
    socket.set_read_timeout(Some(pause)).unwrap();
    let (began, mut buffer) = (Instant::now(), [0; 4096]);
    while began.elapsed() < patience {
        // A refusal comes back as an error of either.
        let received = socket.send(bytes).and_then(|_| socket.recv(&mut buffer));
        match received {
            Ok(length) => return Some(buffer[..length].to_vec()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => return None,
        }
    }
    None
}

/// Asks the DNS server of the calling thread's network namespace once for the addresses of a name; none when
/// no answer comes in time.
pub fn lookup(name: &str, ipv6: bool, patience: Duration) -> Option<Vec<IpAddr>> {
    let kind = if ipv6 { AAAA } else { A };
    let answer = datagram(RESOLVER, &question(name, kind), patience, patience)?;
    Some(addresses(&answer, kind))
}

/// A question of the class IN (RFC 1035, 4.1) with recursion desired.
fn question(name: &str, kind: u16) -> Vec<u8> {
    let mut bytes = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        bytes.push(u8::try_from(label.len()).unwrap());
        bytes.extend(label.as_bytes());
    }
    bytes.push(0);
    bytes.extend(kind.to_be_bytes());
    bytes.extend([0, 1]);
    bytes
}

/// The addresses in an answer to one question.
fn addresses(answer: &[u8], kind: u16) -> Vec<IpAddr> {
    let number = |at: usize| u16::from_be_bytes([answer[at], answer[at + 1]]);
    let after_name = |mut at: usize| loop {
        match answer[at] {
            0 => return at + 1,
            pointer if pointer >= 0xc0 => return at + 2,
            length => at += 1 + usize::from(length),
        }
    };
    let mut at = after_name(12) + 4;
    let mut found = Vec::new();
    for _ in 0..number(6) {
        at = after_name(at);
        let (is_kind, length) = (number(at) == kind, usize::from(number(at + 8)));
        let data = &answer[at + 10..at + 10 + length];
        match (
            is_kind,
            <[u8; 4]>::try_from(data),
            <[u8; 16]>::try_from(data),
        ) {
            (true, Ok(ipv4), _) => found.push(ipv4.into()),
            (true, _, Ok(ipv6)) => found.push(ipv6.into()),
            _ => {}
        }
        at += 10 + length;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_is_told_its_address() {
        let netns = Path::new("/proc/thread-self/ns/net");
        let port = UdpSocket::bind("[::]:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let _greeter = Greeter::start(netns, port);
        for (to, by) in [("127.0.0.1", Transport::Tcp), ("127.0.0.1", Transport::Udp)] {
            let to = SocketAddr::new(to.parse().unwrap(), port);
            assert_eq!(seen(to, by, Duration::from_secs(5)), Some(to.ip()));
        }
    }

    #[test]
    fn addresses_are_read_from_an_answer() {
        let mut answer = question("a.example", A);
        answer[7] = 1;
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4, 192, 0, 2, 7]);
        assert_eq!(addresses(&answer, A), [IpAddr::from([192, 0, 2, 7])]);
    }
}
