//! Listing and measuring volumes.

use std::sync::Arc;

use crate::drivers::Told;
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

    /// Lists the volumes that pass `filter`, by name, with those that plugins have of somebody else
    /// (`VolumeList`). What a plugin no longer has is left out unless a container has it.
    ///
    /// # Errors
    /// As [`list`](Self::list).
    pub async fn list_everywhere(&self, filter: &Filter) -> Result<Vec<(Listed, Told)>, Error> {
        let dangling = filter.flag("dangling")?;
        let mut elsewhere = self.0.drivers.listed_elsewhere().await;
        let mut all = Vec::new();
        for listed in self.list(filter)? {
            let volume = &listed.volume;
            let mut told = Told::default();
            if let Some(theirs) = elsewhere.get_mut(&volume.driver) {
                match theirs.iter().position(|(one, _)| one.name == volume.name) {
                    Some(place) => told.mountpoint = theirs.swap_remove(place).1,
                    None if listed.users == 0 => continue,
                    None => {}
                }
            }
            all.push((listed, told));
        }
        for (volume, mountpoint) in elsewhere.into_values().flatten() {
            let known = self.index().contains_key(&volume.name);
            if !known && dangling != Some(false) && filter.includes(&volume) {
                let listed = Listed {
                    volume: Arc::new(volume),
                    users: 0,
                };
                let status = None;
                all.push((listed, Told { mountpoint, status }));
            }
        }
        all.sort_by(|(a, _), (b, _)| a.volume.name.cmp(&b.volume.name));
        Ok(all)
    }

    /// Returns the volume `name`, which a plugin may have of somebody else, and what its driver tells about it
    /// (`VolumeInspect`).
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn find(&self, name: &str) -> Result<(Arc<Volume>, Told), Error> {
        let volume = match self.get(name) {
            Err(Error::NotFound(_)) => {
                let found = self.0.drivers.found_elsewhere(name).await;
                Arc::new(found.ok_or_else(|| Error::NotFound(name.to_owned()))?)
            }
            found => found?,
        };
        let told = self.0.drivers.of(&volume).told(&volume).await;
        Ok((volume, told.unwrap_or_default()))
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
