//! Removing a volume.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use arca_store::Batch;
use arca_types::random_hex;

use crate::error::Error;
use crate::record::Volume;
use crate::volumes::{DELETED, Volumes};

impl Volumes {
    /// Removes a volume that no container has (`VolumeDelete`). Its data go in the background.
    ///
    /// `force` makes a volume that does not exist a success.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::InUse`], or why it could not be removed; it is whole then.
    pub async fn remove(&self, name: &str, force: bool) -> Result<(), Error> {
        let _guard = self.0.changes.lock().await;
        match self.take_away(name).await {
            Err(Error::NotFound(_)) if force => Ok(()),
            done => done,
        }
    }

    /// Removes one volume; the caller holds the lock of changes.
    pub(crate) async fn take_away(&self, name: &str) -> Result<(), Error> {
        let entry = self.withdraw(name)?;
        let batch = Batch::new().delete::<Volume>(name);
        // The record first: data without a record are no volume, and used again if the name comes back.
        if let Err(error) = self.commit(batch, Self::event("destroy", name)).await {
            self.index().insert(name.to_owned(), entry);
            return Err(error);
        }
        let hidden = format!("{DELETED}{}", random_hex(8));
        match std::fs::rename(self.0.root.join(name), self.0.root.join(&hidden)) {
            Ok(()) => delete_later(self.0.root.clone(), hidden.into()),
            Err(error) => tracing::warn!(%error, name, "the data of a removed volume are left"),
        }
        Ok(())
    }

    /// Takes an unused volume out of the index, so that nobody can acquire it any more.
    fn withdraw(&self, name: &str) -> Result<crate::volumes::Entry, Error> {
        let mut index = self.index();
        let entry = index
            .get(name)
            .ok_or_else(|| Error::NotFound(name.to_owned()))?;
        if !entry.users.is_empty() {
            let containers = entry.users.iter().map(ToString::to_string).collect();
            return Err(Error::InUse {
                name: name.to_owned(),
                containers,
            });
        }
        index
            .remove(name)
            .ok_or_else(|| Error::NotFound(name.to_owned()))
    }
}

/// Deletes `name` in `root` on a thread of its own; what is left after a crash goes at the next start.
pub(crate) fn delete_later(root: PathBuf, name: OsString) {
    let delete = move || {
        let done = arca_archive::open_root(&root)
            .and_then(|root| arca_archive::remove_tree(root, name.as_bytes()));
        if let Err(error) = done {
            tracing::warn!(%error, ?name, "the data of a removed volume could not be deleted");
        }
    };
    if let Err(error) = std::thread::Builder::new()
        .name("volume-delete".into())
        .spawn(delete)
    {
        tracing::warn!(%error, "no thread to delete the data of a removed volume");
    }
}
