//! Who uses which volume.

use arca_types::ContainerId;

use crate::error::Error;
use crate::volumes::{Use, Volumes};

impl Volumes {
    /// Notes that `container` has the volume `name`, which cannot be removed from now on.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub fn acquire(&self, name: &str, container: &ContainerId) -> Result<(), Error> {
        let mut index = self.index();
        let entry = index
            .get_mut(name)
            .ok_or_else(|| Error::NotFound(name.to_owned()))?;
        entry.users.insert(container.clone());
        Ok(())
    }

    /// Notes that `container` no longer has the volume `name`. Idempotent.
    pub fn release(&self, name: &str, container: &ContainerId) {
        if let Some(entry) = self.index().get_mut(name) {
            entry.users.remove(container);
        }
    }

    /// Returns how many containers have the volume `name`.
    #[must_use]
    pub fn users(&self, name: &str) -> usize {
        self.index().get(name).map_or(0, |entry| entry.users.len())
    }

    fn driver_of(&self, name: &str) -> String {
        let index = self.index();
        let entry = index.get(name);
        entry.map_or_else(String::new, |entry| entry.volume.driver.clone())
    }

    /// Tells that `container`, which has the volume, now sees it as `usage` says.
    pub async fn mounted(&self, name: &str, container: &ContainerId, usage: &Use) {
        let event = Self::event("mount", name, &self.driver_of(name))
            .with("container", container.as_str())
            .with("destination", usage.destination.as_str())
            .with("propagation", usage.propagation.as_str())
            .with("read/write", usage.read_write.to_string());
        self.0.events.publish(event).await;
    }

    /// Tells that `container` no longer sees the volume.
    pub async fn unmounted(&self, name: &str, container: &ContainerId) {
        let event = Self::event("unmount", name, &self.driver_of(name))
            .with("container", container.as_str());
        self.0.events.publish(event).await;
    }
}
