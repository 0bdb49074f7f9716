//! `ContainerChanges`: what a container has changed of its image.

use arca_storage::Change;

use crate::Error;
use crate::service::Containers;

impl Containers {
    /// Lists what a container has added, changed and deleted in its root filesystem, ordered by path
    /// (`ContainerChanges`). What is in volumes and other mounts is not part of it.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Storage`].
    pub async fn changes(&self, id: &str) -> Result<Vec<Change>, Error> {
        let container = self.get(id)?;
        let changes = self.service().storage.changes(&container.id).await;
        changes.map_err(Error::Storage)
    }
}
