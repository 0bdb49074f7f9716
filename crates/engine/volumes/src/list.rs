//! Listing and measuring volumes.

use std::sync::Arc;

use crate::error::Error;
use crate::filter::Filter;
use crate::record::Volume;
use crate::volumes::Volumes;

/// A volume and how it is used.
#[derive(Debug, Clone)]
pub struct Listed {
    /// The volume.
    pub volume: Arc<Volume>,
    /// The number of containers that have it.
    pub users: usize,
}

impl Volumes {
    /// Lists the volumes that pass `filter`, by name (`VolumeList`).
    ///
    /// # Errors
    /// [`Error::InvalidFilterValue`].
    pub fn list(&self, filter: &Filter) -> Result<Vec<Listed>, Error> {
        let dangling = filter.flag("dangling")?;
        let index = self.index();
        let passes = |listed: &Listed| {
            dangling.is_none_or(|dangling| dangling == (listed.users == 0))
                && filter.includes(&listed.volume)
        };
        let entries = index.values();
        let listed = entries.map(|entry| Listed {
            volume: Arc::clone(&entry.volume),
            users: entry.users.len(),
        });
        Ok(listed.filter(passes).collect())
    }

    /// Measures the volume `name`, in bytes: the lengths of its files, or what it takes as a whole; `None` where
    /// only its driver would know.
    ///
    /// # Errors
    /// [`Error::NotFound`], or [`Error::File`] when it cannot be read.
    pub async fn size(&self, name: &str) -> Result<Option<u64>, Error> {
        let volume = self.get(name)?;
        self.0.drivers.of(&volume).size(&volume).await
    }
}
