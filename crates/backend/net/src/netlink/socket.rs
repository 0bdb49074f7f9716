//! A netlink socket: requests with their answers, dumps, notifications.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use rustix::io::Errno;
use rustix::net::netlink::{self, SocketAddrNetlink};
use rustix::net::{AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType};

use super::message::{ACK, DUMP, Message, Received, messages, u32_at};

/// `NLMSG_ERROR`: an error, or with the number 0 the confirmation that was asked for.
const ERROR: u16 = 2;
/// `NLMSG_DONE`: the end of a dump.
const DONE: u16 = 3;
/// Enough for the longest datagram the kernel sends.
const BUFFER: usize = 64 * 1024;

/// A netlink socket. It belongs to the network namespace of the thread that opened it, for ever.
#[derive(Debug)]
pub(crate) struct Socket {
    fd: OwnedFd,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Socket {
    /// Opens a socket for links, addresses and routes (rtnetlink(7)).
    pub(crate) fn route() -> io::Result<Self> {
        // Routes are netlink's protocol 0.
        Self::open(None, 0)
    }

    /// Opens a socket for the firewall and for connection tracking.
    pub(crate) fn netfilter() -> io::Result<Self> {
        Self::open(Some(netlink::NETFILTER), 0)
    }

    /// Opens a socket that receives the notifications of the groups in the mask `groups`.
    pub(crate) fn notifications(groups: u32) -> io::Result<Self> {
        Self::open(Some(netlink::NETFILTER), groups)
    }

    /// Opens a socket that receives notifications of links, addresses and routes.
    pub(crate) fn route_notifications(groups: u32) -> io::Result<Self> {
        Self::open(None, groups)
    }

    fn open(protocol: Option<Protocol>, groups: u32) -> io::Result<Self> {
        let fd = rustix::net::socket_with(
            AddressFamily::NETLINK,
            SocketType::RAW,
            SocketFlags::CLOEXEC,
            protocol,
        )?;
        rustix::net::bind(&fd, &SocketAddrNetlink::new(0, groups))?;
        Ok(Self {
            fd,
            sequence: 0,
            buffer: vec![0; BUFFER],
        })
    }

    /// The number by which the kernel names this socket in notifications.
    pub(crate) fn port(&self) -> io::Result<u32> {
        let address = rustix::net::getsockname(&self.fd)?;
        Ok(SocketAddrNetlink::try_from(address)?.pid())
    }

    /// Sends requests in one datagram and returns the first error among their answers.
    ///
    /// The kernel has handled all of them when `send` returns. A request after a failed one is carried out
    /// all the same, but for those of a batch of nf_tables.
    pub(crate) fn request(&mut self, requests: Vec<Message>) -> io::Result<()> {
        let bytes = self.assemble(requests);
        if bytes.len() > BUFFER {
            // Not fatal here when refused: a datagram that is too long fails by itself.
            let _best_effort = rustix::net::sockopt::set_socket_send_buffer_size(
                &self.fd,
                bytes.len().saturating_mul(2),
            );
        }
        rustix::net::send(&self.fd, &bytes, SendFlags::empty())?;
        self.answers()
    }

    /// Sends one request and calls `each` with the payload of each message of the answer.
    pub(crate) fn get(
        &mut self,
        request: Message,
        mut each: impl FnMut(Received<'_>),
    ) -> io::Result<()> {
        let bytes = self.assemble(vec![request]);
        rustix::net::send(&self.fd, &bytes, SendFlags::empty())?;
        loop {
            let (_, length) =
                rustix::net::recv(&self.fd, self.buffer.as_mut_slice(), RecvFlags::empty())?;
            for message in messages(self.buffer.get(..length).unwrap_or_default()) {
                match message.kind {
                    ERROR => return outcome(&message),
                    DONE => return Ok(()),
                    _ => each(message),
                }
            }
        }
    }

    /// Sends a request for one object and calls `each` with the payload of the answer, if there is one.
    pub(crate) fn get_one(
        &mut self,
        request: Message,
        mut each: impl FnMut(&[u8]),
    ) -> io::Result<()> {
        self.get(request, |message| each(message.payload))
    }

    /// Sends a dump request and calls `each` with each message of the answer.
    pub(crate) fn dump(
        &mut self,
        mut request: Message,
        each: impl FnMut(Received<'_>),
    ) -> io::Result<()> {
        request.flag(DUMP);
        self.get(request, each)
    }

    /// Receives what has been notified, without waiting: `WouldBlock` when there is nothing.
    pub(crate) fn receive(&mut self, each: impl FnMut(Received<'_>)) -> io::Result<()> {
        let (_, length) =
            rustix::net::recv(&self.fd, self.buffer.as_mut_slice(), RecvFlags::DONTWAIT)?;
        messages(self.buffer.get(..length).unwrap_or_default()).for_each(each);
        Ok(())
    }

    /// Joins the requests; only the last one asks for a confirmation, errors come for each.
    fn assemble(&mut self, requests: Vec<Message>) -> Vec<u8> {
        let last = requests.len().saturating_sub(1);
        let mut bytes = Vec::new();
        for (index, mut request) in requests.into_iter().enumerate() {
            if index == last {
                request.flag(ACK);
            }
            self.sequence = self.sequence.wrapping_add(1);
            bytes.append(&mut request.finish(self.sequence));
        }
        bytes
    }

    /// Reads every answer that is there.
    fn answers(&mut self) -> io::Result<()> {
        let mut result = Ok(());
        loop {
            let received =
                rustix::net::recv(&self.fd, self.buffer.as_mut_slice(), RecvFlags::DONTWAIT);
            let length = match received {
                Ok((_, length)) => length,
                Err(Errno::AGAIN) => return result,
                Err(errno) => return Err(errno.into()),
            };
            for message in messages(self.buffer.get(..length).unwrap_or_default()) {
                if message.kind == ERROR && result.is_ok() {
                    result = outcome(&message);
                }
            }
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

/// What an error message says.
fn outcome(message: &Received<'_>) -> io::Result<()> {
    let code = u32_at(message.payload, 0).map_or(0, u32::cast_signed);
    match code {
        0 => Ok(()),
        code => Err(io::Error::from_raw_os_error(code.wrapping_neg())),
    }
}
