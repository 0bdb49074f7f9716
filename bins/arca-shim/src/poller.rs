//! Readiness of descriptors.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io::Errno;

/// What a descriptor belongs to. Numbers are never used twice, so that a late event of something that
/// is gone finds nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Token {
    /// A child has ended.
    Children,
    /// arcad connects.
    Listener,
    /// A connection of arcad.
    Connection(u32),
    /// A helper answers.
    Helper(u32),
    /// A process writes to stream 0 (standard output or terminal) or 1 (standard error).
    Source(u32, u8),
    /// A process takes input.
    Input(u32),
    /// An attached client.
    Client(u32),
    /// Memory has run out, or so it seems.
    Oom,
}

impl Token {
    const fn pack(self) -> u64 {
        const fn of(kind: u64, number: u32, stream: u8) -> u64 {
            kind << 56 | (stream as u64) << 32 | number as u64
        }
        match self {
            Self::Children => of(0, 0, 0),
            Self::Listener => of(1, 0, 0),
            Self::Connection(number) => of(2, number, 0),
            Self::Helper(number) => of(3, number, 0),
            Self::Source(number, stream) => of(4, number, stream),
            Self::Input(number) => of(5, number, 0),
            Self::Client(number) => of(6, number, 0),
            Self::Oom => of(7, 0, 0),
        }
    }

    fn unpack(data: u64) -> Option<Self> {
        let [n0, n1, n2, n3, stream, _, _, kind] = data.to_le_bytes();
        let number = u32::from_le_bytes([n0, n1, n2, n3]);
        Some(match kind {
            0 => Self::Children,
            1 => Self::Listener,
            2 => Self::Connection(number),
            3 => Self::Helper(number),
            4 => Self::Source(number, stream),
            5 => Self::Input(number),
            6 => Self::Client(number),
            7 => Self::Oom,
            _ => return None,
        })
    }
}

/// What is ready.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ready {
    pub(crate) token: Token,
    /// Both directions are closed, or it failed.
    pub(crate) hung_up: bool,
}

/// The set of descriptors that are waited for.
pub(crate) struct Poller {
    epoll: OwnedFd,
    events: Vec<epoll::Event>,
}

/// Wake for reading, for writing.
pub(crate) const READ: EventFlags = EventFlags::IN;
pub(crate) const WRITE: EventFlags = EventFlags::OUT;

impl Poller {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            epoll: epoll::create(CreateFlags::CLOEXEC)?,
            events: Vec::with_capacity(32),
        })
    }

    pub(crate) fn add(&self, fd: impl AsFd, token: Token, flags: EventFlags) -> io::Result<()> {
        Ok(epoll::add(
            &self.epoll,
            fd,
            EventData::new_u64(token.pack()),
            flags,
        )?)
    }

    pub(crate) fn change(&self, fd: impl AsFd, token: Token, flags: EventFlags) -> io::Result<()> {
        Ok(epoll::modify(
            &self.epoll,
            fd,
            EventData::new_u64(token.pack()),
            flags,
        )?)
    }

    /// Forgets a descriptor; it may be unknown.
    pub(crate) fn remove(&self, fd: impl AsFd) {
        // ENOENT is what is wanted; nothing else can happen to two open descriptors.
        drop(epoll::delete(&self.epoll, fd).map_err(io::Error::from));
    }

    /// Waits until something is ready or the time is up.
    pub(crate) fn wait(
        &mut self,
        timeout: Option<Duration>,
        ready: &mut Vec<Ready>,
    ) -> io::Result<()> {
        ready.clear();
        self.events.clear();
        let timeout = timeout.map(|timeout| Timespec {
            tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: timeout.subsec_nanos().into(),
        });
        match epoll::wait(
            &self.epoll,
            spare_capacity(&mut self.events),
            timeout.as_ref(),
        ) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        ready.extend(self.events.iter().filter_map(|event| {
            let (flags, data) = (event.flags, event.data);
            Some(Ready {
                token: Token::unpack(data.u64())?,
                hung_up: flags.intersects(EventFlags::HUP | EventFlags::ERR),
            })
        }));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_survive_packing() {
        for token in [
            Token::Children,
            Token::Listener,
            Token::Connection(7),
            Token::Helper(u32::MAX),
            Token::Source(3, 1),
            Token::Input(1),
            Token::Client(9),
            Token::Oom,
        ] {
            assert_eq!(Token::unpack(token.pack()), Some(token));
        }
    }
}
