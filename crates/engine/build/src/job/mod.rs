//! One build.

mod caches;
mod export;
mod gateway;
mod image;
mod inspect;
mod resolve;
mod rewrite;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use arca_types::Digest;
pub(crate) use caches::Caches;
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;

use crate::builder::Service;
use crate::cache::collect_soon;
use crate::exec::emulation;
use crate::frontend::ImageRequest;
use crate::graph::{Edge, Op, Vertex};
use crate::material::Material;
use crate::progress::{Event, Progress, VertexState, Warning};
use crate::request::{BuildResult, Entitlement, Limits, ResolvedImage, SolveInput};
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
    /// The caches that are not this host's.
    pub(crate) caches: Mutex<Caches>,
    /// What has been used from outside.
    pub(crate) materials: Mutex<BTreeSet<Material>>,
    /// The images that the front end has asked for.
    pub(crate) resolved: Mutex<HashMap<ImageRequest, Arc<OnceCell<ResolvedImage>>>>,
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
        collect_soon(&self.0.service);
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
        self.import_caches(&input).await;
        let result = match input.frontend.as_str() {
            "" => BuildResult {
                refs: BTreeMap::from([(String::new(), input.definition.clone())]),
                metadata: BTreeMap::new(),
            },
            "dockerfile.v0" | "gateway.v0" => {
                check_platform(&input)?;
                crate::frontend::dockerfile(&input, self).await?
            }
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

    /// Runs what an edge needs.
    ///
    /// # Errors
    /// [`Error::Vertex`] with what failed; [`Error::Cancelled`].
    pub async fn evaluate(&self, edge: &Edge) -> Result<Tree, Error> {
        self.announce(edge);
        check_platforms(edge)?;
        let solving = solve::edge(self, edge);
        let solved = tokio::select! {
            biased;
            () = self.0.cancel.cancelled() => return Err(Error::Cancelled),
            solved = solving => solved,
        };
        solved.map_err(|(digest, cause)| match &*cause {
            Error::Cancelled => Error::Cancelled,
            _ => Error::Vertex {
                location: find(edge, &digest).and_then(|vertex| vertex.metadata().location.clone()),
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

/// Refuses several platforms at once, before anything is loaded.
fn check_platform(input: &SolveInput) -> Result<(), Error> {
    let attrs = &input.frontend_attrs;
    let asked = attrs.get("platform").map_or("", String::as_str);
    if asked.contains(',') && !attrs.contains_key("requestid") {
        let text = "Multi-platform build is not supported: build for one platform after the other";
        return Err(Error::Invalid(text.to_owned()));
    }
    Ok(())
}

/// Refuses processes of platforms that cannot be run here, before anything is.
fn check_platforms(edge: &Edge) -> Result<(), Error> {
    for vertex in vertices(edge) {
        if let (Op::Exec(_), Some(platform)) = (vertex.op(), vertex.platform())
            && !emulation::runs(platform)
        {
            return Err(Error::Vertex {
                location: vertex.metadata().location.clone(),
                digest: Box::new(vertex.digest().clone()),
                cause: Arc::new(Error::Unsupported(format!(
                    "{}: programs of {platform} cannot be run on this host: it has no emulator for them (binfmt_misc)",
                    vertex.name()
                ))),
            });
        }
    }
    Ok(())
}

/// The vertex of that digest among those that an edge needs.
fn find(edge: &Edge, digest: &Digest) -> Option<Arc<Vertex>> {
    vertices(edge)
        .find(|vertex| vertex.digest() == digest)
        .cloned()
}

/// What an edge needs: each vertex once, the edge's own first.
fn vertices(edge: &Edge) -> impl Iterator<Item = &Arc<Vertex>> {
    let mut seen = HashSet::from([edge.vertex.digest()]);
    let mut waiting = vec![&edge.vertex];
    std::iter::from_fn(move || {
        let vertex = waiting.pop()?;
        let inputs = vertex.inputs().iter().map(|input| &input.vertex);
        waiting.extend(inputs.filter(|input| seen.insert(input.digest())));
        Some(vertex)
    })
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
