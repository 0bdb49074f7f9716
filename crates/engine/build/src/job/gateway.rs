//! What the Dockerfile front end asks of its build.

use std::sync::{Arc, PoisonError};

use arca_types::Platform;
use async_trait::async_trait;

use super::Job;
use crate::Error;
use crate::frontend::{Gateway, ImageRequest};
use crate::graph::Edge;
use crate::progress::Warning;
use crate::request::ResolvedImage;

#[async_trait]
impl Gateway for Job {
    fn platform(&self) -> Platform {
        Platform::host()
    }

    async fn resolve_image(&self, request: &ImageRequest) -> Result<ResolvedImage, Error> {
        let cell = {
            let resolved = &self.0.resolved;
            let mut resolved = resolved.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(resolved.entry(request.clone()).or_default())
        };
        let found = cell.get_or_try_init(|| self.resolve_anew(request)).await;
        found.cloned()
    }

    async fn read_file(&self, tree: &Edge, path: &str) -> Result<Option<Vec<u8>>, Error> {
        match Self::read_file(self, Some(tree), path, None).await {
            Ok(data) => Ok(Some(data)),
            Err(Error::NotFound(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn warn(&self, warning: Warning) {
        Self::warn(self, warning);
    }
}

impl Job {
    /// Resolves an image, and tells clients so.
    async fn resolve_anew(&self, request: &ImageRequest) -> Result<ResolvedImage, Error> {
        let vertex = self.begin(&request.log_name);
        let platform = request.platform.as_ref();
        let resolved = match &request.layout {
            Some(layout) => {
                let place = (layout.store.as_str(), request.reference.as_str());
                self.resolve_layout(place, platform).await
            }
            None => Self::resolve_image(self, &request.reference, platform, request.resolve).await,
        };
        match resolved {
            Ok(resolved) => self.finish(vertex, Ok(())).map(|()| resolved),
            Err(error) => {
                self.fail(vertex, arca_types::chain(&error));
                let reference = &request.reference;
                Err(error.context(format!("failed to resolve source metadata for {reference}")))
            }
        }
    }
}
