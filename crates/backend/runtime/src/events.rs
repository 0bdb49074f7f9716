//! What happens to containers, told to those who subscribed.

use std::sync::{Arc, Mutex};

use arca_shim_proto::{ExecExit, ExitStatus, Request};
use arca_types::{ContainerId, ExecId};
use tokio::sync::mpsc;

use crate::link::Link;

/// Something happened to a container.
#[derive(Debug, Clone)]
pub struct Event {
    /// To which.
    pub id: ContainerId,
    /// What.
    pub what: Happening,
    /// To be dropped when the event was dealt with.
    pub seen: Seen,
}

/// Tells a shim, when the last copy is dropped, that an exec's end was taken note of. Until then, but
/// not for long, the shim keeps the connections of the exec's clients open: who sees one closed and
/// asks how the exec ended is told.
#[derive(Debug, Clone, Default)]
pub struct Seen(
    #[expect(dead_code, reason = "what counts is when it is dropped")] Option<Arc<Unseen>>,
);

#[derive(Debug)]
struct Unseen {
    link: Link,
    exec: ExecId,
}

impl Seen {
    pub(crate) fn exec(link: Link, exec: ExecId) -> Self {
        Self(Some(Arc::new(Unseen { link, exec })))
    }
}

impl Drop for Unseen {
    fn drop(&mut self) {
        self.link.notify(Request::ExecSeen(self.exec.clone()));
    }
}

/// What can happen to a container without being asked for.
#[derive(Debug, Clone)]
pub enum Happening {
    /// Its init process has ended; all output is in the log and with the attached clients.
    Exited(ExitStatus),
    /// The kernel has killed a process of it for want of memory.
    Oom,
    /// A further process has ended; all its output is with the attached client.
    ExecExited(ExecExit),
    /// Its shim is gone without leaving an exit status; what was left of the container is killed.
    ShimLost {
        /// What is known of the shim's end.
        reason: String,
        /// To be taken for the end of the container: 137 (killed), unless the exit was recorded.
        status: ExitStatus,
    },
}

/// The subscribers, each with a bounded queue that holds its writer up when full.
#[derive(Debug, Default)]
pub(crate) struct Subscribers(Mutex<Vec<mpsc::Sender<Event>>>);

const QUEUE: usize = 1024;

impl Subscribers {
    pub(crate) fn add(&self) -> mpsc::Receiver<Event> {
        let (sender, receiver) = mpsc::channel(QUEUE);
        self.lock().push(sender);
        receiver
    }

    /// Tells all subscribers; forgets those that have gone.
    pub(crate) async fn tell(&self, event: Event) {
        let senders = self.lock().clone();
        let mut gone = false;
        for sender in senders {
            gone |= sender.send(event.clone()).await.is_err();
        }
        if gone {
            self.lock().retain(|sender| !sender.is_closed());
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<mpsc::Sender<Event>>> {
        self.0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
