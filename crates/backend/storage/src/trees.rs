//! Trees as they are, without what every container has: what builds work on.

use std::os::fd::OwnedFd;
use std::path::PathBuf;

use arca_archive::open_root;
use arca_types::{ContainerId, DiffId};

use crate::error::Error;
use crate::mount::Overlay;
use crate::record::Driver;
use crate::storage::{Inner, Storage};

impl Storage {
    /// The directories of layers, the topmost first; a layer that occurs twice is there once.
    ///
    /// # Errors
    /// [`Error::NoLayer`].
    pub fn layer_directories(&self, layers: &[DiffId]) -> Result<Vec<PathBuf>, Error> {
        self.inner.bare(layers)
    }

    /// Opens the merged contents of layers, the lowest first, to read only; without layers, something
    /// empty.
    ///
    /// # Errors
    /// [`Error::NoLayer`], [`Error::NotOverlay`], [`Error::Mount`].
    pub async fn open_layers(&self, layers: &[DiffId]) -> Result<OwnedFd, Error> {
        let layers = layers.to_vec();
        self.blocking(move |inner| inner.open_layers(&layers)).await
    }

    /// Opens a snapshot that nobody runs in, to read and to write.
    ///
    /// # Errors
    /// [`Error::NoSnapshot`], [`Error::NoLayer`], [`Error::NotOverlay`], [`Error::Mount`].
    pub async fn open_snapshot(&self, id: &ContainerId) -> Result<OwnedFd, Error> {
        let id = id.clone();
        self.blocking(move |inner| {
            let record = inner.snapshot(&id)?;
            if record.driver != Driver::Overlay {
                return Err(Error::NotOverlay);
            }
            let directory = inner.paths.snapshot(record.number);
            let (upper, work) = (directory.join("upper"), directory.join("work"));
            let lower = inner.bare(&record.layers)?;
            if lower.is_empty() {
                return open_root(&upper).map_err(Error::io("open", &upper));
            }
            Overlay {
                lower,
                upper: Some((upper, work)),
            }
            .open()
        })
        .await
    }

    /// The directory that has what was written into a snapshot, and the work directory beside it.
    ///
    /// # Errors
    /// [`Error::NoSnapshot`], [`Error::NotOverlay`].
    pub fn written(&self, id: &ContainerId) -> Result<(PathBuf, PathBuf), Error> {
        let record = self.inner.snapshot(id)?;
        if record.driver != Driver::Overlay {
            return Err(Error::NotOverlay);
        }
        let directory = self.inner.paths.snapshot(record.number);
        Ok((directory.join("upper"), directory.join("work")))
    }
}

impl Inner {
    fn bare(&self, layers: &[DiffId]) -> Result<Vec<PathBuf>, Error> {
        let mut lower = self.lower(layers)?;
        lower.pop();
        Ok(lower)
    }

    fn open_layers(&self, layers: &[DiffId]) -> Result<OwnedFd, Error> {
        if self.driver != Driver::Overlay {
            return Err(Error::NotOverlay);
        }
        let lower = self.bare(layers)?;
        match lower.as_slice() {
            [] => {
                let nothing = self.paths.nothing();
                open_root(&nothing).map_err(Error::io("open", &nothing))
            }
            [only] => open_root(only).map_err(Error::io("open", only)),
            _ => Overlay { lower, upper: None }.open(),
        }
    }
}
