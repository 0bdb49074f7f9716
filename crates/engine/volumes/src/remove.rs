//! Removing a volume.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use arca_store::Batch;
use arca_types::random_hex;

use crate::error::Error;
use crate::record::Volume;
use crate::volumes::{Entry, Volumes};

/// What begins the names of data that are being deleted; no volume's name begins with a dot.
const DELETED: &str = ".deleted-";

impl Volumes {
    /// Removes a volume that no container has (`VolumeDelete`). Its data go in the background.
    ///
    /// `force` makes a volume that does not exist a success, and forgets one whose plugin does not remove it.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::InUse`], or why it could not be removed; it is whole then.
    pub async fn remove(&self, name: &str, force: bool) -> Result<(), Error> {
        let volumes = self.clone();
        let name = name.to_owned();
        self.note_elsewhere(&name).await;
        // A client that goes away must not leave a record that the index does not know.
        let removed = tokio::spawn(async move { volumes.remove_all(vec![name], force).await });
        let (_, failed) = removed.await.map_err(|_cancelled| Error::ShuttingDown)??;
        match failed {
            Some(Error::NotFound(_)) if force => Ok(()),
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    /// Takes note of the volume `name` if nobody knows it but a plugin, which has it of somebody else.
    async fn note_elsewhere(&self, name: &str) {
        if self.index().contains_key(name) {
            return;
        }
        if let Some(found) = self.0.drivers.found_elsewhere(name).await {
            let entry = Entry::new(Arc::new(found));
            self.index().entry(name.to_owned()).or_insert(entry);
        }
    }

    /// Removes those of these volumes that can be removed; returns their names and the last failure.
    pub(crate) async fn remove_all(
        &self,
        names: Vec<String>,
        force: bool,
    ) -> Result<(Vec<String>, Option<Error>), Error> {
        let (mut removed, mut hidden, mut failed) = (Vec::new(), Vec::new(), None);
        for name in names {
            let _guard = self.0.changes.lock().await;
            match self.take_away(&name, force).await {
                Ok(data) => {
                    hidden.push(data);
                    removed.push(name);
                }
                Err(error) => failed = Some(error),
            }
        }
        if !removed.is_empty() {
            self.settle().await?;
            delete_later(self.0.root.clone(), hidden);
        }
        Ok((removed, failed))
    }

    /// Removes one volume but for its data, which have the returned name then. The caller holds the lock
    /// of changes.
    ///
    /// The data are renamed before the record goes: until then the next start takes it back.
    async fn take_away(&self, name: &str, force: bool) -> Result<OsString, Error> {
        let entry = self.withdraw(name)?;
        // Before anything is deleted, nothing may be mounted there any more.
        let detached = self.detach(&entry).await;
        let forget = force && matches!(detached, Err(Error::Plugin { .. }));
        if let Err(error) = detached
            && !forget
        {
            self.index().insert(name.to_owned(), entry);
            return Err(error);
        }
        let root = &self.0.root;
        let hidden = new_hidden_name(name);
        let (home, aside) = (root.join(name), root.join(&hidden));
        let renamed = match std::fs::rename(&home, &aside) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            renamed => renamed,
        };
        let failed = |source| Error::File {
            action: "remove",
            path: home.clone(),
            source,
        };
        let done = match renamed.map_err(failed) {
            Ok(()) => {
                let batch = Batch::new().delete::<Volume>(name);
                let event = Self::event("destroy", name, &entry.volume.driver);
                self.commit(batch, event).await
            }
            Err(error) => Err(error),
        };
        if let Err(error) = done {
            if let Err(error) = std::fs::rename(&aside, &home) {
                tracing::debug!(%error, name, "there was nothing to be put back");
            }
            self.index().insert(name.to_owned(), entry);
            return Err(error);
        }
        Ok(hidden)
    }

    /// Lets the driver remove what is not in the volume's directory, and unmount that.
    async fn detach(&self, entry: &Entry) -> Result<(), Error> {
        let volume = &entry.volume;
        let mounts = entry.mounts.lock().await;
        if !mounts.holders.is_empty() {
            return Err(Error::Busy(volume.name.clone()));
        }
        self.0.drivers.of(volume).remove(volume).await
    }

    /// Takes an unused volume out of the index, so that nobody can acquire it any more.
    fn withdraw(&self, name: &str) -> Result<Entry, Error> {
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

/// A name for the data of the volume `name` until they are deleted.
pub(crate) fn new_hidden_name(name: &str) -> OsString {
    OsString::from(format!("{DELETED}{}-{name}", random_hex(8)))
}

/// The volume whose data have the name `hidden` until they are deleted.
pub(crate) fn hidden_name(hidden: &OsStr) -> Option<&str> {
    let (_random, name) = hidden.to_str()?.strip_prefix(DELETED)?.split_once('-')?;
    Some(name)
}

/// Deletes these `names` in `root` on a thread of its own; what is left after a crash goes at the next
/// start.
pub(crate) fn delete_later(root: PathBuf, names: Vec<OsString>) {
    let delete = move || {
        for name in names {
            let done = arca_archive::open_root(&root)
                .and_then(|root| arca_archive::remove_tree(root, name.as_bytes()));
            // Volumes of plugins have no directory.
            if let Err(error) = done
                && error != rustix::io::Errno::NOENT
            {
                tracing::warn!(%error, ?name, "the data of a removed volume could not be deleted");
            }
        }
    };
    let thread = std::thread::Builder::new().name("volume-delete".to_owned());
    if let Err(error) = thread.spawn(delete) {
        tracing::warn!(%error, "no thread to delete the data of a removed volume");
    }
}
