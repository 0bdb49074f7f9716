//! The service: what all operations share.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arca_events::{Event, Events, Type};
use arca_registry::{Auth, Login, Registry};
use arca_storage::Storage;
use arca_store::{Batch, Durability, Store};
use arca_types::{Clock, ContainerId, Digest, ImageId, Reference, Timestamp};
use tokio::sync::Mutex as Turn;

use crate::config::ImageConfig;
use crate::error::Error;
use crate::gc::GcPolicy;
use crate::image::ImageUse;
use crate::index::{Entry, Index};
use crate::pull::InFlight;
use crate::record::{ImageRecord, NameRecord};
use crate::used::{self, LastUsed};

/// What the service stands on.
#[derive(Debug, Clone)]
pub struct Backends {
    /// Records.
    pub store: Store,
    /// Content.
    pub storage: Storage,
    /// Registries.
    pub registry: Registry,
    /// The journal of events.
    pub events: Events,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

/// The images of this host. Cheap to clone.
#[derive(Clone)]
pub struct Images {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) backends: Backends,
    state: Mutex<State>,
    /// Whose turn it is to change something: changes are planned, saved and told one at a time.
    turn: Turn<()>,
    /// Held by the one prune that runs.
    pub(crate) pruning: Turn<()>,
    pub(crate) in_flight: InFlight,
    policy: Mutex<Arc<GcPolicy>>,
}

#[derive(Default)]
struct State {
    index: Arc<Index>,
    uses: BTreeMap<ContainerId, ImageUse>,
    /// Images that are about to go: no container may take them any more.
    leaving: BTreeSet<ImageId>,
    last_used: LastUsed,
}

impl std::fmt::Debug for Images {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Images")
            .field("images", &self.index().images.len())
            .finish_non_exhaustive()
    }
}

/// A change that has been planned: what is to be saved, what holds afterwards.
#[derive(Debug)]
pub(crate) struct Change {
    pub(crate) batch: Batch,
    pub(crate) index: Index,
    /// Images that no container may take while this is being saved.
    pub(crate) leaving: Vec<ImageId>,
}

impl Change {
    pub(crate) fn on(index: &Index) -> Self {
        Self {
            batch: Batch::new(),
            index: index.clone(),
            leaving: Vec::new(),
        }
    }

    pub(crate) fn put_image(mut self, id: &ImageId, record: ImageRecord) -> Result<Self, Error> {
        self.batch = self.batch.put(id.as_str(), &record).map_err(Error::Store)?;
        self.index.put_image(id.clone(), record);
        Ok(self)
    }

    pub(crate) fn put_name(
        mut self,
        reference: &Reference,
        record: NameRecord,
    ) -> Result<Self, Error> {
        self.batch = self
            .batch
            .put(&reference.to_string(), &record)
            .map_err(Error::Store)?;
        self.index.put_name(reference.clone(), record);
        Ok(self)
    }

    pub(crate) fn delete_name(mut self, reference: &Reference) -> Self {
        let key = reference.to_string();
        self.batch = self.batch.delete::<NameRecord>(&key);
        self.index.names.remove(&key);
        self
    }

    pub(crate) fn delete_image(mut self, id: &ImageId) -> Self {
        self.batch = self.batch.delete::<ImageRecord>(id.as_str());
        self.index.images.remove(id);
        self.leaving.push(id.clone());
        self
    }

    pub(crate) fn event(mut self, events: &Events, event: Event) -> Result<Self, Error> {
        self.batch = events.stage(self.batch, event).map_err(Error::Events)?;
        Ok(self)
    }
}

impl Images {
    /// Reads the records and makes the service. It blocks.
    ///
    /// # Errors
    /// [`Error::Store`] when the records cannot be read.
    pub fn open(backends: Backends) -> Result<Self, Error> {
        let mut index = Index::default();
        let images = backends
            .store
            .table::<ImageRecord>()
            .load_all()
            .map_err(Error::Store)?;
        for (key, record) in images {
            match key.parse() {
                Ok(id) => index.put_image(id, record),
                Err(error) => tracing::error!(key, %error, "the record of an image has no ID"),
            }
        }
        let names = backends
            .store
            .table::<NameRecord>()
            .load_all()
            .map_err(Error::Store)?;
        for (key, record) in names {
            match key.parse() {
                Ok(reference) => index.put_name(reference, record),
                Err(error) => tracing::error!(key, %error, "a name of an image cannot be read"),
            }
        }
        let mut last_used = LastUsed::load(&backends.store)?;
        last_used.follow(&index, backends.clock.now());
        let state = State {
            index: Arc::new(index),
            last_used,
            ..State::default()
        };
        Ok(Self {
            inner: Arc::new(Inner {
                backends,
                state: Mutex::new(state),
                turn: Turn::new(()),
                pruning: Turn::new(()),
                in_flight: InFlight::default(),
                policy: Mutex::default(),
            }),
        })
    }

    /// Drops content that nothing refers to: what a crash left of pulls and removals. Called once after
    /// the start, when the containers have acquired their images.
    ///
    /// # Errors
    /// [`Error::Storage`] when storage cannot do it.
    pub async fn reclaim(&self) -> Result<(), Error> {
        let _turn = self.inner.turn.lock().await;
        self.collect().await
    }

    /// Notes that a container uses an image, so that the image is not removed under it.
    ///
    /// # Errors
    /// [`Error::NotFound`] when the image is gone, or going.
    pub fn acquire(&self, image: &ImageId, container: &ContainerId) -> Result<(), Error> {
        let mut state = self.state();
        if !state.index.images.contains_key(image) || state.leaving.contains(image) {
            return Err(Error::NotFound(image.to_string()));
        }
        let used = ImageUse {
            image: image.clone(),
            running: false,
        };
        state.uses.insert(container.clone(), used);
        state
            .last_used
            .touch(image, self.inner.backends.clock.now());
        Ok(())
    }

    /// Notes that a container runs, or no longer does. A container that uses no image is passed over.
    pub fn set_running(&self, container: &ContainerId, running: bool) {
        if let Some(used) = self.state().uses.get_mut(container) {
            used.running = running;
        }
    }

    /// Notes that a container is gone.
    pub fn release(&self, container: &ContainerId) {
        let mut state = self.state();
        let now = self.inner.backends.clock.now();
        if let Some(used) = state.uses.remove(container)
            && state.index.images.contains_key(&used.image)
        {
            state.last_used.touch(&used.image, now);
        }
    }

    /// Returns who uses what.
    #[must_use]
    pub fn uses(&self) -> BTreeMap<ContainerId, ImageUse> {
        self.state().uses.clone()
    }

    /// Returns how many images there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.index().images.len()
    }

    /// Checks credentials with a registry (`SystemAuth`).
    ///
    /// # Errors
    /// [`Error::Registry`] as the registry says.
    pub async fn login(&self, server: &str, auth: &Auth) -> Result<Login, Error> {
        self.inner
            .backends
            .registry
            .login(server, auth)
            .await
            .map_err(Error::Registry)
    }

    pub(crate) fn index(&self) -> Arc<Index> {
        Arc::clone(&self.state().index)
    }

    pub(crate) fn storage(&self) -> &Storage {
        &self.inner.backends.storage
    }

    /// Plans a change on what holds now, saves it, and makes it known: one at a time.
    pub(crate) async fn change<T>(
        &self,
        plan: impl FnOnce(&Images, &Index) -> Result<(Change, T), Error>,
    ) -> Result<T, Error> {
        let _turn = self.inner.turn.lock().await;
        self.change_in_turn(plan).await
    }

    /// As [`change`](Self::change), and collects what became garbage before anybody else has a turn.
    pub(crate) async fn change_and_collect<T>(
        &self,
        plan: impl FnOnce(&Images, &Index) -> Result<(Change, T), Error>,
    ) -> Result<T, Error> {
        let _turn = self.inner.turn.lock().await;
        let outcome = self.change_in_turn(plan).await?;
        if let Err(error) = self.collect().await {
            tracing::warn!(%error, "content of removed images stays until the next collection");
        }
        Ok(outcome)
    }

    async fn change_in_turn<T>(
        &self,
        plan: impl FnOnce(&Images, &Index) -> Result<(Change, T), Error>,
    ) -> Result<T, Error> {
        let (change, outcome) = plan(self, &self.index())?;
        if change.batch.is_empty() {
            return Ok(outcome);
        }
        self.leave(&change.leaving)?;
        let saved = self
            .inner
            .backends
            .store
            .commit(change.batch, Durability::Disk)
            .await;
        let mut state = self.state();
        for id in &change.leaving {
            state.leaving.remove(id);
        }
        saved.map_err(Error::Store)?;
        let now = self.inner.backends.clock.now();
        state.last_used.follow(&change.index, now);
        state.index = Arc::new(change.index);
        Ok(outcome)
    }

    /// Keeps containers from taking images that are about to go.
    fn leave(&self, leaving: &[ImageId]) -> Result<(), Error> {
        let mut state = self.state();
        let taken = state
            .uses
            .iter()
            .find(|(_, used)| used.running && leaving.contains(&used.image));
        if let Some((container, used)) = taken {
            return Err(Error::RunningContainer {
                image: used.image.digest().short().to_owned(),
                container: container.short().to_owned(),
            });
        }
        state.leaving.extend(leaving.iter().cloned());
        Ok(())
    }

    /// Tells storage what is still referred to. Only in one's turn.
    async fn collect(&self) -> Result<(), Error> {
        let roots = self.index().roots();
        let collected = self
            .storage()
            .collect(&roots)
            .await
            .map_err(Error::Storage)?;
        tracing::debug!(?collected, "collected content of images");
        Ok(())
    }

    /// Returns the configuration of an image; it is read once.
    pub(crate) async fn config(&self, entry: &Arc<Entry>) -> Result<Arc<ImageConfig>, Error> {
        if let Some(config) = entry.config.get() {
            return Ok(Arc::clone(config));
        }
        let bytes = self.blob(entry.id.digest()).await?;
        let config = Arc::new(ImageConfig::parse(&bytes)?);
        Ok(Arc::clone(entry.config.get_or_init(|| config)))
    }

    /// Reads a small blob.
    pub(crate) async fn blob(&self, digest: &Digest) -> Result<Vec<u8>, Error> {
        self.storage()
            .read_blob(digest)
            .await
            .map_err(Error::Storage)
    }

    /// An event of one image. Its name is its ID unless the operation says otherwise.
    pub(crate) fn event_of(entry: &Entry, action: &str) -> Event {
        Event::new(Type::Image, action, entry.id.as_str())
            .with_all(entry.record.labels.clone().unwrap_or_default())
            .with("name", entry.id.as_str())
    }

    /// When was an image used last: by a container, by a pull?
    pub(crate) fn last_used(&self, id: &ImageId) -> Option<Timestamp> {
        self.state().last_used.at(id)
    }

    /// Notes that somebody wants an image.
    pub(crate) fn touch(&self, id: &ImageId) {
        let now = self.inner.backends.clock.now();
        self.state().last_used.touch(id, now);
    }

    /// Writes down when images were used.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn save_uses(&self) -> Result<(), Error> {
        let batch = self.state().last_used.unsaved()?;
        used::save(&self.inner.backends.store, batch).await
    }

    pub(crate) fn gc_policy(&self) -> Arc<GcPolicy> {
        Arc::clone(&self.policy_lock())
    }

    pub(crate) fn policy_lock(&self) -> MutexGuard<'_, Arc<GcPolicy>> {
        self.inner
            .policy
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.inner
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
