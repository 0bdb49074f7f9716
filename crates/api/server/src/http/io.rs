//! The byte stream of one connection, shared so that its end can be watched while it is written to.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::BufMut as _;
use rustix::net::RecvFlags;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use super::raw::Rewriter;

/// Bytes read at a time. hyper's buffers grow with what a read gives; those of this size come out of memory
/// that the allocator keeps, larger ones would be mapped, cleared and unmapped each time.
const PIECE: usize = 64 << 10;

/// A client's socket.
#[derive(Debug)]
pub enum Socket {
    /// A unix socket.
    Unix(UnixStream),
    /// TCP.
    Tcp(TcpStream),
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Unix(stream) => stream.as_fd(),
            Self::Tcp(stream) => stream.as_fd(),
        }
    }
}

impl Socket {
    fn try_read(&self, buffer: &mut ReadBuf<'_>) -> io::Result<usize> {
        let mut piece = buffer.limit(PIECE);
        match self {
            Self::Unix(stream) => stream.try_read_buf(&mut piece),
            Self::Tcp(stream) => stream.try_read_buf(&mut piece),
        }
    }

    fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Unix(stream) => stream.try_write_vectored(slices),
            Self::Tcp(stream) => stream.try_write_vectored(slices),
        }
    }

    fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Unix(stream) => stream.poll_read_ready(cx),
            Self::Tcp(stream) => stream.poll_read_ready(cx),
        }
    }

    fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Unix(stream) => stream.poll_write_ready(cx),
            Self::Tcp(stream) => stream.poll_write_ready(cx),
        }
    }

    fn poll_write(&self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.poll_write_ready(cx))?;
            match self.try_write(slices) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return Poll::Ready(result),
            }
        }
    }

    /// Waits until the client has closed its side; for ever when it sends more instead.
    pub(super) async fn closed(&self) {
        loop {
            let ready = match self {
                Self::Unix(stream) => stream.ready(Interest::READABLE).await,
                Self::Tcp(stream) => stream.ready(Interest::READABLE).await,
            };
            if ready.is_err() {
                return;
            }
            let peek = || {
                let mut byte = [0];
                let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
                Ok(rustix::net::recv(self.as_fd(), byte.as_mut_slice(), flags)?.0)
            };
            let peeked = match self {
                Self::Unix(stream) => stream.try_io(Interest::READABLE, peek),
                Self::Tcp(stream) => stream.try_io(Interest::READABLE, peek),
            };
            match peeked {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Ok(0) | Err(_) => return,
                // the next request came early: it is read when this one is answered
                Ok(_) => std::future::pending().await,
            }
        }
    }

    /// Sends all of `bytes`.
    pub(super) async fn send(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match std::future::poll_fn(|cx| self.poll_write(cx, &[IoSlice::new(bytes)])).await? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                sent => bytes = bytes.get(sent..).unwrap_or_default(),
            }
        }
        Ok(())
    }

    /// A descriptor of its own for whoever carries the connection on.
    pub(super) fn descriptor(&self) -> io::Result<OwnedFd> {
        self.as_fd().try_clone_to_owned()
    }
}

/// The reading and writing side that hyper gets.
#[derive(Debug)]
pub(super) struct Io {
    socket: Arc<Socket>,
    /// Lets clients hijack without asking for an upgrade.
    rewriter: Arc<Rewriter>,
}

impl Io {
    pub(super) fn new(socket: Arc<Socket>, rewriter: Arc<Rewriter>) -> Self {
        Self { socket, rewriter }
    }

    pub(super) fn into_socket(self) -> Arc<Socket> {
        self.socket
    }

    /// Writes what the rewriter holds back.
    fn poll_pending(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(bytes) = self.rewriter.to_send() {
            match ready!(self.socket.poll_write(cx, &[IoSlice::new(&bytes)]))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                sent => self.rewriter.sent(sent),
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Io {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.rewriter.give(buffer) {
            return Poll::Ready(Ok(()));
        }
        loop {
            ready!(self.socket.poll_read_ready(cx))?;
            let before = buffer.filled().len();
            match self.socket.try_read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
                Ok(_length) => {
                    self.rewriter.incoming(buffer, before);
                    return Poll::Ready(Ok(()));
                }
            }
        }
    }
}

impl AsyncWrite for Io {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_pending(cx))?;
        if let Some(taken) = self.rewriter.outgoing(slices) {
            return Poll::Ready(Ok(taken));
        }
        self.socket.poll_write(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_pending(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_pending(cx))?;
        match rustix::net::shutdown(self.socket.as_fd(), rustix::net::Shutdown::Write) {
            // the client was quicker
            Ok(()) | Err(rustix::io::Errno::NOTCONN) => Poll::Ready(Ok(())),
            Err(error) => Poll::Ready(Err(error.into())),
        }
    }
}
