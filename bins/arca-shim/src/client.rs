//! A client that is attached to a process.

use std::io::IoSlice;
use std::os::fd::OwnedFd;

use arca_shim_proto::{AttachEnd, AttachSpec};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags, Shutdown, recv, sendmsg, shutdown};

use crate::detach::Scanner;

/// The process waits while a client has more than this to take.
const FULL: usize = 256 << 10;

/// How much a unix socket may hold.
const BUFFER: usize = 512 << 10;

/// Who hears of the end of the session.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Owner {
    pub(crate) connection: u32,
    pub(crate) session: u64,
}

/// The connection of a client, and what it has not taken yet.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) socket: OwnedFd,
    pub(crate) process: u32,
    pub(crate) owner: Owner,
    /// Forward what it sends.
    pub(crate) stdin: bool,
    streams: [bool; 2],
    framed: bool,
    scanner: Scanner,
    /// What it had sent before it was handed over.
    early: Vec<u8>,
    queue: Vec<u8>,
    sent: usize,
    /// Nothing more is coming; close when it has taken everything.
    pub(crate) ending: Option<AttachEnd>,
    /// It has hung up; what it had sent before is still to be read.
    pub(crate) hung_up: bool,
    /// What is registered with the poller: reading, writing; `None` when it is not registered.
    pub(crate) registered: Option<(bool, bool)>,
}

/// What came from a client.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Received {
    /// Nothing at the moment.
    Nothing,
    /// Bytes were appended.
    Bytes,
    /// The detach keys, after the bytes that were appended.
    Detach,
    /// The end.
    End,
}

/// The client is gone.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Gone;

impl Client {
    pub(crate) fn new(
        spec: AttachSpec,
        socket: OwnedFd,
        process: u32,
        owner: Owner,
        tty: bool,
    ) -> Self {
        // As in dockerd, only a terminal has detach keys.
        let keys = if tty { spec.detach_keys } else { Vec::new() };
        enlarge(&socket);
        Self {
            socket,
            process,
            owner,
            stdin: spec.stdin,
            streams: [spec.stdout, spec.stderr],
            framed: spec.framed,
            scanner: Scanner::new(keys),
            early: spec.early,
            queue: Vec::new(),
            sent: 0,
            ending: None,
            hung_up: false,
            registered: None,
        }
    }

    /// Has it taken so little that the process has to wait?
    pub(crate) fn is_full(&self) -> bool {
        self.ending.is_none() && self.queue.len() - self.sent >= FULL
    }

    pub(crate) fn wants_write(&self) -> bool {
        self.sent < self.queue.len()
    }

    /// Sends a piece of output, or keeps it.
    pub(crate) fn send(&mut self, stream: u8, bytes: &[u8]) -> Result<(), Gone> {
        if self.streams.get(usize::from(stream)) != Some(&true) || self.ending.is_some() {
            return Ok(());
        }
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes();
        let [l0, l1, l2, l3] = length;
        let header = [stream + 1, 0, 0, 0, l0, l1, l2, l3];
        let header = if self.framed { &header[..] } else { &[] };
        let mut taken = 0;
        if !self.wants_write() {
            self.queue.clear();
            self.sent = 0;
            taken = write(&self.socket, header, bytes)?;
        }
        if let Some(rest) = header.get(taken..) {
            self.queue.extend_from_slice(rest);
        }
        let rest = bytes
            .get(taken.saturating_sub(header.len())..)
            .unwrap_or_default();
        self.queue.extend_from_slice(rest);
        Ok(())
    }

    /// Sends what was kept.
    pub(crate) fn flush(&mut self) -> Result<(), Gone> {
        self.sent += write(
            &self.socket,
            &[],
            self.queue.get(self.sent..).unwrap_or_default(),
        )?;
        if !self.wants_write() {
            self.queue = Vec::new();
            self.sent = 0;
        }
        Ok(())
    }

    /// Is what it sends wanted?
    pub(crate) fn reads(&self) -> bool {
        self.stdin && self.ending.is_none()
    }

    /// Does it get any output?
    pub(crate) fn has_output(&self) -> bool {
        self.streams.contains(&true)
    }

    /// What the client had sent before it was handed over.
    pub(crate) fn take_early(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.early)
    }

    /// Looks for the detach keys, and appends the rest.
    pub(crate) fn scan(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Received {
        if self.scanner.scan(bytes, out) {
            Received::Detach
        } else {
            Received::Bytes
        }
    }

    /// Reads what the client sends.
    pub(crate) fn receive(&mut self, scratch: &mut [u8], out: &mut Vec<u8>) -> Received {
        loop {
            match recv(&self.socket, &mut *scratch, RecvFlags::DONTWAIT) {
                Ok((_, 0)) => return Received::End,
                Ok((_, count)) => {
                    let bytes = scratch.get(..count).unwrap_or_default();
                    return self.scan(bytes, out);
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Received::Nothing,
                Err(_gone) => return Received::End,
            }
        }
    }

    /// Closes the connection. What the client has sent is read first: closing over it would make the
    /// client lose what it has not read yet.
    pub(crate) fn close(self) {
        // It may have closed its side already; nothing is to be done then.
        drop(shutdown(&self.socket, Shutdown::Write).map_err(std::io::Error::from));
        let mut rest = [0; 4096];
        for _ in 0..256 {
            match recv(&self.socket, &mut rest, RecvFlags::DONTWAIT) {
                Ok((_, 1..)) => {}
                _ => return,
            }
        }
    }
}

/// Lets a unix socket hold more, if that is allowed: fewer switches between shim and client. The sizes
/// of other sockets are the kernel's own business.
fn enlarge(socket: &OwnedFd) {
    if rustix::net::sockopt::socket_domain(socket) == Ok(rustix::net::AddressFamily::UNIX) {
        let set = rustix::net::sockopt::set_socket_send_buffer_size_force(socket, BUFFER);
        drop(set.map_err(std::io::Error::from));
    }
}

/// Sends as much of both pieces as is taken now.
fn write(socket: &OwnedFd, header: &[u8], bytes: &[u8]) -> Result<usize, Gone> {
    let total = header.len() + bytes.len();
    let mut taken = 0;
    while taken < total {
        let pieces = [
            IoSlice::new(header.get(taken..).unwrap_or_default()),
            IoSlice::new(
                bytes
                    .get(taken.saturating_sub(header.len())..)
                    .unwrap_or_default(),
            ),
        ];
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        match sendmsg(socket, &pieces, &mut SendAncillaryBuffer::default(), flags) {
            Ok(count) => taken += count,
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return Ok(taken),
            Err(_gone) => return Err(Gone),
        }
    }
    Ok(taken)
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::net::UnixStream;

    use super::*;

    fn client(framed: bool) -> (UnixStream, Client) {
        let (theirs, ours) = UnixStream::pair().unwrap();
        let spec = AttachSpec {
            stdout: true,
            stdin: true,
            framed,
            detach_keys: vec![1],
            ..AttachSpec::default()
        };
        let owner = Owner {
            connection: 0,
            session: 0,
        };
        (theirs, Client::new(spec, ours.into(), 0, owner, true))
    }

    #[test]
    fn output_is_framed_and_other_streams_are_left_out() {
        let (mut theirs, mut client) = client(true);
        client.send(0, b"out").unwrap();
        client.send(1, b"err").unwrap();
        client.close();
        let mut got = Vec::new();
        theirs.read_to_end(&mut got).unwrap();
        assert_eq!(got, b"\x01\0\0\0\0\0\0\x03out");
    }

    #[test]
    fn a_slow_client_gets_everything_in_order() {
        let (mut theirs, mut client) = client(false);
        let mut sent = Vec::new();
        for round in 0..100_u8 {
            let piece = vec![round; 20_000];
            client.send(0, &piece).unwrap();
            sent.extend(piece);
        }
        assert!(client.is_full());
        let reader = std::thread::spawn(move || {
            let mut got = Vec::new();
            theirs.read_to_end(&mut got).unwrap();
            got
        });
        while client.wants_write() {
            client.flush().unwrap();
        }
        client.close();
        assert_eq!(reader.join().unwrap(), sent);
    }

    #[test]
    fn a_client_that_vanished_is_noticed() {
        let (theirs, mut client) = client(true);
        drop(theirs);
        assert_eq!(client.send(0, b"x"), Err(Gone));
    }
}
