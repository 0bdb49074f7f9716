//! `ContainerExport`: the root filesystem as an archive.

use std::pin::Pin;
use std::task::{Context, Poll};

use arca_archive::{PackFormat, PackOptions, Packer};
use bytes::Bytes;
use futures_util::Stream;

use crate::Error;
use crate::archive::{Pieces, pipe};
use crate::container::Container;
use crate::service::Containers;
use crate::start::blocking;
use crate::state::State;

/// An archive of a root filesystem: a stream of its bytes.
pub struct Export(Pieces);

impl std::fmt::Debug for Export {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Export").finish_non_exhaustive()
    }
}

impl Stream for Export {
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.as_mut().poll_next(cx)
    }
}

impl Containers {
    /// Makes an archive of a container's root filesystem without what is mounted in it
    /// (`ContainerExport`). It is made while it is read.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Conflict`] for a container that is being removed;
    /// [`Error::Storage`]. The stream ends with an error when something cannot be read.
    pub async fn export(&self, id: &str) -> Result<Export, Error> {
        let container = self.get(id)?;
        check_whole(&container, "export")?;
        let service = self.service();
        let mut root = service.root_of(&container).await?;
        let ids = root.take_users().map(|users| users.ids);
        let root = blocking(move || root.open()).await?;
        let (outlet, pieces) = pipe();
        let options = PackOptions {
            format: PackFormat::Tree,
            owner: None,
            mtime: None,
        };
        let owner = std::sync::Arc::clone(service);
        service.tasks.spawn(async move {
            let packed = blocking(move || {
                Ok(outlet.fill(|out| {
                    let mut packer = Packer::new(out, options).inside(ids);
                    packer
                        .contents(&root, b"")
                        .and_then(|()| packer.finish().map(drop))
                        .map_err(Error::Archive)
                }))
            });
            if let Ok(Some(())) = packed.await {
                let event = crate::actor::event(&container, "export");
                owner.events.publish(event).await;
            }
        });
        Ok(Export(pieces))
    }
}

/// Refuses what needs a whole container.
pub(crate) fn check_whole(container: &Container, what: &str) -> Result<(), Error> {
    let state = match container.state {
        State::Dead => "Dead",
        State::Removing => "being removed",
        _ => return Ok(()),
    };
    let text = format!(
        "You cannot {what} container {} which is {state}",
        container.id
    );
    Err(Error::Conflict(text))
}
