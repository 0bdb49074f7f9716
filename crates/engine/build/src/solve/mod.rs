//! Solving: what the target needs, in parallel, each vertex once, equal steps of all builds once.
//!
//! A vertex is solved in three steps: its inputs, all at the same time; its key, of the operation and of
//! what the inputs contain; its outputs, from the cache or by running it. Who runs an equal step already is
//! joined ([`flight`]).

mod describe;
mod flight;
mod key;
mod run;

use std::sync::{Arc, PoisonError};

use arca_types::Digest;
use futures_util::future::{BoxFuture, FutureExt as _, try_join_all};
use tokio_util::task::AbortOnDropHandle;

use crate::cache::Found;
use crate::graph::{Edge, Op, Vertex};
use crate::job::{Job, Outcome, vertex_state};
use crate::progress::{Event, VertexState};
use crate::{Error, Tree};
pub(crate) use flight::{Flights, Listeners};
pub(crate) use run::{Snapshot, Step, blocking};

/// What a vertex makes.
#[derive(Debug)]
pub(crate) struct Outputs {
    /// One tree for each output; `None` is empty.
    pub(crate) trees: Vec<Tree>,
}

/// Solves an edge.
pub(crate) fn edge<'a>(
    job: &'a Job,
    edge: &'a Edge,
) -> BoxFuture<'a, Result<Tree, (Digest, Arc<Error>)>> {
    async move {
        let outputs = vertex(job, &edge.vertex).await?;
        outputs.trees.get(edge.output).cloned().ok_or_else(|| {
            let text = format!("invalid output {} of {}", edge.output, edge.vertex.name());
            (edge.vertex.digest().clone(), Arc::new(Error::Invalid(text)))
        })
    }
    .boxed()
}

/// Solves an edge on a task of its own, which ends with what is returned: on one stack for all, a long
/// Dockerfile would be a deep one.
fn apart(
    job: &Job,
    input: &Edge,
) -> impl Future<Output = Result<Tree, (Digest, Arc<Error>)>> + use<> {
    let (job, input) = (job.clone(), input.clone());
    let digest = input.vertex.digest().clone();
    let tasks = job.0.service.tasks.clone();
    let solving = tasks.spawn(async move { edge(&job, &input).await });
    let solving = AbortOnDropHandle::new(solving);
    async move {
        let solved = solving.await;
        solved.unwrap_or_else(|_ended| Err((digest, Arc::new(Error::Cancelled))))
    }
}

/// Solves a vertex, once in a build.
async fn vertex(job: &Job, vertex: &Arc<Vertex>) -> Outcome {
    let cell = {
        let vertices = &job.0.vertices;
        let mut vertices = vertices.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(vertices.entry(vertex.digest().clone()).or_default())
    };
    cell.get_or_init(|| solve(job, vertex)).await.clone()
}

async fn solve(job: &Job, vertex: &Arc<Vertex>) -> Outcome {
    let inputs = vertex.inputs().iter();
    let trees = try_join_all(inputs.map(|input| apart(job, input))).await?;
    let mut state = vertex_state(vertex);
    match begin(job, vertex, &trees, &mut state).await {
        Ok(outputs) => {
            state.completed = Some(job.progress().now());
            tell(job, &state);
            Ok(outputs)
        }
        Err(error) => {
            state.completed = Some(job.progress().now());
            state.error = arca_types::chain(&*error);
            tell(job, &state);
            Err((vertex.digest().clone(), error))
        }
    }
}

async fn begin(
    job: &Job,
    vertex: &Arc<Vertex>,
    inputs: &[Tree],
    state: &mut VertexState,
) -> Result<Arc<Outputs>, Arc<Error>> {
    state.started = Some(job.progress().now());
    let step = Step::new(job, vertex, inputs);
    if let Op::Source(source) = vertex.op()
        && crate::source::is_local(source)
    {
        // What the client has is asked for in every build.
        tell(job, state);
        return step
            .run(&Listeners::of(job, vertex))
            .await
            .map_err(Arc::new);
    }
    let key = key::of(&step).await.map_err(Arc::new)?;
    job.uses(&key);
    let cache = &job.0.service.cache;
    if !vertex.metadata().ignore_cache
        && let Some(found) = cache.find(&key)
    {
        state.cached = true;
        state.started = Some(job.progress().now());
        tell(job, state);
        return Ok(outputs_of(job, found));
    }
    if !vertex.metadata().ignore_cache
        && let Some(outputs) = job.imported(&step, &key).await
    {
        state.cached = true;
        tell(job, state);
        return Ok(outputs);
    }
    tell(job, state);
    flight::join(&step, key).await
}

fn outputs_of(job: &Job, found: Found) -> Arc<Outputs> {
    let storage = job.0.service.storage();
    let trees = found.outputs.into_iter();
    Arc::new(Outputs {
        trees: trees
            .map(|layers| Tree::of_layers(storage, layers))
            .collect(),
    })
}

fn tell(job: &Job, state: &VertexState) {
    job.progress().tell(Event::Vertex(Arc::new(state.clone())));
}
