//! What happens in a build, as clients are told (`Control.Status` of BuildKit).
//!
//! A build's [`Progress`] keeps all it has told, within limits: whoever subscribes hears it from the
//! beginning. Nobody who listens slowly holds a build up.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arca_types::{Clock, Digest, Timestamp};
use tokio::sync::watch;

use crate::graph::ProgressGroup;

/// Something that happened.
#[derive(Debug, Clone)]
pub enum Event {
    /// A vertex is known, has begun or has ended; the last one told holds.
    Vertex(Arc<VertexState>),
    /// Part of a vertex's work goes on.
    Status(Arc<Status>),
    /// Output of a process.
    Log(Arc<Log>),
    /// Advice.
    Warning(Arc<Warning>),
}

/// A vertex.
#[derive(Debug, Clone)]
pub struct VertexState {
    /// Identity.
    pub digest: Digest,
    /// Identities of the vertices whose outputs it uses.
    pub inputs: Vec<Digest>,
    /// Shown to people.
    pub name: String,
    /// When it began.
    pub started: Option<Timestamp>,
    /// When it ended.
    pub completed: Option<Timestamp>,
    /// Was its result in the cache?
    pub cached: bool,
    /// Why it failed; empty when it did not.
    pub error: String,
    /// The group it is shown in.
    pub group: Option<ProgressGroup>,
}

/// Part of a vertex's work: a download, a transfer, a step of an export.
#[derive(Debug, Clone)]
pub struct Status {
    /// Identity within the vertex.
    pub id: String,
    /// The vertex.
    pub vertex: Digest,
    /// Shown to people, where it differs from `id`.
    pub name: String,
    /// How much is done.
    pub current: u64,
    /// Of how much; 0 when unknown.
    pub total: u64,
    /// When this was so.
    pub timestamp: Timestamp,
    /// When it began.
    pub started: Option<Timestamp>,
    /// When it ended.
    pub completed: Option<Timestamp>,
}

/// Output of a process.
#[derive(Debug, Clone)]
pub struct Log {
    /// The vertex.
    pub vertex: Digest,
    /// 1 for standard output, 2 for standard error.
    pub stream: u8,
    /// Bytes as written.
    pub data: Vec<u8>,
    /// When.
    pub timestamp: Timestamp,
}

/// Advice about a source file.
#[derive(Debug, Clone, Default)]
pub struct Warning {
    /// The vertex, if it is about one.
    pub vertex: Option<Digest>,
    /// 1 and above are shown.
    pub level: i64,
    /// One line.
    pub short: String,
    /// More lines.
    pub detail: Vec<String>,
    /// Where more is written.
    pub url: String,
    /// The file it is about.
    pub source: Option<SourceFile>,
    /// Which lines of it.
    pub ranges: Vec<Range>,
}

/// A source file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SourceFile {
    /// Name.
    pub filename: String,
    /// Contents.
    pub data: Vec<u8>,
    /// Language, such as `Dockerfile`.
    pub language: String,
}

/// Part of a source file; lines from 1, columns from 0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Range {
    /// Line and column of the begin.
    pub start: (u32, u32),
    /// Line and column of the end.
    pub end: (u32, u32),
}

/// The most bytes of output that are kept of a vertex; BuildKit's limit.
pub const LOG_LIMIT: usize = 2 << 20;

/// What a build has told so far, and goes on to tell. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Progress {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    clock: Arc<dyn Clock>,
    told: Mutex<Vec<Event>>,
    /// How many there are, and whether it is over.
    count: watch::Sender<(usize, bool)>,
}

impl Progress {
    /// Begins with nothing.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            inner: Arc::new(Inner {
                clock,
                told: Mutex::default(),
                count: watch::Sender::new((0, false)),
            }),
        }
    }

    /// The time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.inner.clock.now()
    }

    /// Tells everybody, now and later.
    pub fn tell(&self, event: Event) {
        let count = {
            let mut told = self.told();
            told.push(event);
            told.len()
        };
        self.inner
            .count
            .send_modify(|state| state.0 = state.0.max(count));
    }

    /// Nothing follows.
    pub fn end(&self) {
        self.inner.count.send_modify(|state| state.1 = true);
    }

    /// Listens from the beginning.
    #[must_use]
    pub fn subscribe(&self) -> Subscription {
        Subscription {
            progress: self.clone(),
            count: self.inner.count.subscribe(),
            next: 0,
        }
    }

    /// Everything told so far.
    #[must_use]
    pub fn history(&self) -> Vec<Event> {
        self.told().clone()
    }

    fn told(&self) -> MutexGuard<'_, Vec<Event>> {
        self.inner
            .told
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// One who listens.
#[derive(Debug)]
pub struct Subscription {
    progress: Progress,
    count: watch::Receiver<(usize, bool)>,
    next: usize,
}

impl Subscription {
    /// What has been told since the last call; waits until there is something. `None` at the end.
    pub async fn next(&mut self) -> Option<Vec<Event>> {
        loop {
            let (count, over) = *self.count.borrow_and_update();
            if count > self.next {
                let told = self.progress.told();
                let new = told.get(self.next..).unwrap_or_default().to_vec();
                self.next = told.len();
                return Some(new);
            }
            if over || self.count.changed().await.is_err() {
                return None;
            }
        }
    }
}
