//! What an operation that failed has brought is dropped.

use crate::error::Error;
use crate::images::Images;

/// Collects what nothing refers to when an operation fails, or is given up by its client.
pub(crate) struct Leftovers {
    images: Option<Images>,
}

impl Drop for Leftovers {
    fn drop(&mut self) {
        // The operation was dropped while it ran. What this misses, the next collection finds.
        let Some(images) = self.images.take() else {
            return;
        };
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let _detached = runtime.spawn(async move { collect(&images).await });
        }
    }
}

impl Leftovers {
    /// To be made before anything is fetched.
    pub(crate) fn of(images: &Images) -> Self {
        Self {
            images: Some(images.clone()),
        }
    }

    /// To be called with the outcome, when the operation holds nothing any more.
    pub(crate) async fn settle<T>(mut self, outcome: Result<T, Error>) -> Result<T, Error> {
        if let (Some(images), true) = (self.images.take(), outcome.is_err()) {
            collect(&images).await;
        }
        outcome
    }
}

async fn collect(images: &Images) {
    if let Err(error) = images.reclaim().await {
        tracing::warn!(%error, "content of a failed operation stays until the next collection");
    }
}
