//! Files from outside.

mod git;
mod http;
mod image;
pub(crate) mod layout;
mod local;
pub(crate) mod ssh;

use std::sync::Mutex;

use arca_types::Digest;

use crate::graph::Source;
use crate::material::Material;
use crate::solve::{Listeners, Step};
use crate::{Error, Tree};
pub(crate) use http::date;
pub(crate) use image::{at_registry, not_found};
pub(crate) use local::LocalDirectories;

/// What was fetched already when the key of a source was made.
#[derive(Debug, Default)]
pub(crate) struct Prepared(Mutex<Option<Content>>);

#[derive(Debug)]
enum Content {
    /// An image whose layers are here.
    Image(Box<arca_images::Base>),
    /// A downloaded file.
    File(http::Download),
    /// A commit.
    Commit(String),
}

impl Prepared {
    fn put(&self, content: Content) {
        *self.lock() = Some(content);
    }

    fn take(&self) -> Option<Content> {
        self.lock().take()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Content>> {
        self.0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Is it the client's, to be asked for in every build?
pub(crate) fn is_local(source: &Source) -> bool {
    matches!(source, Source::Local(_))
}

/// The cache key of a source: what is there now.
pub(crate) async fn key(step: &Step, source: &Source) -> Result<Digest, Error> {
    match source {
        Source::Image(image) => image::key(step, image).await,
        Source::Http(file) => http::key(step, file).await,
        Source::Git(repository) => git::key(step, repository).await,
        Source::Local(_) => Err(Error::Invalid(
            "a directory of the client has no key".to_owned(),
        )),
        Source::OciLayout(layout) => layout::key(step, layout).await,
    }
}

/// Fetches it.
pub(crate) async fn run(
    step: &Step,
    source: &Source,
    listeners: &Listeners,
) -> Result<Tree, Error> {
    match source {
        Source::Image(image) => image::run(step, image, listeners).await,
        Source::Http(file) => http::run(step, file).await,
        Source::Git(repository) => git::run(step, repository).await,
        Source::Local(local) => {
            step.job.has_used(Material::Local(local.name.clone()));
            local::run(step, local, listeners).await
        }
        Source::OciLayout(layout) => layout::run(step, layout).await,
    }
}
