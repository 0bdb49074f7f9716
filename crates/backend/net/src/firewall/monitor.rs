//! Notices when something outside changes our table, and writes it again.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::io::Errno;

use super::Firewall;
use super::table::{NEWGEN, concerns};
use crate::error::Error;
use crate::netlink::Socket;

/// The mask of the multicast group of nf_tables (`NFNLGRP_NFTABLES`, 7).
const GROUP: u32 = 1 << 6;
/// What the thread needs for its stack.
const STACK: usize = 256 * 1024;

/// Watches the firewall until it is dropped.
#[derive(Debug)]
pub(crate) struct Monitor {
    stop: Arc<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Monitor {
    fn drop(&mut self) {
        if rustix::io::write(&*self.stop, &1_u64.to_ne_bytes()).is_err() {
            return;
        }
        if self
            .thread
            .take()
            .is_some_and(|thread| thread.join().is_err())
        {
            tracing::error!("the watch on the firewall panicked");
        }
    }
}

impl Monitor {
    /// Begins to watch, on a thread of its own.
    ///
    /// # Errors
    /// When the kernel's notifications cannot be had.
    pub(crate) fn start(firewall: Arc<Firewall>) -> Result<Self, Error> {
        let failed = || Error::system("watch the firewall");
        let socket = Socket::notifications(GROUP).map_err(failed())?;
        let own = firewall.port().map_err(failed())?;
        let stop = eventfd(0, EventfdFlags::CLOEXEC).map_err(|errno| failed()(errno.into()))?;
        let stop = Arc::new(stop);
        let watch = Watch {
            socket,
            own,
            firewall,
            stop: Arc::clone(&stop),
        };
        let thread = thread::Builder::new()
            .name("firewall".to_owned())
            .stack_size(STACK)
            .spawn(move || watch.run())
            .map_err(failed())?;
        Ok(Self {
            stop,
            thread: Some(thread),
        })
    }
}

struct Watch {
    socket: Socket,
    own: u32,
    firewall: Arc<Firewall>,
    stop: Arc<OwnedFd>,
}

impl Watch {
    fn run(mut self) {
        loop {
            match self.wait() {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => {
                    tracing::error!(%error, "changes of the firewall by others go unnoticed now");
                    return;
                }
            }
            match self.touched() {
                Ok(true) => self.repair(),
                Ok(false) => {}
                Err(error) => tracing::warn!(%error, "cannot read a change of the firewall"),
            }
        }
    }

    /// Waits for notifications; `false` when it is time to end.
    fn wait(&self) -> io::Result<bool> {
        let mut fds = [
            PollFd::from_borrowed_fd(self.socket.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(self.stop.as_fd(), PollFlags::IN),
        ];
        loop {
            match poll(&mut fds, None) {
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
                Ok(_) => {
                    let [_, stop] = &fds;
                    return Ok(stop.revents().is_empty());
                }
            }
        }
    }

    /// Reads every notification that is there; whether one is about our table and by somebody else.
    fn touched(&mut self) -> io::Result<bool> {
        let (own, table) = (self.own, self.firewall.table().to_owned());
        let mut touched = false;
        loop {
            let received = self.socket.receive(|message| {
                touched |= message.port != own
                    && message.kind != NEWGEN
                    && concerns(message.payload, &table);
            });
            match received {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(touched),
                // Notifications were lost: one may have been about us.
                Err(error) if Errno::from_io_error(&error) == Some(Errno::NOBUFS) => touched = true,
                Err(error) => return Err(error),
            }
        }
    }

    fn repair(&self) {
        match self.firewall.repair() {
            Ok(true) => {
                tracing::warn!("the firewall table was changed from outside: written again");
            }
            Ok(false) => {}
            Err(error) => tracing::error!(
                error = arca_types::chain(&error),
                "the firewall table was changed from outside and cannot be written again"
            ),
        }
    }
}
