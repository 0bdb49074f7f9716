//! The registry of exec sessions: they are not part of a container's state.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arca_types::{ContainerId, ExecId, Timestamp};
use tokio::sync::watch;

use crate::Error;
use crate::requests::ExecRequest;

/// How long a session that has ended can be inspected.
const KEPT: Duration = Duration::from_secs(300);

/// How far a session is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// It was created.
    New,
    /// Its process is being started.
    Starting { since: Timestamp },
    /// Its process runs.
    Running { pid: u32, since: Timestamp },
    /// Its process has ended, or could not be started.
    Ended { code: i32, pid: u32, at: Timestamp },
}

/// A session.
#[derive(Debug)]
pub(crate) struct Exec {
    pub(crate) id: ExecId,
    pub(crate) container: ContainerId,
    pub(crate) request: Arc<ExecRequest>,
    progress: watch::Sender<Progress>,
}

impl Exec {
    /// A session that has yet to be started.
    pub(crate) fn new(id: ExecId, container: ContainerId, request: ExecRequest) -> Arc<Self> {
        Self::known(id, container, request, Progress::New)
    }

    fn known(
        id: ExecId,
        container: ContainerId,
        request: ExecRequest,
        progress: Progress,
    ) -> Arc<Self> {
        let (progress, _) = watch::channel(progress);
        Arc::new(Self {
            id,
            container,
            request: Arc::new(request),
            progress,
        })
    }

    /// How far it is.
    pub(crate) fn progress(&self) -> Progress {
        *self.progress.borrow()
    }

    /// Refuses one that was started already.
    ///
    /// # Errors
    /// [`Error::Conflict`] with dockerd's text.
    pub(crate) fn check_new(&self) -> Result<(), Error> {
        let id = &self.id;
        match self.progress() {
            Progress::New => Ok(()),
            Progress::Ended { .. } => Err(Error::Conflict(format!(
                "exec command {id} has already run"
            ))),
            Progress::Starting { .. } | Progress::Running { .. } => Err(Error::Conflict(format!(
                "exec command {id} is already running"
            ))),
        }
    }

    /// Waits until its process runs; returns whether it ever will.
    pub(crate) async fn runs(&self) -> bool {
        let mut progress = self.progress.subscribe();
        let started = |progress: &Progress| {
            matches!(progress, Progress::Running { .. } | Progress::Ended { .. })
        };
        progress
            .wait_for(started)
            .await
            .is_ok_and(|progress| matches!(*progress, Progress::Running { .. }))
    }

    /// Takes the session for starting it; `false` when somebody has.
    pub(crate) fn claim(&self, since: Timestamp) -> bool {
        self.progress.send_if_modified(|progress| {
            let new = *progress == Progress::New;
            if new {
                *progress = Progress::Starting { since };
            }
            new
        })
    }

    /// Its process runs, unless it has ended in the meantime.
    pub(crate) fn started(&self, pid: u32, since: Timestamp) {
        self.progress.send_if_modified(|progress| match progress {
            Progress::Starting { .. } => {
                *progress = Progress::Running { pid, since };
                true
            }
            Progress::Ended { pid: unknown, .. } => {
                *unknown = pid;
                true
            }
            _ => false,
        });
    }

    /// Its process has ended; returns for how long it ran, the first time.
    pub(crate) fn end(&self, code: i32, at: Timestamp) -> Option<Duration> {
        let mut ran = None;
        self.progress.send_if_modified(|progress| {
            let (pid, since) = match *progress {
                Progress::New => (0, at),
                Progress::Starting { since } => (0, since),
                Progress::Running { pid, since } => (pid, since),
                Progress::Ended { .. } => return false,
            };
            ran = Some(at.since(since));
            *progress = Progress::Ended { code, pid, at };
            true
        });
        ran
    }

    /// Waits until it has ended; returns the exit code.
    pub(crate) async fn ended(&self) -> i32 {
        let mut progress = self.progress.subscribe();
        loop {
            if let Progress::Ended { code, .. } = *progress.borrow_and_update() {
                return code;
            }
            if progress.changed().await.is_err() {
                return -1;
            }
        }
    }
}

/// All sessions that can be inspected.
#[derive(Debug, Default)]
pub(crate) struct Execs(Mutex<HashMap<ExecId, Arc<Exec>>>);

impl Execs {
    fn lock(&self) -> MutexGuard<'_, HashMap<ExecId, Arc<Exec>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a session, and forgets those that ended long ago.
    pub(crate) fn insert(&self, exec: Arc<Exec>, now: Timestamp) {
        let mut execs = self.lock();
        execs.retain(|_, exec| match exec.progress() {
            Progress::Ended { at, .. } => now.since(at) < KEPT,
            _ => true,
        });
        execs.insert(exec.id.clone(), exec);
    }

    /// Takes over a session of an earlier daemon.
    pub(crate) fn adopt(
        &self,
        id: ExecId,
        container: ContainerId,
        request: ExecRequest,
        progress: Progress,
    ) {
        let exec = Exec::known(id.clone(), container, request, progress);
        self.lock().insert(id, exec);
    }

    /// The session of this ID.
    pub(crate) fn get(&self, id: &str) -> Option<Arc<Exec>> {
        self.lock().get(id).cloned()
    }

    /// The sessions of a container that have not ended; `None` when there is none.
    pub(crate) fn of(&self, container: &ContainerId) -> Option<Vec<ExecId>> {
        let mut ids: Vec<ExecId> = self
            .lock()
            .values()
            .filter(|exec| exec.container == *container)
            .filter(|exec| !matches!(exec.progress(), Progress::Ended { .. }))
            .map(|exec| exec.id.clone())
            .collect();
        ids.sort();
        Some(ids).filter(|ids| !ids.is_empty())
    }

    /// The container has ended, and all its processes with it; sessions that nobody has started are
    /// forgotten, as dockerd does. Returns those that ended just now.
    pub(crate) fn container_ended(&self, container: &ContainerId, at: Timestamp) -> Vec<ExecId> {
        let mut ended = Vec::new();
        self.lock().retain(|_, exec| {
            if exec.container != *container {
                return true;
            }
            if exec.progress() == Progress::New {
                return false;
            }
            if exec.end(137, at).is_some() {
                tracing::debug!(exec.id = %exec.id, "ended with its container");
                ended.push(exec.id.clone());
            }
            true
        });
        ended
    }

    /// The container is removed.
    pub(crate) fn forget(&self, container: &ContainerId) {
        self.lock().retain(|_, exec| exec.container != *container);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_unix(second, 0)
    }

    #[test]
    fn a_session_is_started_once() {
        let exec = Exec::new(
            ExecId::random(),
            ContainerId::random(),
            ExecRequest::default(),
        );
        assert!(exec.claim(at(1)));
        assert!(!exec.claim(at(2)));
    }

    #[test]
    fn an_end_that_is_told_before_the_start_is_kept() {
        let exec = Exec::new(
            ExecId::random(),
            ContainerId::random(),
            ExecRequest::default(),
        );
        exec.claim(at(1));
        assert_eq!(exec.end(3, at(4)), Some(Duration::from_secs(3)));
        exec.started(77, at(1));
        assert_eq!(
            exec.progress(),
            Progress::Ended {
                code: 3,
                pid: 77,
                at: at(4)
            }
        );
        assert_eq!(exec.end(5, at(6)), None);
    }

    #[test]
    fn sessions_end_with_their_container_and_are_forgotten_later() {
        let execs = Execs::default();
        let container = ContainerId::random();
        let exec = Exec::new(ExecId::random(), container.clone(), ExecRequest::default());
        execs.insert(Arc::clone(&exec), at(0));
        let unused = Exec::new(ExecId::random(), container.clone(), ExecRequest::default());
        execs.insert(Arc::clone(&unused), at(0));
        exec.claim(at(1));
        assert_eq!(execs.of(&container).map(|ids| ids.len()), Some(2));
        let ended = execs.container_ended(&container, at(2));
        assert_eq!(ended, std::slice::from_ref(&exec.id));
        assert_eq!(execs.of(&container), None);
        assert!(execs.get(exec.id.as_str()).is_some());
        assert!(execs.get(unused.id.as_str()).is_none());
        let other = Exec::new(
            ExecId::random(),
            ContainerId::random(),
            ExecRequest::default(),
        );
        execs.insert(other, at(400));
        assert!(execs.get(exec.id.as_str()).is_none());
    }
}
