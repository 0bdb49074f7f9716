//! Archives that a client sends by a request of their own, for a build of another request.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
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

/// An archive that waits; it is taken back with this, unless a build has it.
struct Offer<'a> {
    uploads: &'a Uploads,
    id: &'a str,
    url: String,
}

impl Offer<'_> {
    /// Takes the archive back; `false` when a build has it.
    fn withdraw(&self) -> bool {
        let mut waiting = self.uploads.waiting();
        let own = waiting
            .get(self.id)
            .is_some_and(|body| body.url() == self.url);
        own && waiting.remove(self.id).is_some()
    }
}

impl Drop for Offer<'_> {
    fn drop(&mut self) {
        self.withdraw();
    }
}

impl Uploads {
    fn offer<'a>(&'a self, id: &'a str, body: Body) -> Result<Offer<'a>, Error> {
        let url = body.url();
        match self.waiting().entry(id.to_owned()) {
            Entry::Occupied(_) => {
                let text = format!("an upload for build {id} is waiting already");
                return Err(Error::Invalid(text));
            }
            Entry::Vacant(place) => drop(place.insert(body)),
        }
        self.arrived.notify_waiters();
        Ok(Offer {
            uploads: self,
            id,
            url,
        })
    }
}

impl BuildKit {
    /// Has the files of a build at hand until the build has taken them, or has ended.
    ///
    /// # Errors
    /// When no build of that ID comes, or another archive waits for it.
    pub async fn upload(&self, id: &str, body: ByteStream) -> Result<(), Error> {
        self.0.uploads.upload(id, body).await
    }
}

impl Uploads {
    async fn upload(&self, id: &str, body: ByteStream) -> Result<(), Error> {
        // Dropped with the stream: when all is read, or the build has ended.
        let (held, mut ended) = oneshot::channel::<()>();
        let held = futures_util::stream::unfold((body, held), async |(mut body, held)| {
            let next = body.next().await?;
            Some((next, (body, held)))
        });
        let offer = self.offer(id, Body::new(Box::pin(held)))?;
        if tokio::time::timeout(ARRIVAL, &mut ended).await.is_ok() {
            return Ok(());
        }
        if offer.withdraw() {
            return Err(Error::NotFound(format!("no build {id} takes the upload")));
        }
        // A build has it, so this takes no longer than the build.
        let _dropped = ended.await;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream() -> ByteStream {
        Box::pin(futures_util::stream::iter([Ok(bytes::Bytes::from("x"))]))
    }

    #[tokio::test(start_paused = true)]
    async fn an_upload_that_no_build_takes_is_refused_and_taken_back() {
        let uploads = Uploads::default();
        let error = uploads.upload("a", stream()).await.unwrap_err();
        assert_eq!(error.to_string(), "no build a takes the upload");
        assert!(uploads.waiting().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn an_upload_goes_with_its_client_and_is_never_replaced() {
        let uploads = Uploads::default();
        {
            let mut first = Box::pin(uploads.upload("a", stream()));
            assert!(futures_util::poll!(&mut first).is_pending());
            let error = uploads.upload("a", stream()).await.unwrap_err();
            assert_eq!(
                error.to_string(),
                "an upload for build a is waiting already"
            );
            assert_eq!(uploads.waiting().len(), 1);
        }
        assert!(uploads.waiting().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn an_upload_lasts_until_its_build_lets_it_go() {
        let uploads = Uploads::default();
        let mut upload = Box::pin(uploads.upload("a", stream()));
        assert!(futures_util::poll!(&mut upload).is_pending());
        let body = uploads.take("a").await.unwrap();
        tokio::time::advance(2 * ARRIVAL).await;
        assert!(futures_util::poll!(&mut upload).is_pending());
        drop(body);
        upload.await.unwrap();
    }
}
