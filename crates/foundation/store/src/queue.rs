//! The queues of the store's two threads: usable from blocking and from async code alike.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crate::Error;
use crate::batch::{Batch, Durability};

/// Where the outcome of a job goes.
#[derive(Debug)]
pub(crate) enum Reply {
    /// To a task that awaits it.
    Task(tokio::sync::oneshot::Sender<Result<(), Error>>),
    /// To a thread that blocks.
    Thread(std::sync::mpsc::SyncSender<Result<(), Error>>),
    /// Nobody waits.
    Nobody,
}

impl Reply {
    /// Delivers the outcome; a waiter that has gone does not mind.
    pub(crate) fn send(self, outcome: Result<(), Error>) {
        match self {
            Self::Task(to) => drop(to.send(outcome)),
            Self::Thread(to) => drop(to.send(outcome)),
            Self::Nobody => {
                if let Err(error) = outcome {
                    tracing::error!(%error, "a change that nobody waits for was lost");
                }
            }
        }
    }
}

/// One batch on its way to the writer.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) batch: Batch,
    pub(crate) durability: Durability,
    pub(crate) reply: Reply,
}

/// A queue whose reader takes everything at once.
#[derive(Debug)]
pub(crate) struct Queue<J> {
    state: Mutex<State<J>>,
    filled: Condvar,
}

#[derive(Debug)]
struct State<J> {
    jobs: VecDeque<J>,
    closed: bool,
}

impl<J> Queue<J> {
    pub(crate) fn new() -> Self {
        let state = State {
            jobs: VecDeque::new(),
            closed: false,
        };
        Self {
            state: Mutex::new(state),
            filled: Condvar::new(),
        }
    }

    /// Adds a job and says how many now wait; gives it back when the reader has gone.
    pub(crate) fn push(&self, job: J) -> Result<usize, J> {
        let mut state = self.lock();
        if state.closed {
            return Err(job);
        }
        state.jobs.push_back(job);
        let waiting = state.jobs.len();
        drop(state);
        self.filled.notify_one();
        Ok(waiting)
    }

    /// Waits for jobs and takes all of them; `None` once closed and empty.
    pub(crate) fn take(&self) -> Option<VecDeque<J>> {
        let mut state = self.lock();
        loop {
            if !state.jobs.is_empty() {
                return Some(std::mem::take(&mut state.jobs));
            }
            if state.closed {
                return None;
            }
            state = self
                .filled
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Lets no more jobs in; those that wait are still handed out.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.filled.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State<J>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
