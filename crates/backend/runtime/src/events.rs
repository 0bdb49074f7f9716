//! What happens to containers, told to those who subscribed.

use std::sync::Mutex;

use arca_shim_proto::{ExecExit, ExitStatus};
use arca_types::ContainerId;
use tokio::sync::mpsc;

/// Something happened to a container.
#[derive(Debug, Clone)]
pub struct Event {
    /// To which.
    pub id: ContainerId,
    /// What.
    pub what: Happening,
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
