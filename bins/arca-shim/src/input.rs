//! The standard input of a process.

use std::os::fd::OwnedFd;

use rustix::io::Errno;

/// Clients are not read while more than this waits for the process.
const FULL: usize = 64 << 10;

/// The writing end of a pipe, or the master of a terminal, with what it has not taken yet.
#[derive(Debug, Default)]
pub(crate) struct Input {
    fd: Option<OwnedFd>,
    queue: Vec<u8>,
    written: usize,
    closing: bool,
}

impl Input {
    pub(crate) fn new(fd: Option<OwnedFd>) -> Self {
        Self {
            fd,
            ..Self::default()
        }
    }

    /// The descriptor, unless input has ended.
    pub(crate) fn fd(&self) -> Option<&OwnedFd> {
        self.fd.as_ref()
    }

    /// Can the process still get anything?
    pub(crate) fn is_open(&self) -> bool {
        self.fd.is_some() && !self.closing
    }

    /// Does enough wait that clients have to?
    pub(crate) fn is_full(&self) -> bool {
        self.queue.len() - self.written >= FULL
    }

    /// Is there something to be written when the process takes it?
    pub(crate) fn wants_write(&self) -> bool {
        self.fd.is_some() && self.written < self.queue.len()
    }

    /// Passes bytes on, or keeps them. Bytes for a process that has closed its end are dropped.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        if !self.is_open() {
            return;
        }
        if self.wants_write() {
            self.queue.extend_from_slice(bytes);
            return;
        }
        let taken = self.write(bytes);
        self.queue.clear();
        self.written = 0;
        self.queue
            .extend_from_slice(bytes.get(taken..).unwrap_or_default());
    }

    /// Writes what waits.
    pub(crate) fn flush(&mut self) {
        let queue = std::mem::take(&mut self.queue);
        self.written += self.write(queue.get(self.written..).unwrap_or_default());
        if self.written < queue.len() {
            self.queue = queue;
        } else {
            self.written = 0;
        }
        self.close_when_done();
    }

    /// The end of input, after what waits.
    pub(crate) fn close(&mut self) {
        self.closing = true;
        self.close_when_done();
    }

    fn close_when_done(&mut self) {
        if self.closing && !self.wants_write() {
            self.fd = None;
        }
    }

    /// Writes as much as is taken now. Bytes that nobody can take any more count as written.
    fn write(&mut self, bytes: &[u8]) -> usize {
        let mut taken = 0;
        while let Some(fd) = &self.fd
            && let Some(rest) = bytes.get(taken..).filter(|rest| !rest.is_empty())
        {
            match rustix::io::write(fd, rest) {
                Ok(count) => taken += count,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return taken,
                Err(_gone) => self.fd = None,
            }
        }
        bytes.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pipe() -> (OwnedFd, Input) {
        let flags = rustix::pipe::PipeFlags::NONBLOCK;
        let (reader, writer) = rustix::pipe::pipe_with(flags).unwrap();
        (reader, Input::new(Some(writer)))
    }

    fn drain(reader: &OwnedFd) -> (usize, bool) {
        let mut buffer = vec![0; 1 << 20];
        let mut total = 0;
        loop {
            match rustix::io::read(reader, &mut buffer) {
                Ok(0) => return (total, true),
                Ok(count) => total += count,
                Err(_again) => return (total, false),
            }
        }
    }

    #[test]
    fn what_does_not_fit_waits_and_the_end_comes_after_it() {
        let (reader, mut input) = pipe();
        input.push(&vec![7; 300_000]);
        assert!(input.is_full() && input.wants_write());
        input.close();
        let mut total = 0;
        loop {
            let (count, ended) = drain(&reader);
            total += count;
            if ended {
                break;
            }
            input.flush();
        }
        assert_eq!(total, 300_000);
        assert!(input.fd().is_none());
    }

    #[test]
    fn a_process_that_reads_no_more_gets_nothing() {
        let (reader, mut input) = pipe();
        drop(reader);
        input.push(b"lost");
        assert!(!input.is_open() && !input.wants_write());
    }
}
