//! The anonymous volumes of containers that are being created. A note is kept of each until the container
//! is saved: if the daemon ends before, nobody else knows that nobody wants them.

use std::collections::BTreeMap;

use arca_store::{Batch, Durability, Record};
use arca_types::random_hex;
use arca_volumes::CreateRequest;
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::model::MountPoint;
use crate::service::Service;
use crate::start::blocking;

/// The label of volumes that nobody named.
const ANONYMOUS: &str = "com.docker.volume.anonymous";

/// The note of a volume, by its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Creating {}

impl Record for Creating {
    const TABLE: &'static str = "creating";
    const VERSION: u32 = 1;
}

impl Service {
    /// A request for a volume that nobody named, and the note of it.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub(crate) async fn anonymous_volume(
        &self,
        request: CreateRequest,
    ) -> Result<CreateRequest, Error> {
        let name = random_hex(32);
        let batch = Batch::new().put(&name, &Creating {});
        let noted = self
            .store
            .commit(batch.map_err(Error::Store)?, Durability::Process);
        noted.await.map_err(Error::Store)?;
        let mut labels: BTreeMap<String, String> = request.labels.unwrap_or_default();
        labels.insert(ANONYMOUS.to_owned(), String::new());
        Ok(CreateRequest {
            name: Some(name),
            labels: Some(labels),
            ..request
        })
    }

    /// A volume whose container could not be created is gone again.
    pub(crate) async fn forget_anonymous(&self, name: &str) {
        let batch = Batch::new().delete::<Creating>(name);
        if let Err(error) = self.store.commit(batch, Durability::Process).await {
            let error = arca_types::chain(&error);
            tracing::warn!(volume = name, error, "the note of a volume is left");
        }
    }

    /// Removes the volumes of containers that were never saved.
    ///
    /// # Errors
    /// [`Error::Store`] when the notes cannot be read.
    pub(crate) async fn sweep_volumes(&self) -> Result<(), Error> {
        let store = self.store.clone();
        let notes = blocking(move || {
            let table = store.table::<Creating>();
            table.load_all().map_err(Error::Store)
        })
        .await?;
        if notes.is_empty() {
            return Ok(());
        }
        for (name, _note) in &notes {
            if self.volumes.users(name) == 0
                && let Err(error) = self.volumes.remove(name, true).await
            {
                let error = arca_types::chain(&error);
                tracing::warn!(volume = name, error, "an unfinished volume is not removed");
            }
        }
        let names = notes.iter().map(|(name, _note)| name.as_str());
        let batch = forget(Batch::new(), names);
        let done = self.store.commit(batch, Durability::Process).await;
        done.map_err(Error::Store)
    }
}

/// The container is saved: its volumes are known.
pub(crate) fn known(batch: Batch, points: &[MountPoint]) -> Batch {
    let anonymous = points.iter().filter(|point| point.anonymous);
    forget(batch, anonymous.map(|point| point.name.as_str()))
}

fn forget<'a>(batch: Batch, names: impl Iterator<Item = &'a str>) -> Batch {
    names.fold(batch, |batch, name| batch.delete::<Creating>(name))
}
