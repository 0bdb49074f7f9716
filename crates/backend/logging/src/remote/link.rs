//! The connection to a receiver. It blocks, but never for ever.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::Path;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::RecvFlags;

use super::address::Target;
use super::encode::Messages;
use super::tls::{Secure, Tls};

/// How long a receiver may take to be reached, or to take what is sent.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(10);

/// Where a host's own syslog listens.
const SYSLOG_PATHS: [&str; 3] = ["/dev/log", "/var/run/syslog", "/var/run/log"];

/// So many datagrams are sent at once over a network, which holds nobody up: then a moment is left to
/// the receiver.
const BURST: usize = 32;

/// A connection.
pub(crate) struct Link {
    socket: Socket,
    /// Bytes that were handed to the kernel.
    sent: u64,
}

enum Socket {
    Udp(UdpSocket),
    Tcp(TcpStream),
    Tls(Box<Secure>),
    Unix(UnixStream),
    Datagram(UnixDatagram),
}

impl Link {
    /// Reaches the receiver.
    pub(crate) fn open(target: &Target, tls: Option<&Tls>, limit: Duration) -> io::Result<Self> {
        let socket = match target {
            Target::Udp(host) => Socket::Udp(udp(host)?),
            Target::Tcp(host) => Socket::Tcp(tcp(host, limit)?),
            Target::Tls(host) => {
                let tls = tls.ok_or_else(|| io::Error::other("TLS is not set up"))?;
                Socket::Tls(Box::new(tls.connect(host, tcp(host, limit)?)?))
            }
            Target::Unix(path) => Socket::Unix(unix(path, limit)?),
            Target::Datagram(path) => Socket::Datagram(datagram(path, limit)?),
            Target::LocalSyslog => local_syslog(limit)?,
        };
        Ok(Self { socket, sent: 0 })
    }

    /// Sends messages, and returns when the kernel has them.
    pub(crate) fn send(&mut self, messages: &Messages) -> io::Result<()> {
        match &mut self.socket {
            Socket::Tcp(stream) => stream.write_all(messages.bytes())?,
            Socket::Unix(stream) => stream.write_all(messages.bytes())?,
            Socket::Tls(stream) => {
                stream.write_all(messages.bytes())?;
                stream.flush()?;
            }
            Socket::Datagram(socket) => {
                for message in messages.each() {
                    socket.send(message)?;
                }
            }
            Socket::Udp(socket) => {
                for (index, message) in messages.each().enumerate() {
                    if index % BURST == BURST - 1 {
                        pause(Duration::from_millis(2))?;
                    }
                    socket.send(message)?;
                }
            }
        }
        self.sent += u64::try_from(messages.bytes().len()).unwrap_or_default();
        Ok(())
    }

    /// Bytes that were sent over this connection.
    pub(crate) fn sent(&self) -> u64 {
        self.sent
    }

    /// Bytes of those that have arrived, as far as the kernel knows.
    pub(crate) fn arrived(&self) -> u64 {
        let unsent = match &self.socket {
            // Nobody tells.
            Socket::Udp(_) => Ok(0),
            _ => arca_sys::network::unsent(self.as_fd()),
        };
        self.sent.saturating_sub(unsent.unwrap_or_default())
    }

    /// Looks whether the receiver is still there. What it says is read and dropped.
    pub(crate) fn check(&mut self) -> io::Result<()> {
        match &mut self.socket {
            Socket::Udp(socket) => socket.take_error()?.map_or(Ok(()), Err),
            Socket::Datagram(socket) => socket.take_error()?.map_or(Ok(()), Err),
            Socket::Tls(stream) => {
                let (tls, socket) = (&mut stream.conn, &mut stream.sock);
                while is_readable(socket.as_fd())? {
                    if tls.read_tls(socket)? == 0 {
                        return Err(closed());
                    }
                    let state = tls.process_new_packets().map_err(io::Error::other)?;
                    if state.peer_has_closed() {
                        return Err(closed());
                    }
                }
                Ok(())
            }
            Socket::Tcp(socket) => drop_input(socket.as_fd()),
            Socket::Unix(socket) => drop_input(socket.as_fd()),
        }
    }

    /// Reads what the receiver answers.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = match &mut self.socket {
            Socket::Tcp(stream) => stream.read(buffer),
            Socket::Unix(stream) => stream.read(buffer),
            Socket::Tls(stream) => stream.read(buffer),
            Socket::Udp(_) | Socket::Datagram(_) => Ok(0),
        };
        match count? {
            0 => Err(closed()),
            count => Ok(count),
        }
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.socket {
            Socket::Udp(socket) => socket.as_fd(),
            Socket::Tcp(socket) => socket.as_fd(),
            Socket::Tls(stream) => stream.sock.as_fd(),
            Socket::Unix(socket) => socket.as_fd(),
            Socket::Datagram(socket) => socket.as_fd(),
        }
    }
}

fn closed() -> io::Error {
    io::Error::new(
        io::ErrorKind::ConnectionReset,
        "the receiver has closed the connection",
    )
}

/// Waits until one of the descriptors is readable, at most so long.
pub(crate) fn wait(fds: &[BorrowedFd<'_>], limit: Option<Duration>) -> io::Result<Vec<bool>> {
    let mut polled: Vec<PollFd<'_>> = fds
        .iter()
        .map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN))
        .collect();
    let limit = limit.map(|limit| Timespec {
        tv_sec: i64::try_from(limit.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: limit.subsec_nanos().into(),
    });
    match poll(&mut polled, limit.as_ref()) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(polled.iter().map(|fd| !fd.revents().is_empty()).collect())
}

fn pause(time: Duration) -> io::Result<()> {
    wait(&[], Some(time)).map(drop)
}

fn is_readable(fd: BorrowedFd<'_>) -> io::Result<bool> {
    Ok(wait(&[fd], Some(Duration::ZERO))?.contains(&true))
}

fn drop_input(fd: BorrowedFd<'_>) -> io::Result<()> {
    let mut buffer = [0_u8; 1024];
    loop {
        match rustix::net::recv(fd, &mut buffer, RecvFlags::DONTWAIT) {
            Ok((0, _)) => return Err(closed()),
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(rustix::io::Errno::AGAIN) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}

fn addresses(host: &str) -> io::Result<Vec<std::net::SocketAddr>> {
    let found: Vec<_> = host.to_socket_addrs()?.collect();
    if found.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "no such host"));
    }
    Ok(found)
}

fn tcp(host: &str, limit: Duration) -> io::Result<TcpStream> {
    let mut outcome = Err(closed());
    for address in addresses(host)? {
        outcome = TcpStream::connect_timeout(&address, TIMEOUT);
        if outcome.is_ok() {
            break;
        }
    }
    let stream = outcome?;
    stream.set_nodelay(true)?;
    stream.set_write_timeout(Some(limit))?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    Ok(stream)
}

fn udp(host: &str) -> io::Result<UdpSocket> {
    let mut outcome = Err(closed());
    for address in addresses(host)? {
        let any = if address.is_ipv4() {
            "0.0.0.0:0"
        } else {
            "[::]:0"
        };
        outcome = UdpSocket::bind(any).and_then(|socket| {
            socket.connect(address)?;
            Ok(socket)
        });
        if outcome.is_ok() {
            break;
        }
    }
    outcome
}

fn unix(path: &Path, limit: Duration) -> io::Result<UnixStream> {
    let stream = UnixStream::connect(path)?;
    stream.set_write_timeout(Some(limit))?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    Ok(stream)
}

fn datagram(path: &Path, limit: Duration) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.connect(path)?;
    socket.set_write_timeout(Some(limit))?;
    Ok(socket)
}

fn local_syslog(limit: Duration) -> io::Result<Socket> {
    for path in SYSLOG_PATHS.map(Path::new) {
        if let Ok(socket) = datagram(path, limit) {
            return Ok(Socket::Datagram(socket));
        }
        if let Ok(stream) = unix(path, limit) {
            return Ok(Socket::Unix(stream));
        }
    }
    Err(io::Error::new(
        io::ErrorKind::NotFound,
        "Unix syslog delivery error",
    ))
}
