//! `ContainerArchiveInfo` and `ContainerArchive`: what is at a path, and an archive of it.

use std::io::Write;
use std::pin::Pin;
use std::task::{Context, Poll};

use arca_archive::{PackFormat, PackOptions, Packer};
use arca_types::IdMaps;
use bytes::Bytes;
use futures_util::Stream;
use tokio::sync::oneshot;

use super::path::{Found, PathStat, Wanted};
use super::pipe::{Pieces, pipe};
use crate::Error;
use crate::service::Containers;
use crate::start::blocking;

/// An archive of a path in a container: a stream of its bytes.
pub struct Archive {
    /// What is at the path.
    pub stat: PathStat,
    pieces: Pieces,
}

impl std::fmt::Debug for Archive {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Archive")
            .field("stat", &self.stat)
            .finish_non_exhaustive()
    }
}

impl Stream for Archive {
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.pieces.as_mut().poll_next(cx)
    }
}

impl Containers {
    /// Tells what is at a path in a container (`ContainerArchiveInfo`).
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::NoSuchFile`]; others when it cannot be looked at.
    pub async fn path_stat(&self, id: &str, path: &str) -> Result<PathStat, Error> {
        let container = self.get(id)?;
        let view = self.service().view(&container).await?;
        let wanted = Wanted::new(path, id);
        blocking(move || view.with(|root| Ok(wanted.find(root)?.stat))).await
    }

    /// Makes an archive of what is at a path in a container, with everything below it
    /// (`ContainerArchive`). It is made while it is read.
    ///
    /// # Errors
    /// As [`path_stat`](Self::path_stat); the stream ends with an error when something cannot be read.
    pub async fn archive(&self, id: &str, path: &str) -> Result<Archive, Error> {
        let container = self.get(id)?;
        let view = self.service().view(&container).await?;
        let wanted = Wanted::new(path, id);
        let (outlet, pieces) = pipe();
        let (told, found) = oneshot::channel();
        // What no mapping has is left as it is.
        let ids = view.ids(true);
        self.service().tasks.spawn_blocking(move || {
            let mut told = Some(told);
            let packed = view.with(|root| {
                let found = wanted.find(root)?;
                let stat = Ok(found.stat.clone());
                if told.take().is_some_and(|told| told.send(stat).is_ok()) {
                    outlet.fill(|out| pack(&found, wanted.name(), ids, out));
                }
                Ok(())
            });
            if let Err(error) = packed
                && told.is_none_or(|told| told.send(Err(error)).is_err())
            {
                tracing::debug!("nobody waits for the archive any more");
            }
        });
        let stat = found.await.unwrap_or(Err(Error::ShuttingDown))?;
        let event = crate::actor::event(&container, "archive-path");
        self.service().events.publish(event).await;
        Ok(Archive { stat, pieces })
    }
}

fn pack(found: &Found, name: &str, ids: Option<IdMaps>, out: impl Write) -> Result<(), Error> {
    let options = PackOptions {
        format: PackFormat::Tree,
        owner: None,
        mtime: None,
    };
    let mut packer = Packer::new(out, options).inside(ids);
    packer
        .add(&found.parent, found.name.as_bytes(), name.as_bytes())
        .and_then(|()| packer.finish().map(drop))
        .map_err(Error::Archive)
}
