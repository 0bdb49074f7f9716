//! Frames over a non-blocking unix stream socket.

use std::collections::VecDeque;
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

use crate::frame::{Frame, FrameError, HEADER, Header, MAX_DESCRIPTORS};

/// A channel that can no longer be used.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// The socket failed.
    #[error("shim socket")]
    Socket(#[source] std::io::Error),
    /// The other side sent what is no frame.
    #[error("shim protocol")]
    Frame(#[source] FrameError),
    /// The other side announced descriptors that did not come.
    #[error("shim protocol: a frame came without its descriptors")]
    MissingDescriptors,
}

/// Both directions of a connection. It never blocks: the caller waits for the descriptor to become
/// readable, or writable while [`Channel::wants_write`].
#[derive(Debug)]
pub struct Channel {
    socket: OwnedFd,
    input: Vec<u8>,
    received: VecDeque<OwnedFd>,
    output: VecDeque<Outgoing>,
    closed: bool,
}

#[derive(Debug)]
struct Outgoing {
    bytes: Vec<u8>,
    sent: usize,
    descriptors: Vec<OwnedFd>,
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// For tokio's `AsyncFd`, which asks for it.
impl AsRawFd for Channel {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

impl Channel {
    /// Takes over a connected unix stream socket and makes it non-blocking.
    ///
    /// # Errors
    /// When the descriptor refuses to become non-blocking.
    pub fn new(socket: OwnedFd) -> std::io::Result<Self> {
        rustix::io::ioctl_fionbio(&socket, true)?;
        Ok(Self {
            socket,
            input: Vec::new(),
            received: VecDeque::new(),
            output: VecDeque::new(),
            closed: false,
        })
    }

    /// Queues a frame; [`Channel::flush`] sends it. Descriptors past [`MAX_DESCRIPTORS`] are refused.
    ///
    /// # Errors
    /// [`FrameError::TooLarge`] when there are too many descriptors.
    pub fn push(&mut self, frame: &Frame, descriptors: Vec<OwnedFd>) -> Result<(), FrameError> {
        let count = u8::try_from(descriptors.len()).ok();
        let count = count.filter(|count| usize::from(*count) <= MAX_DESCRIPTORS);
        let Some(count) = count else {
            return Err(FrameError::TooLarge {
                bytes: frame.payload.len(),
                descriptors: descriptors.len(),
            });
        };
        self.output.push_back(Outgoing {
            bytes: frame.to_bytes(count),
            sent: 0,
            descriptors,
        });
        Ok(())
    }

    /// Is something queued that the socket has not taken yet?
    #[must_use]
    pub fn wants_write(&self) -> bool {
        !self.output.is_empty()
    }

    /// How many frames are queued.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.output.len()
    }

    /// Has the other side closed?
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// Sends what is queued, as far as the socket takes it now.
    ///
    /// # Errors
    /// [`ChannelError::Socket`], for example when the other side is gone.
    pub fn flush(&mut self) -> Result<(), ChannelError> {
        while let Some(next) = self.output.front_mut() {
            let rest = next.bytes.get(next.sent..).unwrap_or_default();
            match send(self.socket.as_fd(), rest, &next.descriptors) {
                Ok(count) => {
                    next.sent += count;
                    next.descriptors.clear();
                    if next.sent >= next.bytes.len() {
                        self.output.pop_front();
                    }
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(()),
                Err(error) => return Err(ChannelError::Socket(error.into())),
            }
        }
        Ok(())
    }

    /// Reads what has arrived until nothing more is there; then [`Channel::next_frame`] yields it.
    ///
    /// # Errors
    /// [`ChannelError::Socket`] when reading fails otherwise than by the other side's closing.
    pub fn fill(&mut self) -> Result<(), ChannelError> {
        loop {
            match receive(self.socket.as_fd(), &mut self.input, &mut self.received) {
                Ok(0) | Err(Errno::CONNRESET) => {
                    self.closed = true;
                    return Ok(());
                }
                Ok(_) | Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(()),
                Err(error) => return Err(ChannelError::Socket(error.into())),
            }
        }
    }

    /// Takes the next complete frame, with its descriptors, from what was read.
    ///
    /// # Errors
    /// When the bytes are no frame: the connection is of no use any more.
    pub fn next_frame(&mut self) -> Result<Option<(Frame, Vec<OwnedFd>)>, ChannelError> {
        let Some(header) = Header::parse(&self.input).map_err(ChannelError::Frame)? else {
            return Ok(None);
        };
        let Some(payload) = self.input.get(HEADER..HEADER + header.length) else {
            return Ok(None);
        };
        if self.received.len() < header.descriptors {
            return Err(ChannelError::MissingDescriptors);
        }
        let frame = Frame {
            kind: header.kind,
            number: header.number,
            payload: payload.to_vec(),
        };
        self.input.drain(..HEADER + header.length);
        if self.input.is_empty() {
            self.input.shrink_to(4096);
        }
        Ok(Some((
            frame,
            self.received.drain(..header.descriptors).collect(),
        )))
    }
}

fn send(socket: BorrowedFd<'_>, bytes: &[u8], descriptors: &[OwnedFd]) -> Result<usize, Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let borrowed: Vec<BorrowedFd<'_>> = descriptors.iter().map(AsFd::as_fd).collect();
    if !borrowed.is_empty() && !control.push(SendAncillaryMessage::ScmRights(&borrowed)) {
        return Err(Errno::INVAL);
    }
    sendmsg(
        socket,
        &[IoSlice::new(bytes)],
        &mut control,
        SendFlags::NOSIGNAL | SendFlags::DONTWAIT,
    )
}

fn receive(
    socket: BorrowedFd<'_>,
    input: &mut Vec<u8>,
    received: &mut VecDeque<OwnedFd>,
) -> Result<usize, Errno> {
    let mut buffer = [0_u8; 16 << 10];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let result = recvmsg(
        socket,
        &mut [IoSliceMut::new(&mut buffer)],
        &mut control,
        RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT,
    )?;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(descriptors) = message {
            received.extend(descriptors);
        }
    }
    input.extend_from_slice(buffer.get(..result.bytes).unwrap_or_default());
    Ok(result.bytes)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::frame::FrameKind;
    use crate::message::{Event, Failure, FailureKind, KillRequest, Request, Response};

    fn pair() -> (Channel, Channel) {
        let (left, right) = UnixStream::pair().unwrap();
        (
            Channel::new(left.into()).unwrap(),
            Channel::new(right.into()).unwrap(),
        )
    }

    #[test]
    fn frames_arrive_in_order_with_their_descriptors() {
        let (mut left, mut right) = pair();
        let (_reader, writer) = rustix::pipe::pipe().unwrap();
        let kill = Request::Kill(KillRequest {
            exec: None,
            signal: arca_types::Signal::TERM,
        });
        for (number, descriptors) in [(1, vec![]), (2, vec![writer]), (3, vec![])] {
            let frame = Frame::encode(FrameKind::Request, number, &kill).unwrap();
            left.push(&frame, descriptors).unwrap();
        }
        left.flush().unwrap();
        right.fill().unwrap();

        let mut seen = Vec::new();
        while let Some((frame, descriptors)) = right.next_frame().unwrap() {
            assert!(matches!(frame.decode().unwrap(), Request::Kill(_)));
            seen.push((frame.number, descriptors.len()));
        }
        assert_eq!(seen, [(1, 0), (2, 1), (3, 0)]);
    }

    #[test]
    fn a_frame_larger_than_the_socket_buffer_arrives_in_pieces() {
        let (mut left, mut right) = pair();
        let failure = Failure::new(FailureKind::Internal, "x".repeat(3 << 20));
        let response = Response::Failed(failure.clone());
        let frame = Frame::encode(FrameKind::Response, 7, &response).unwrap();
        left.push(&frame, vec![]).unwrap();
        let got = loop {
            left.flush().unwrap();
            right.fill().unwrap();
            if let Some((frame, _)) = right.next_frame().unwrap() {
                break frame;
            }
        };
        assert!(!left.wants_write());
        assert!(matches!(got.decode().unwrap(), Response::Failed(back) if back == failure));
    }

    #[test]
    fn closing_is_seen_after_the_last_frame() {
        let (mut left, mut right) = pair();
        let frame = Frame::encode(FrameKind::Event, 0, &Event::Oom).unwrap();
        left.push(&frame, vec![]).unwrap();
        left.flush().unwrap();
        drop(left);
        right.fill().unwrap();
        assert!(right.next_frame().unwrap().is_some());
        assert!(right.is_closed());
    }

    #[test]
    fn an_oversized_frame_is_refused() {
        let (left, mut right) = pair();
        let mut header = vec![0xff, 0xff, 0xff, 0xff, 1, 0, 0, 0];
        header.extend_from_slice(&[0; 8]);
        rustix::io::write(&left, &header).unwrap();
        right.fill().unwrap();
        assert!(matches!(
            right.next_frame(),
            Err(ChannelError::Frame(FrameError::TooLarge { .. }))
        ));
    }

    #[test]
    fn what_is_newer_is_tolerated() {
        let frame = |text: &str| Frame {
            kind: FrameKind::Response,
            number: 1,
            payload: text.as_bytes().to_vec(),
        };
        let known = frame(r#"{"failed":{"kind":"of-2031","message":"m","hint":1}}"#);
        assert!(matches!(
            known.decode().unwrap(),
            Response::Failed(Failure {
                kind: FailureKind::Internal,
                ..
            })
        ));
        assert!(frame(r#"{"of-2031":{}}"#).decode::<Response>().is_err());
    }
}
