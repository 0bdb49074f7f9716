//! A thread that reads what the kernel notifies.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::Errno;

use super::Socket;
use super::message::Received;

/// What the thread needs for its stack.
const STACK: usize = 256 * 1024;

/// Watches until it is dropped.
#[derive(Debug)]
pub(crate) struct Watch {
    stop: Arc<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        if rustix::io::write(&*self.stop, &1_u64.to_ne_bytes()).is_err() {
            return;
        }
        let Some(thread) = self.thread.take() else {
            return;
        };
        // The last handle may be let go by the thread itself.
        let is_own = thread.thread().id() == thread::current().id();
        if !is_own && thread.join().is_err() {
            tracing::error!("a watch on the kernel panicked");
        }
    }
}

impl Watch {
    /// Calls `notified` whenever something was notified to the socket, on a thread of its own, and again
    /// after the time that it returned.
    ///
    /// # Errors
    /// When there are no resources for it.
    pub(crate) fn start(
        name: &'static str,
        mut socket: Socket,
        mut notified: impl FnMut(&mut Socket) -> Option<Duration> + Send + 'static,
    ) -> io::Result<Self> {
        let stop = Arc::new(eventfd(0, EventfdFlags::CLOEXEC)?);
        let ends = Arc::clone(&stop);
        let run = move || {
            let mut again = None;
            loop {
                match wait(&socket, &ends, again) {
                    Ok(true) => again = notified(&mut socket),
                    Ok(false) => return,
                    Err(error) => {
                        tracing::error!(%error, watch = name, "changes by others go unnoticed now");
                        return;
                    }
                }
            }
        };
        let thread = thread::Builder::new()
            .name(name.to_owned())
            .stack_size(STACK)
            .spawn(run)?;
        Ok(Self {
            stop,
            thread: Some(thread),
        })
    }
}

/// Waits for notifications, or for the time; `false` when it is time to end.
fn wait(socket: &Socket, stop: &OwnedFd, again: Option<Duration>) -> io::Result<bool> {
    let mut fds = [
        PollFd::from_borrowed_fd(socket.as_fd(), PollFlags::IN),
        PollFd::from_borrowed_fd(stop.as_fd(), PollFlags::IN),
    ];
    let limit = again.map(Timespec::try_from).transpose();
    let limit = limit.map_err(io::Error::other)?;
    loop {
        match poll(&mut fds, limit.as_ref()) {
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
            Ok(_) => {
                let [_, stop] = &fds;
                return Ok(stop.revents().is_empty());
            }
        }
    }
}

/// Reads every notification that is there; whether some were lost.
pub(crate) fn drain(socket: &mut Socket, mut each: impl FnMut(Received<'_>)) -> io::Result<bool> {
    let mut lost = false;
    loop {
        match socket.receive(&mut each) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(lost),
            Err(error) if Errno::from_io_error(&error) == Some(Errno::NOBUFS) => lost = true,
            Err(error) => return Err(error),
        }
    }
}
