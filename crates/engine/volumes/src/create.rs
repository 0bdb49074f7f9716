//! Making a volume.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arca_store::Batch;
use arca_types::random_hex;

use crate::error::Error;
use crate::record::{ANONYMOUS, Volume};
use crate::volumes::{Entry, Volumes};

/// What to make (`VolumeCreateOptions`).
#[derive(Debug, Clone, Default)]
pub struct CreateRequest {
    /// The name; none makes an anonymous volume with a random one.
    pub name: Option<String>,
    /// The driver; none means `local`.
    pub driver: Option<String>,
    /// The driver's options.
    pub options: Option<BTreeMap<String, String>>,
    /// Labels.
    pub labels: Option<BTreeMap<String, String>>,
}

impl Volumes {
    /// Makes a volume; returns the one that has this name already, if there is one (`VolumeCreate`).
    ///
    /// # Errors
    /// When the name or an option is refused, or the volume cannot be made; then there is none.
    pub async fn create(&self, request: CreateRequest) -> Result<Arc<Volume>, Error> {
        // A client that goes away must not leave a record that the index does not know.
        let volumes = self.clone();
        let made = tokio::spawn(async move { volumes.make(request).await });
        made.await.map_err(|_cancelled| Error::ShuttingDown)?
    }

    async fn make(&self, request: CreateRequest) -> Result<Arc<Volume>, Error> {
        let (mut wanted, named_driver) = self.checked(request)?;
        let drivers = &self.0.drivers;
        // A plugin may have it of somebody else.
        let known = self.index().contains_key(&wanted.name);
        if !known && !named_driver && !wanted.is_anonymous() {
            let found = drivers.found_elsewhere(&wanted.name).await;
            wanted = found.unwrap_or(wanted);
        }
        drivers.check(&wanted.name, &wanted.driver).await?;
        let volume = {
            let _guard = self.0.changes.lock().await;
            if let Some(entry) = self.index().get(&wanted.name) {
                let there = Arc::clone(&entry.volume);
                return conflict(&there, &wanted, named_driver).map_or(Ok(there), Err);
            }
            let beginning = wanted
                .has_home()
                .then(|| Beginning::note(&self.0.root, &wanted.name));
            let beginning = beginning.transpose()?.flatten();
            if let Err(error) = drivers.of(&wanted).create(&wanted).await {
                if beginning.is_some() {
                    self.take_back(&wanted.name);
                }
                return Err(error);
            }
            let scope = drivers.scope(&wanted).await;
            let volume = Arc::new(Volume { scope, ..wanted });
            let batch = Batch::new()
                .put(&volume.name, volume.as_ref())
                .map_err(Error::Store)?;
            let event = Self::event("create", &volume.name, &volume.driver);
            self.commit(batch, event).await?;
            drop(beginning);
            let entry = Entry::new(Arc::clone(&volume));
            self.index().insert(volume.name.clone(), entry);
            volume
        };
        self.settle().await?;
        Ok(volume)
    }

    /// Deletes what a driver has left of a volume that it could not make.
    fn take_back(&self, name: &str) {
        let root = &self.0.root;
        let hidden = crate::remove::new_hidden_name(name);
        match std::fs::rename(root.join(name), root.join(&hidden)) {
            Ok(()) => crate::remove::delete_later(root.clone(), vec![hidden]),
            Err(error) => tracing::debug!(%error, name, "nothing is left of the volume"),
        }
    }

    /// The volume as it would be new, and whether a driver was named.
    fn checked(&self, request: CreateRequest) -> Result<(Volume, bool), Error> {
        let CreateRequest {
            name,
            driver,
            options,
            labels,
        } = request;
        let (name, labels) = match name.filter(|name| !name.is_empty()) {
            Some(name) => (name, labels),
            None => {
                let mut labels = labels.unwrap_or_default();
                labels.insert(ANONYMOUS.to_owned(), String::new());
                (random_hex(32), Some(labels))
            }
        };
        let driver = driver.filter(|driver| !driver.is_empty());
        let named = driver.is_some();
        let driver = driver.unwrap_or_else(|| Volume::LOCAL.to_owned());
        if matches!(driver.as_str(), Volume::LOCAL | Volume::BLOCK) {
            check_name(&name)?;
        }
        let volume = Volume {
            name,
            driver,
            scope: Volume::LOCAL.to_owned(),
            labels,
            options,
            created_at: self.0.clock.now(),
        };
        Ok((volume, named))
    }
}

/// What begins the names of files that say which volume is being made.
const BEGINNING: &str = ".making-";

/// A note that a volume is being made in a directory that was not there before: when a crash leaves the note
/// without a record, nobody ever had the directory.
#[derive(Debug)]
pub(crate) struct Beginning(PathBuf);

impl Beginning {
    /// Notes it, unless the volume's directory is there: that is somebody's, and becomes the volume as it is.
    fn note(root: &Path, name: &str) -> Result<Option<Self>, Error> {
        if root.join(name).exists() {
            return Ok(None);
        }
        let path = root.join(format!("{BEGINNING}{name}"));
        let noted = std::fs::write(&path, b"").map(|()| Some(Self(path.clone())));
        noted.map_err(|source| Error::File {
            action: "make",
            path,
            source,
        })
    }

    /// The note in the file `name` of `root`, and the volume it is about.
    pub(crate) fn found<'a>(root: &Path, name: &'a OsStr) -> Option<(Self, &'a str)> {
        let volume = name.to_str()?.strip_prefix(BEGINNING)?;
        Some((Self(root.join(name)), volume))
    }
}

impl Drop for Beginning {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.0) {
            tracing::warn!(%error, path = %self.0.display(), "a note is left");
        }
    }
}

/// A volume is what it was made; only its driver may not be another than is asked for.
fn conflict(there: &Volume, wanted: &Volume, named_driver: bool) -> Option<Error> {
    (named_driver && there.driver != wanted.driver).then(|| Error::OtherDriver {
        name: there.name.clone(),
        driver: there.driver.clone(),
    })
}

fn check_name(name: &str) -> Result<(), Error> {
    if name.len() < 2 {
        return Err(Error::NameTooShort(name.to_owned()));
    }
    let starts_well = name
        .bytes()
        .next()
        .is_some_and(|byte| byte.is_ascii_alphanumeric());
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    if starts_well && name.bytes().all(allowed) {
        Ok(())
    } else {
        Err(Error::NameInvalid(name.to_owned()))
    }
}
