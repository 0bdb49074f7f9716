//! The builds that run, and what a client that is its own front end has of them.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arca_build::graph::Edge;
use arca_build::{BuildResult, Job, SolveInput};
use arca_types::random_hex;
use tokio::sync::{Notify, watch};
use tonic::Status;

use crate::history::{History, Told};
use crate::provenance::Frontend;

/// How long a call waits for the build it belongs to: clients call in any order.
const ARRIVAL: Duration = Duration::from_secs(5);
/// Trees that are known by a name across builds (contexts of linked targets).
const NAMED: usize = 4096;

/// Running builds by ID.
#[derive(Debug)]
pub(crate) struct Builds {
    running: Mutex<HashMap<String, Arc<Build>>>,
    arrived: Notify,
    named: Mutex<(HashMap<String, Edge>, VecDeque<String>)>,
    pub(crate) history: Arc<History>,
}

/// A running build.
#[derive(Debug)]
pub(crate) struct Build {
    pub(crate) job: Job,
    pub(crate) inputs: BTreeMap<String, Edge>,
    refs: Mutex<HashMap<String, Option<Edge>>>,
    /// The front end that the client asked last.
    frontend: Mutex<Frontend>,
    /// What the client returned.
    returned: watch::Sender<Option<Result<BuildResult, Status>>>,
}

impl Build {
    pub(crate) fn new(job: Job, input: &SolveInput) -> Arc<Self> {
        Arc::new(Self {
            job,
            inputs: input.frontend_inputs.clone(),
            refs: Mutex::default(),
            frontend: Mutex::new(Frontend::of(input)),
            returned: watch::Sender::new(None),
        })
    }

    /// Gives a tree a name that the client can use.
    pub(crate) fn name(&self, edge: Option<Edge>) -> String {
        let id = random_hex(16);
        self.refs().insert(id.clone(), edge);
        id
    }

    /// The tree of that name; the empty name is the empty tree.
    pub(crate) fn tree(&self, id: &str) -> Result<Option<Edge>, Status> {
        if id.is_empty() {
            return Ok(None);
        }
        let found = self.refs().get(id).cloned();
        found.ok_or_else(|| Status::not_found(format!("no such ref: {id}")))
    }

    fn refs(&self) -> MutexGuard<'_, HashMap<String, Option<Edge>>> {
        self.refs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something is solved: remembers the front end, if one is asked.
    pub(crate) fn asks(&self, input: &SolveInput) {
        if input.frontend.is_empty() {
            return;
        }
        let mut frontend = self.frontend.lock().unwrap_or_else(PoisonError::into_inner);
        *frontend = Frontend::of(input);
    }

    /// The front end that was asked last.
    pub(crate) fn frontend(&self) -> Frontend {
        let frontend = self.frontend.lock().unwrap_or_else(PoisonError::into_inner);
        frontend.clone()
    }

    /// Takes what the client returns.
    pub(crate) fn set_result(&self, result: Result<BuildResult, Status>) {
        self.returned.send_replace(Some(result));
    }

    /// Waits for what the client returns.
    pub(crate) async fn result(&self) -> Result<BuildResult, Status> {
        let mut returned = self.returned.subscribe();
        let waiting = returned.wait_for(Option::is_some);
        tokio::select! {
            () = self.job.cancelled().cancelled() => Err(Status::cancelled("context canceled")),
            result = waiting => match result.ok().and_then(|result| result.clone()) {
                Some(result) => result,
                None => Err(Status::cancelled("the build has ended")),
            },
        }
    }
}

impl Builds {
    pub(crate) fn new(history: History) -> Self {
        Self {
            running: Mutex::default(),
            arrived: Notify::new(),
            named: Mutex::default(),
            history: Arc::new(history),
        }
    }

    pub(crate) fn add(&self, build: &Arc<Build>) {
        let id = build.job.id().to_owned();
        self.running().insert(id, Arc::clone(build));
        self.arrived.notify_waiters();
    }

    pub(crate) fn remove(&self, id: &str) {
        self.running().remove(id);
    }

    /// The build of that ID; waits a little for one that is about to begin.
    pub(crate) async fn find(&self, id: &str) -> Result<Arc<Build>, Status> {
        self.wait(id, || self.running().get(id).cloned()).await
    }

    /// What a build tells, also one that has ended: it may be over before a client that asked early hears
    /// that it has begun.
    pub(crate) async fn told(&self, id: &str) -> Result<Told, Status> {
        self.wait(id, || self.history.told(id)).await
    }

    async fn wait<T>(&self, id: &str, found: impl Fn() -> Option<T>) -> Result<T, Status> {
        let deadline = tokio::time::Instant::now() + ARRIVAL;
        loop {
            let arrived = self.arrived.notified();
            tokio::pin!(arrived);
            arrived.as_mut().enable();
            if let Some(found) = found() {
                return Ok(found);
            }
            if tokio::time::timeout_at(deadline, arrived).await.is_err() {
                return Err(Status::not_found(format!("no such job {id}")));
            }
        }
    }

    /// Gives a tree a name for all builds. The oldest names are forgotten.
    pub(crate) fn share(&self, edge: &Edge) -> String {
        let id = format!("{}/{}", edge.vertex.digest().hex(), edge.output);
        let mut named = self.named.lock().unwrap_or_else(PoisonError::into_inner);
        if named.0.insert(id.clone(), edge.clone()).is_none() {
            named.1.push_back(id.clone());
        }
        while named.1.len() > NAMED {
            if let Some(oldest) = named.1.pop_front() {
                named.0.remove(&oldest);
            }
        }
        id
    }

    /// The tree of that name.
    pub(crate) fn shared(&self, id: &str) -> Option<Edge> {
        let named = self.named.lock().unwrap_or_else(PoisonError::into_inner);
        named.0.get(id).cloned()
    }

    fn running(&self) -> MutexGuard<'_, HashMap<String, Arc<Build>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
