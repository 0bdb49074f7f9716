//! One build.

mod export;
mod gateway;
mod inspect;
mod resolve;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use arca_types::Digest;
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;

use crate::builder::Service;
use crate::graph::{Edge, Vertex};
use crate::progress::{Event, Progress, VertexState, Warning};
use crate::request::{BuildResult, Entitlement, Limits, SolveInput};
use crate::session::BuildSession;
use crate::solve::Outputs;
use crate::{Error, Tree, solve};

/// One build. A cheap handle.
#[derive(Debug, Clone)]
pub struct Job(pub(crate) Arc<JobInner>);

#[derive(Debug)]
pub(crate) struct JobInner {
    pub(crate) id: String,
    pub(crate) service: Arc<Service>,
    pub(crate) session: Arc<dyn BuildSession>,
    pub(crate) entitlements: BTreeSet<Entitlement>,
    pub(crate) limits: Limits,
    pub(crate) progress: Progress,
    pub(crate) cancel: CancellationToken,
    /// What has been solved or is being solved, by the digest of the vertex.
    pub(crate) vertices: Mutex<HashMap<Digest, Arc<OnceCell<Outcome>>>>,
    /// The vertices that clients know of.
    pub(crate) announced: Mutex<HashSet<Digest>>,
}

/// What came of a vertex: its outputs, or which vertex failed and why.
pub(crate) type Outcome = Result<Arc<Outputs>, (Digest, Arc<Error>)>;

impl Job {
    /// Its name.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.0.id
    }

    /// What happens.
    #[must_use]
    pub fn progress(&self) -> &Progress {
        &self.0.progress
    }

    /// Its client.
    #[must_use]
    pub fn session(&self) -> &Arc<dyn BuildSession> {
        &self.0.session
    }

    /// May it do this?
    #[must_use]
    pub fn is_entitled(&self, entitlement: Entitlement) -> bool {
        self.0.entitlements.contains(&entitlement)
    }

    /// Ends it: what runs is killed, and every call fails with [`Error::Cancelled`].
    pub fn cancel(&self) {
        self.0.cancel.cancel();
    }

    /// Is cancelled when the build is.
    #[must_use]
    pub fn cancelled(&self) -> &CancellationToken {
        &self.0.cancel
    }

    /// Says that nothing follows: its progress ends, its ID is free again.
    pub fn end(&self) {
        self.0.progress.end();
        self.0.service.jobs().remove(&self.0.id);
    }

    /// Gives advice to people.
    pub fn warn(&self, warning: Warning) {
        self.0.progress.tell(Event::Warning(Arc::new(warning)));
    }

    /// Takes a definition, or what a front end makes of its options. Nothing is run but what the front
    /// end itself needs, unless `evaluate` says so.
    ///
    /// # Errors
    /// What the front end says; [`Error::Cancelled`].
    pub async fn solve(&self, input: SolveInput) -> Result<BuildResult, Error> {
        self.warn_of_imports(&input);
        let result = match input.frontend.as_str() {
            "" => BuildResult {
                refs: BTreeMap::from([(String::new(), input.definition.clone())]),
                metadata: BTreeMap::new(),
            },
            "dockerfile.v0" | "gateway.v0" => crate::frontend::dockerfile(&input, self).await?,
            other => return Err(Error::Invalid(format!("invalid frontend {other}"))),
        };
        for edge in result.refs.values().flatten() {
            self.announce(edge);
            if input.evaluate {
                self.evaluate(edge).await?;
            }
        }
        Ok(result)
    }

    /// A cache that cannot be had fails no build, in BuildKit neither: people are told.
    fn warn_of_imports(&self, input: &SolveInput) {
        for import in &input.cache_imports {
            let from = import.attrs.get("ref").or_else(|| import.attrs.get("src"));
            let from = from.map_or("", String::as_str);
            self.warn(Warning {
                level: 1,
                short: format!(
                    "nothing is taken from the cache {from} (type={}): importing is not supported",
                    import.kind
                ),
                ..Warning::default()
            });
        }
    }

    /// Runs what an edge needs.
    ///
    /// # Errors
    /// [`Error::Vertex`] with what failed; [`Error::Cancelled`].
    pub async fn evaluate(&self, edge: &Edge) -> Result<Tree, Error> {
        self.announce(edge);
        let solving = solve::edge(self, edge);
        let solved = tokio::select! {
            biased;
            () = self.0.cancel.cancelled() => return Err(Error::Cancelled),
            solved = solving => solved,
        };
        solved.map_err(|(digest, cause)| match &*cause {
            Error::Cancelled => Error::Cancelled,
            _ => Error::Vertex {
                digest: Box::new(digest),
                cause,
            },
        })
    }

    /// Tells clients of the vertices that an edge needs.
    pub(crate) fn announce(&self, edge: &Edge) {
        let mut new = Vec::new();
        {
            let announced = &self.0.announced;
            let mut known = announced.lock().unwrap_or_else(PoisonError::into_inner);
            let mut waiting = vec![Arc::clone(&edge.vertex)];
            while let Some(vertex) = waiting.pop() {
                if known.insert(vertex.digest().clone()) {
                    let inputs = vertex.inputs().iter();
                    waiting.extend(inputs.map(|input| Arc::clone(&input.vertex)));
                    new.push(vertex);
                }
            }
        }
        for vertex in new.into_iter().rev() {
            let state = vertex_state(&vertex);
            self.0.progress.tell(Event::Vertex(Arc::new(state)));
        }
    }
}

/// A vertex that has not begun.
pub(crate) fn vertex_state(vertex: &Vertex) -> VertexState {
    let inputs = vertex.inputs().iter();
    VertexState {
        digest: vertex.digest().clone(),
        inputs: inputs.map(|edge| edge.vertex.digest().clone()).collect(),
        name: vertex.name(),
        started: None,
        completed: None,
        cached: false,
        error: String::new(),
        group: vertex.metadata().progress_group.clone(),
    }
}
