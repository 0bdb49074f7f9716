//! Archives that a client sends by a request of their own, for a build of another request.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arca_build::Error;
use arca_images::ByteStream;
use futures_util::StreamExt as _;
use tokio::sync::{Notify, oneshot};

use crate::service::BuildKit;
use crate::session::Body;

/// How long either request waits for the other: clients send both at the same time.
const ARRIVAL: Duration = Duration::from_secs(5);

/// Archives that wait for their builds, by the builds' IDs.
#[derive(Debug, Default)]
pub(crate) struct Uploads {
    waiting: Mutex<HashMap<String, Body>>,
    arrived: Notify,
}

impl Uploads {
    fn waiting(&self) -> MutexGuard<'_, HashMap<String, Body>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The archive for that build; waits a little for one that is about to come.
    pub(crate) async fn take(&self, id: &str) -> Result<Body, Error> {
        let deadline = tokio::time::Instant::now() + ARRIVAL;
        loop {
            let arrived = self.arrived.notified();
            tokio::pin!(arrived);
            arrived.as_mut().enable();
            if let Some(body) = self.waiting().remove(id) {
                return Ok(body);
            }
            if tokio::time::timeout_at(deadline, arrived).await.is_err() {
                return Err(Error::NotFound(format!("no upload for build {id}")));
            }
        }
    }
}

impl BuildKit {
    /// Has the files of a build at hand until the build has taken them, or has ended.
    ///
    /// # Errors
    /// When no build of that ID comes.
    pub async fn upload(&self, id: &str, body: ByteStream) -> Result<(), Error> {
        let (done, taken) = oneshot::channel::<()>();
        let uploads = &self.0.uploads;
        let guarded = futures_util::stream::unfold((body, done), async |(mut body, done)| {
            let next = body.next().await?;
            Some((next, (body, done)))
        });
        uploads
            .waiting()
            .insert(id.to_owned(), Body::new(Box::pin(guarded)));
        uploads.arrived.notify_waiters();
        let deadline = tokio::time::sleep(ARRIVAL);
        tokio::pin!(deadline, taken);
        tokio::select! {
            _ = &mut taken => return Ok(()),
            () = &mut deadline => {}
        }
        if uploads.waiting().remove(id).is_some() {
            return Err(Error::NotFound(format!("no build {id} takes the upload")));
        }
        // The sender is dropped with the stream, so this is an error, and the end.
        let ended = taken.await;
        tracing::trace!(?ended, id, "an upload was taken");
        Ok(())
    }
}
