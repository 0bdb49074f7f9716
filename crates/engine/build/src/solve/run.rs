//! Running one vertex.

use std::sync::Arc;

use arca_storage::Storage;
use arca_types::{ContainerId, DiffId};
use tokio_util::sync::CancellationToken;

use super::{Listeners, Outputs};
use crate::graph::{Op, Vertex};
use crate::job::Job;
use crate::{Error, Tree, exec, file, source};

/// A vertex whose inputs are there.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    pub(crate) job: Job,
    pub(crate) vertex: Arc<Vertex>,
    pub(crate) inputs: Vec<Tree>,
    /// Ends it.
    pub(crate) cancel: CancellationToken,
    /// What was learnt of a source when its key was made.
    pub(crate) source: Arc<source::Prepared>,
}

impl Step {
    pub(crate) fn new(job: &Job, vertex: &Arc<Vertex>, inputs: &[Tree]) -> Self {
        Self {
            job: job.clone(),
            vertex: Arc::clone(vertex),
            inputs: inputs.to_vec(),
            cancel: job.0.cancel.clone(),
            source: Arc::default(),
        }
    }

    pub(crate) fn storage(&self) -> &Storage {
        self.job.0.service.storage()
    }

    /// Does it listen to `cancel`, and clean up itself?
    pub(crate) fn ends_itself(&self) -> bool {
        matches!(self.vertex.op(), Op::Exec(_))
    }

    /// An input by its index.
    pub(crate) fn input(&self, index: usize) -> Result<&Tree, Error> {
        self.inputs
            .get(index)
            .ok_or_else(|| Error::Invalid(format!("invalid input {index}")))
    }

    /// Runs it.
    pub(crate) async fn run(&self, listeners: &Listeners) -> Result<Arc<Outputs>, Error> {
        let trees = match self.vertex.op() {
            Op::Source(source) => vec![source::run(self, source, listeners).await?],
            Op::Exec(exec) => exec::run(self, exec, listeners).await?,
            Op::File(actions) => file::run(self, actions).await?,
            Op::Merge => vec![self.merge().await?],
            Op::Diff { lower, upper } => vec![self.diff(*lower, *upper).await?],
        };
        Ok(Arc::new(Outputs { trees }))
    }

    async fn merge(&self) -> Result<Tree, Error> {
        let mut layers = Vec::new();
        let mut held = Vec::new();
        for input in &self.inputs {
            let tree = self.layered(input).await?;
            layers.extend(tree.layers().unwrap_or_default().iter().cloned());
            held.push(tree);
        }
        Ok(Tree::of_layers(self.storage(), layers))
    }

    async fn diff(&self, lower: Option<usize>, upper: Option<usize>) -> Result<Tree, Error> {
        let Some(upper) = upper else {
            return Ok(Tree::of_layers(self.storage(), Vec::new()));
        };
        let upper = self.layered(self.input(upper)?).await?;
        let Some(lower) = lower else {
            return Ok(upper);
        };
        let lower = self.layered(self.input(lower)?).await?;
        let (below, all) = (
            lower.layers().unwrap_or_default(),
            upper.layers().unwrap_or_default(),
        );
        match all.strip_prefix(below) {
            Some(rest) => Ok(Tree::of_layers(self.storage(), rest.to_vec())),
            None => Err(Error::Unsupported(
                "a difference of trees of which the second is not made of the first is not supported"
                    .to_owned(),
            )),
        }
    }

    /// The same files in layers.
    pub(crate) async fn layered(&self, tree: &Tree) -> Result<Tree, Error> {
        let Some(directory) = tree.directory() else {
            return Ok(tree.clone());
        };
        let snapshot = self.snapshot(&[]).await?;
        let target = self
            .storage()
            .open_snapshot(snapshot.id())
            .await
            .map_err(Error::Storage)?;
        let source = arca_archive::open_root(directory).map_err(Error::errno("open", directory))?;
        blocking(move || arca_archive::copy_tree(&source, &target, false).map_err(Error::Archive))
            .await?;
        snapshot.commit().await
    }

    /// Something to write to on top of layers.
    pub(crate) async fn snapshot(&self, layers: &[DiffId]) -> Result<Snapshot, Error> {
        let id = ContainerId::random();
        let (layers, storage, job) = (layers.to_vec(), self.storage().clone(), self.job.clone());
        // To its end, also when the build is broken off meanwhile: then what was made goes again.
        let made = self.job.0.service.tasks.spawn(async move {
            let prepared = storage.prepare(&id, &layers).await;
            prepared.map_err(Error::Storage)?;
            Ok(Snapshot {
                id,
                mine: true,
                layers,
                storage,
                job,
            })
        });
        made.await.unwrap_or(Err(Error::Cancelled))
    }
}

/// Something to write to. It goes when it is dropped, unless it has become a layer.
#[derive(Debug)]
pub(crate) struct Snapshot {
    id: ContainerId,
    /// Does it go with this?
    mine: bool,
    layers: Vec<DiffId>,
    storage: Storage,
    job: Job,
}

impl Snapshot {
    pub(crate) fn id(&self) -> &ContainerId {
        &self.id
    }

    /// Makes a layer of what was written.
    pub(crate) async fn commit(mut self) -> Result<Tree, Error> {
        let lease = self.storage.lease();
        let committed = self
            .storage
            .commit(&lease, self.id())
            .await
            .map_err(Error::Storage)?;
        self.mine = false;
        let mut layers = std::mem::take(&mut self.layers);
        layers.push(committed.diff_id);
        let tree = Tree::of_layers(&self.storage, layers);
        drop(lease);
        Ok(tree)
    }
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        if !self.mine {
            return;
        }
        let (id, storage) = (self.id.clone(), self.storage.clone());
        self.job.0.service.tasks.spawn(async move {
            if let Err(error) = storage.remove(&id).await {
                tracing::warn!(%error, "the snapshot of a step stays until the next start");
            }
        });
    }
}

/// Runs what blocks on a thread that may.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or(Err(Error::Cancelled))
}
