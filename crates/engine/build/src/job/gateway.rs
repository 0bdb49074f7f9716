//! What the Dockerfile front end asks of its build.

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
        if request.layout.is_some() {
            let text = "images from an OCI layout of the client are not supported";
            return Err(Error::Unsupported(text.to_owned()));
        }
        let vertex = self.begin(&request.log_name);
        let platform = request.platform.as_ref();
        let resolved = Self::resolve_image(self, &request.reference, platform, request.resolve);
        match resolved.await {
            Ok(resolved) => self.finish(vertex, Ok(())).map(|()| resolved),
            Err(error) => {
                self.fail(vertex, arca_types::chain(&error));
                Err(error)
            }
        }
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
