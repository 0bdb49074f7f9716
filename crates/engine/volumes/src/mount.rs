//! Volumes are mounted while somebody uses them.

use std::collections::BTreeSet;
use std::path::PathBuf;

use arca_types::{ContainerId, random_hex};

use crate::drivers::{self, Holder};
use crate::error::Error;
use crate::volumes::Volumes;

/// Who has a volume mounted, and where it is.
#[derive(Debug, Default)]
pub(crate) struct Mounts {
    pub(crate) holders: BTreeSet<Holder>,
    pub(crate) place: Option<PathBuf>,
}

/// A volume that is mounted for a piece of work; it is given up when this is dropped.
#[derive(Debug)]
pub struct Held {
    volumes: Volumes,
    name: String,
    holder: Option<Holder>,
    path: PathBuf,
}

impl Held {
    /// Where the volume's data are.
    #[must_use]
    pub fn path(&self) -> &std::path::Path {
        &self.path
    }

    /// Gives the volume up, and waits for that.
    pub async fn release(mut self) {
        if let Some(holder) = self.holder.take() {
            self.volumes.give_up(&self.name, &holder).await;
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let Some(holder) = self.holder.take() else {
            return;
        };
        let (volumes, name) = (self.volumes.clone(), std::mem::take(&mut self.name));
        let work = async move { volumes.give_up(&name, &holder).await };
        let tasks = &self.volumes.0.tasks;
        tasks.spawn_on(work, &self.volumes.0.runtime);
    }
}

impl Volumes {
    /// Makes the data of the volume `name` accessible for `container`, which starts; returns where they are.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Exclusive`] when another container has a volume that only one may have;
    /// [`Error::Mount`] and others when it cannot be mounted.
    pub async fn mount(&self, name: &str, container: &ContainerId) -> Result<PathBuf, Error> {
        self.mount_for(name, Holder::Container(container.clone()))
            .await
    }

    /// Tells that `container` no longer runs with the volume `name`. What fails is logged. Idempotent.
    pub async fn unmount(&self, name: &str, container: &ContainerId) {
        self.give_up(name, &Holder::Container(container.clone()))
            .await;
    }

    /// Makes the data of the volume `name` accessible for a piece of work.
    ///
    /// # Errors
    /// As [`mount`](Self::mount).
    pub async fn hold(&self, name: &str) -> Result<Held, Error> {
        let plain = self.get(name)?.is_plain();
        let holder = Holder::Work(random_hex(16));
        let path = self.mount_for(name, holder.clone()).await?;
        Ok(Held {
            volumes: self.clone(),
            name: name.to_owned(),
            holder: (!plain).then_some(holder),
            path,
        })
    }

    /// Notes that `container`, which an earlier daemon started, runs with the volume `name`.
    pub async fn adopt(&self, name: &str, container: &ContainerId) {
        let Some((volume, mounts)) = self.with_mounts(name) else {
            return;
        };
        if !volume.is_plain() {
            let mut mounts = mounts.lock().await;
            mounts.holders.insert(Holder::Container(container.clone()));
            mounts.place = volume.has_home().then(|| self.path(name));
        }
    }

    /// Takes away mounts that nobody has any more: those that a crash left. Called once, when all containers
    /// that run are adopted.
    ///
    /// # Errors
    /// [`Error::File`] when the kernel's table cannot be read.
    pub async fn reconcile(&self) -> Result<(), Error> {
        let root = self.0.root.clone();
        let listed = tokio::task::spawn_blocking(move || drivers::mounted_below(&root)).await;
        let listed = listed.map_err(|_cancelled| Error::ShuttingDown)?;
        for place in listed.map_err(crate::volumes::unreadable)? {
            let name = place
                .strip_prefix(&self.0.root)
                .ok()
                .and_then(|below| below.components().next())
                .and_then(|name| name.as_os_str().to_str());
            // Held until it is gone, so that nobody takes it over meanwhile.
            let mounts = match name.and_then(|name| self.with_mounts(name)) {
                Some((_, mounts)) => Some(mounts.lock_owned().await),
                None => None,
            };
            if mounts
                .as_ref()
                .is_some_and(|mounts| !mounts.holders.is_empty())
            {
                continue;
            }
            tracing::warn!(path = %place.display(), "a mount that nobody uses is taken away");
            let gone = place.clone();
            let done = tokio::task::spawn_blocking(move || drivers::unmount(&gone)).await;
            if let Ok(Err(error)) = done {
                tracing::warn!(%error, path = %place.display(), "it cannot be taken away");
            }
            drop(mounts);
        }
        Ok(())
    }

    /// Waits until nobody uses volumes for pieces of work any more.
    pub async fn close(&self) {
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }

    pub(crate) async fn mount_for(&self, name: &str, holder: Holder) -> Result<PathBuf, Error> {
        let not_found = || Error::NotFound(name.to_owned());
        let (volume, mounts) = self.with_mounts(name).ok_or_else(not_found)?;
        if volume.is_plain() {
            return Ok(self.path(name));
        }
        // Whoever waits for the answer may go away; what was mounted is then known nevertheless.
        let volumes = self.clone();
        let work = async move {
            let mut mounts = mounts.lock_owned().await;
            let driver = volumes.0.drivers.of(&volume);
            if driver.is_exclusive() {
                check_exclusive(&volume.name, &volume.driver, &mounts, &holder)?;
            }
            let place = driver.mount(&volume, &holder).await?;
            mounts.holders.insert(holder);
            mounts.place = Some(place.clone());
            Ok(place)
        };
        let work = self.0.tasks.spawn_on(work, &self.0.runtime);
        work.await.map_err(|_cancelled| Error::ShuttingDown)?
    }

    async fn give_up(&self, name: &str, holder: &Holder) {
        let Some((volume, mounts)) = self.with_mounts(name) else {
            return;
        };
        let mut mounts = mounts.lock().await;
        if !mounts.holders.remove(holder) {
            return;
        }
        let last = mounts.holders.is_empty();
        if last {
            mounts.place = None;
        }
        let done = self
            .0
            .drivers
            .of(&volume)
            .unmount(&volume, holder, last)
            .await;
        if let Err(error) = done {
            let error = arca_types::chain(&error);
            tracing::warn!(volume = name, error, "a volume is not unmounted");
        }
    }
}

fn check_exclusive(
    name: &str,
    driver: &str,
    mounts: &Mounts,
    holder: &Holder,
) -> Result<(), Error> {
    let other = mounts.holders.iter().find_map(|other| match other {
        Holder::Container(id) if other != holder => Some(id),
        _ => None,
    });
    match (other, holder) {
        (Some(other), Holder::Container(_)) => Err(Error::Exclusive {
            name: name.to_owned(),
            driver: driver.to_owned(),
            container: other.clone(),
        }),
        _ => Ok(()),
    }
}
