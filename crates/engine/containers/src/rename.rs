//! `ContainerRename`.

use arca_store::Durability;

use crate::Error;
use crate::actor::{Actor, Command};
use crate::names;
use crate::service::Containers;

const ALLOCATING: &str = "Error when allocating new name";

impl Containers {
    /// Gives a container another name (`ContainerRename`).
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Invalid`] for a name that is not allowed or its own;
    /// [`Error::NameInUse`].
    pub async fn rename(&self, id: &str, name: &str) -> Result<(), Error> {
        if name.is_empty() || name == "/" {
            return Err(Error::Invalid(
                "Neither old nor new names may be empty".to_owned(),
            ));
        }
        let handle = self.service().index.find(id)?;
        let name = names::check_slashed(name)
            .map_err(|cause| Error::context(ALLOCATING.to_owned(), cause))?;
        self.ask(&handle, |reply| Command::Rename(name, reply))
            .await
    }
}

impl Actor {
    pub(crate) async fn rename(&mut self, name: String) -> Result<(), Error> {
        if self.is_going() {
            return Err(Error::MarkedForRemoval("renamed"));
        }
        let old = std::sync::Arc::clone(&self.c.name);
        if *old == *name {
            let text = "Renaming a container with the same name as its current name";
            return Err(Error::Invalid(text.to_owned()));
        }
        let id = self.c.id.clone();
        let taken = self.service.index.reserve(&name, &id);
        taken.map_err(|error| Error::context(ALLOCATING.to_owned(), error))?;
        self.c.name = name.as_str().into();
        if let Err(error) = self.save(Durability::Disk).await {
            self.c.name = old;
            self.service.index.release(&name, &id);
            return Err(error);
        }
        self.service.index.release(&old, &id);
        if self.c.state.process().is_some()
            && let Err(error) = self.service.networks.rename(&id, &name).await
        {
            let error = arca_types::chain(&error);
            tracing::warn!(container.id = %id, error, "the new name is not in the DNS");
        }
        self.event_with("rename", [("oldName", format!("/{old}"))])
            .await;
        Ok(())
    }
}
