//! Layers on their way: each one once, whoever waits for it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use arca_registry::{Descriptor, Piece, Remote};
use arca_storage::{Layer, LayerIngest, LayerSource, Lease, Storage};
use arca_types::Digest;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::error::Error;
use crate::progress::{Detail, Progress, ProgressSink, tell};

/// The least time between two lines about the bytes of one layer.
const PERIOD: Duration = Duration::from_millis(100);

/// Where a layer is.
#[derive(Debug, Clone)]
enum State {
    /// Other downloads run.
    Waiting,
    Downloading(u64),
    Retrying(Duration),
    /// All bytes are here; they are being checked and unpacked.
    Unpacking,
    Done(Layer),
    /// Why it will not come. Taken by the first that asks; the text is for the others.
    Failed(Failure),
}

#[derive(Debug, Clone)]
struct Failure {
    first: Arc<Mutex<Option<Error>>>,
    text: String,
}

impl Failure {
    fn new(error: Error) -> Self {
        let text = arca_types::chain(&error);
        Self {
            first: Arc::new(Mutex::new(Some(error))),
            text,
        }
    }

    fn take(&self) -> Error {
        let first = self
            .first
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        first.unwrap_or_else(|| Error::Shared(self.text.clone()))
    }
}

/// A layer on its way. It is given up when the last pull that waits for it is.
#[derive(Debug)]
pub(crate) struct LayerTask {
    size: u64,
    state: watch::Receiver<State>,
    task: JoinHandle<()>,
    /// Holds the layer until the records of those who waited do.
    _lease: Arc<Lease>,
}

impl Drop for LayerTask {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// All layers on their way, by the digest of the blob.
#[derive(Debug, Default)]
pub(crate) struct InFlight {
    tasks: Mutex<HashMap<Digest, Weak<LayerTask>>>,
}

impl InFlight {
    /// Joins whoever waits for this layer, or begins.
    pub(crate) fn join(
        &self,
        storage: &Storage,
        remote: &Remote,
        layer: &Descriptor,
    ) -> Arc<LayerTask> {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.retain(|_, task| task.strong_count() > 0);
        let running = tasks.get(&layer.digest).and_then(Weak::upgrade);
        if let Some(task) = running.filter(|task| !task.has_failed()) {
            return task;
        }
        let task = Arc::new(LayerTask::begin(storage, remote, layer));
        tasks.insert(layer.digest.clone(), Arc::downgrade(&task));
        task
    }
}

impl LayerTask {
    fn begin(storage: &Storage, remote: &Remote, layer: &Descriptor) -> Self {
        let lease = Arc::new(storage.lease());
        let _coming = lease.blob(&layer.digest);
        let source = LayerSource {
            digest: Some(layer.digest.clone()),
            size: Some(layer.size),
            ..LayerSource::default()
        };
        let (sender, state) = watch::channel(State::Waiting);
        let download = Download {
            remote: remote.clone(),
            layer: layer.clone(),
            begin: Begin {
                storage: storage.clone(),
                lease: Arc::clone(&lease),
                source,
            },
            state: sender,
        };
        let task = tokio::spawn(download.run());
        Self {
            size: layer.size,
            state,
            task,
            _lease: lease,
        }
    }

    fn has_failed(&self) -> bool {
        matches!(*self.state.borrow(), State::Failed(_))
    }

    /// Tells of the layer until it is here.
    pub(crate) async fn follow(&self, id: &str, sink: &ProgressSink) -> Result<Layer, Error> {
        let mut state = self.state.clone();
        let mut teller = Teller {
            id,
            size: self.size,
            sink,
            due: None,
            complete: false,
        };
        loop {
            let now = state.borrow_and_update().clone();
            if let Some(outcome) = teller.tell(now).await {
                return outcome;
            }
            if state.changed().await.is_err() {
                return Err(Error::Interrupted);
            }
        }
    }
}

/// One download, which unpacks while bytes arrive.
struct Download {
    remote: Remote,
    layer: Descriptor,
    begin: Begin,
    state: watch::Sender<State>,
}

/// What it takes to begin to take in a layer.
struct Begin {
    storage: Storage,
    lease: Arc<Lease>,
    source: LayerSource,
}

impl Begin {
    fn ingest(&self) -> LayerIngest {
        self.storage.ingest_layer(&self.lease, self.source.clone())
    }
}

impl Download {
    async fn run(self) {
        let outcome = match self.transfer(&self.remote).await {
            // A mirror may have anything: the registry itself has the last word.
            Err(Error::LayerDigest(digest)) => match self.remote.past_mirrors() {
                Some(origin) => {
                    tracing::warn!(%digest, "a mirror has other content: asking the registry");
                    self.transfer(&origin).await
                }
                None => Err(Error::LayerDigest(digest)),
            },
            other => other,
        };
        let state = match outcome {
            Ok(layer) => State::Done(layer),
            Err(error) => State::Failed(Failure::new(error)),
        };
        // Whoever waits may collect at once: nothing of the download holds the layer any more.
        let Self {
            begin, state: told, ..
        } = self;
        drop(begin);
        told.send_replace(state);
    }

    async fn transfer(&self, remote: &Remote) -> Result<Layer, Error> {
        let digest = &self.layer.digest;
        let mut blob = remote.blob(&self.layer, 0);
        let slot = remote.registry().download_slot();
        let slot = slot.await.map_err(Error::Registry)?;
        // Its threads begin when there is something for them to do.
        let mut ingest = self.begin.ingest();
        self.state.send_replace(State::Downloading(0));
        while let Some(piece) = blob.next().await.map_err(Error::Registry)? {
            match piece {
                Piece::Data(data) => {
                    let written = ingest.write(data).await;
                    written.map_err(|error| failed(digest, error))?;
                    self.state.send_replace(State::Downloading(blob.received()));
                }
                Piece::Retrying(pause) => {
                    self.state.send_replace(State::Retrying(pause));
                }
            }
        }
        drop(slot);
        self.state.send_replace(State::Unpacking);
        let layer = ingest.finish().await;
        layer.map_err(|error| failed(digest, error))
    }
}

/// Content that is not what its digest says is told in dockerd's words.
fn failed(digest: &Digest, error: arca_storage::Error) -> Error {
    match error {
        arca_storage::Error::Verification(_) => Error::LayerDigest(digest.clone()),
        other => Error::Layer(other),
    }
}

/// Turns states into lines, as dockerd words them.
struct Teller<'a> {
    id: &'a str,
    size: u64,
    sink: &'a ProgressSink,
    /// When the next line about bytes may be told.
    due: Option<Instant>,
    /// Has the end of the download been told?
    complete: bool,
}

impl Teller<'_> {
    async fn tell(&mut self, state: State) -> Option<Result<Layer, Error>> {
        match state {
            State::Waiting => self.line("Waiting", None).await,
            State::Downloading(0) => {}
            State::Downloading(current) => self.bytes(current).await,
            State::Retrying(pause) => {
                let seconds = pause.as_secs().max(1);
                let plural = if seconds == 1 { "" } else { "s" };
                self.line(&format!("Retrying in {seconds} second{plural}"), None)
                    .await;
            }
            State::Unpacking => self.completed().await,
            State::Done(layer) => {
                self.completed().await;
                self.line("Pull complete", None).await;
                return Some(Ok(layer));
            }
            State::Failed(failure) => return Some(Err(failure.take())),
        }
        None
    }

    async fn bytes(&mut self, current: u64) {
        let now = Instant::now();
        if current < self.size && self.due.is_some_and(|due| now < due) {
            return;
        }
        self.due = Some(now + PERIOD);
        self.line("Downloading", Some(current)).await;
    }

    async fn completed(&mut self) {
        if self.complete {
            return;
        }
        self.complete = true;
        self.line("Verifying Checksum", None).await;
        self.line("Download complete", None).await;
        self.line("Extracting", Some(self.size)).await;
    }

    async fn line(&self, status: &str, current: Option<u64>) {
        let detail = current.map(|current| Detail {
            current,
            total: self.size,
        });
        tell(self.sink, Progress::step(self.id, status, detail)).await;
    }
}
