//! `ContainerPrune`.

use arca_events::{Event, Type};

use crate::Error;
use crate::prune_filter::PruneFilter;
use crate::requests::{Filters, Pruned, RemoveRequest};
use crate::service::Containers;

impl Containers {
    /// Removes the containers that do not run (`ContainerPrune`).
    ///
    /// # Errors
    /// [`Error::Invalid`] for a filter that is not known; [`Error::Conflict`] when another prune runs. A
    /// container that cannot be removed is left.
    pub async fn prune(&self, filters: Filters) -> Result<Pruned, Error> {
        let Ok(_turn) = self.service().pruning.try_lock() else {
            return Err(Error::Conflict(
                "a prune operation is already running".to_owned(),
            ));
        };
        let filter = PruneFilter::new(&filters, self.service().clock.now())?;
        let mut pruned = Pruned::default();
        for container in self.all() {
            if !filter.passes(&container) {
                continue;
            }
            let size = self.size(&container).await.map_or(0, |size| size.rw);
            match self
                .remove(container.id.as_str(), RemoveRequest::default())
                .await
            {
                Ok(()) => {
                    pruned.space_reclaimed += size;
                    pruned.deleted.push(container.id.clone());
                }
                Err(error) => {
                    let error = arca_types::chain(&error);
                    tracing::warn!(container.id = %container.id, error, "not pruned");
                }
            }
        }
        let event = Event::new(Type::Container, "prune", "")
            .with("reclaimed", pruned.space_reclaimed.to_string());
        self.service().events.publish(event).await;
        Ok(pruned)
    }
}
