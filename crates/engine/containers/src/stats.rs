//! `ContainerStats`: what a container uses, once or every second.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use arca_types::{ContainerId, Timestamp};
use futures_util::Stream;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

use crate::Error;
use crate::index::Handle;
use crate::service::{Containers, Service};

/// Between two samples.
const PERIOD: Duration = Duration::from_secs(1);

/// `ContainerStats`.
#[derive(Debug, Clone, Copy, Default)]
pub struct StatsRequest {
    /// Whether to go on every second.
    pub stream: bool,
    /// Whether one sample is enough, without one before it to compare with.
    pub one_shot: bool,
}

/// What a container used at one moment.
#[derive(Debug, Clone)]
pub struct Sample {
    /// Container.
    pub id: ContainerId,
    /// Its name, without a slash.
    pub name: Arc<str>,
    /// When; zero when it does not run.
    pub read: Timestamp,
    /// What; nothing when it does not run.
    pub current: Option<Arc<arca_runtime::Stats>>,
    /// The sample before.
    pub previous: Option<Arc<arca_runtime::Stats>>,
}

/// Samples. Dropping it ends the sampling.
#[derive(Debug)]
pub struct StatsStream(mpsc::Receiver<Sample>);

impl Stream for StatsStream {
    type Item = Sample;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Sample>> {
        self.0.poll_recv(cx)
    }
}

impl Containers {
    /// Samples what a container uses (`ContainerStats`). One that does not run uses nothing.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub fn stats(&self, id: &str, request: StatsRequest) -> Result<StatsStream, Error> {
        let service = Arc::clone(self.service());
        let handle = service.index.find(id)?;
        let (sender, receiver) = mpsc::channel(1);
        let closing = service.closing.clone();
        self.service().tasks.spawn(async move {
            let sampling = sample(service, handle, request, sender);
            if closing.run_until_cancelled(sampling).await.is_none() {
                tracing::debug!("sampling ends with the daemon");
            }
        });
        Ok(StatsStream(receiver))
    }
}

async fn sample(
    service: Arc<Service>,
    handle: Arc<Handle>,
    request: StatsRequest,
    sender: mpsc::Sender<Sample>,
) {
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut previous = None;
    // Without a stream the first sample is only there to be compared with.
    let mut skip =
        !request.stream && !request.one_shot && handle.snapshot().state.process().is_some();
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = sender.closed() => return,
        }
        let container = handle.snapshot();
        let current = read(&service, &container.id).await;
        if std::mem::take(&mut skip) && current.is_some() {
            previous = current;
            continue;
        }
        let sample = Sample {
            id: container.id.clone(),
            name: Arc::clone(&container.name),
            read: current.as_ref().map_or(Timestamp::ZERO, |stats| stats.read),
            current: current.clone(),
            previous: previous.take(),
        };
        previous = current;
        let removed = handle.commands.is_closed();
        if sender.send(sample).await.is_err() || !request.stream || removed {
            return;
        }
    }
}

async fn read(service: &Service, id: &ContainerId) -> Option<Arc<arca_runtime::Stats>> {
    match service.runtime.stats(id).await {
        Ok(stats) => Some(Arc::new(stats)),
        Err(arca_runtime::Error::NotRunning(_)) => None,
        Err(error) => {
            let error = arca_types::chain(&error);
            tracing::debug!(container.id = %id, error, "no sample");
            None
        }
    }
}
