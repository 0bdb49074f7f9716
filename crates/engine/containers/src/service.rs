//! The service: what it stands on, and how operations reach a container's actor.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use arca_events::Events;
use arca_images::Images;
use arca_networks::Networks;
use arca_runtime::Runtime;
use arca_storage::Storage;
use arca_store::Store;
use arca_types::{Clock, ContainerId};
use arca_volumes::Volumes;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::Error;
use crate::abilities::Abilities;
use crate::actor::{Actor, Command, Reply};
use crate::arriving::Arriving;
use crate::config::Config;
use crate::container::Container;
use crate::execs::Execs;
use crate::index::{Handle, Index};
use crate::record::Intent;
use crate::spec::{HostFacts, capabilities::Bounding};

/// What the service stands on.
#[derive(Debug, Clone)]
pub struct Backends {
    /// Records.
    pub store: Store,
    /// Root filesystems.
    pub storage: Storage,
    /// Processes.
    pub runtime: Runtime,
    /// Images.
    pub images: Images,
    /// Volumes.
    pub volumes: Volumes,
    /// Networks.
    pub networks: Networks,
    /// The journal of events.
    pub events: Events,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

/// The containers of this host. A cheap handle.
#[derive(Debug, Clone)]
pub struct Containers(Arc<Service>);

/// What the operations share.
#[derive(Debug)]
pub(crate) struct Service {
    /// Replaced as a whole by [`Containers::reload`].
    settings: RwLock<Arc<Config>>,
    pub(crate) facts: HostFacts,
    pub(crate) store: Store,
    pub(crate) storage: Storage,
    pub(crate) runtime: Runtime,
    pub(crate) images: Images,
    pub(crate) volumes: Volumes,
    pub(crate) networks: Networks,
    pub(crate) events: Events,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) index: Index,
    pub(crate) execs: Execs,
    /// Held by the one prune that runs.
    pub(crate) pruning: tokio::sync::Mutex<()>,
    pub(crate) tasks: TaskTracker,
    /// Cancelled when the daemon ends.
    pub(crate) closing: CancellationToken,
}

impl Service {
    /// The settings as they are now.
    pub(crate) fn config(&self) -> Arc<Config> {
        let settings = self.settings.read();
        Arc::clone(&settings.unwrap_or_else(PoisonError::into_inner))
    }

    /// The directory of a container's files.
    pub(crate) fn directory(&self, id: &ContainerId) -> PathBuf {
        self.containers_dir().join(id.as_str())
    }

    /// The storage driver as the API names it.
    pub(crate) fn driver_name(&self) -> &'static str {
        match self.storage.driver() {
            arca_storage::Driver::Overlay => "overlay2",
            arca_storage::Driver::Vfs => "vfs",
        }
    }

    /// The directory of all containers' directories.
    pub(crate) fn containers_dir(&self) -> PathBuf {
        self.config().data_root.join("containers")
    }

    /// Makes a container known, and starts its actor.
    pub(crate) fn adopt(self: &Arc<Self>, container: Container, intent: Intent) -> Arc<Handle> {
        let id = container.id.clone();
        let (actor, (commands, state)) = Actor::new(Arc::clone(self), container, intent);
        let files = Arc::clone(&actor.files);
        let handle = Arc::new(Handle {
            id,
            commands,
            state,
            arriving: Arriving::nobody(),
            files,
        });
        self.index.insert(Arc::clone(&handle));
        self.tasks.spawn(actor.run());
        handle
    }
}

impl Containers {
    /// Makes the service, without any container: see [`Containers::recover`].
    ///
    /// # Errors
    /// [`Error::File`] when the directory of containers cannot be made.
    pub fn open(config: Config, backends: Backends) -> Result<Self, Error> {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let unified = Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
        let facts = HostFacts {
            unified,
            abilities: Abilities::look(Path::new("/sys/fs/cgroup"), unified),
            bounding: Bounding::parse(&status),
            apparmor: arca_apparmor::is_supported(),
        };
        let service = Arc::new(Service {
            settings: RwLock::new(Arc::new(config)),
            facts,
            store: backends.store,
            storage: backends.storage,
            runtime: backends.runtime,
            images: backends.images,
            volumes: backends.volumes,
            networks: backends.networks,
            events: backends.events,
            clock: backends.clock,
            index: Index::default(),
            execs: Execs::default(),
            pruning: tokio::sync::Mutex::default(),
            tasks: TaskTracker::new(),
            closing: CancellationToken::new(),
        });
        let root = service.containers_dir();
        std::fs::create_dir_all(&root).map_err(Error::file("make directory", &root))?;
        Ok(Self(service))
    }

    /// The handle of a service.
    pub(crate) fn of(service: Arc<Service>) -> Self {
        Self(service)
    }

    pub(crate) fn service(&self) -> &Arc<Service> {
        &self.0
    }

    /// Whether containers run under AppArmor profiles.
    #[must_use]
    pub fn has_apparmor(&self) -> bool {
        self.0.facts.apparmor
    }

    /// The full names of the devices that CDI specifications describe.
    #[must_use]
    pub fn cdi_devices(&self) -> Vec<String> {
        arca_cdi::Registry::new(self.0.config().cdi_dirs.clone()).devices()
    }

    /// Whether cgroups are unified (v2) on this host.
    #[must_use]
    pub fn unified_cgroups(&self) -> bool {
        self.0.facts.unified
    }

    /// What can be limited on this host.
    #[must_use]
    pub fn abilities(&self) -> &Abilities {
        &self.0.facts.abilities
    }

    /// The settings as they are now.
    #[must_use]
    pub fn config(&self) -> Arc<Config> {
        self.0.config()
    }

    /// Takes new defaults and runtimes for what is created and started from now on. The data root and the
    /// user namespace stay.
    pub fn reload(&self, config: Config) {
        let mut settings = self.0.settings.write();
        let settings = settings
            .as_deref_mut()
            .unwrap_or_else(|poisoned| poisoned.get_mut());
        let (data_root, users) = (settings.data_root.clone(), settings.users.clone());
        *settings = Arc::new(Config {
            data_root,
            users,
            ..config
        });
    }

    /// The published state of a container.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Ambiguous`].
    pub fn get(&self, id: &str) -> Result<Arc<Container>, Error> {
        Ok(self.0.index.find(id)?.snapshot())
    }

    /// The published states of all containers, in the order of their IDs.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Container>> {
        self.0
            .index
            .all()
            .iter()
            .map(|handle| handle.snapshot())
            .collect()
    }

    /// Lets everything that runs here end. Containers run on.
    pub async fn close(&self) {
        self.0.closing.cancel();
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }

    /// Asks a container's actor and waits for its answer.
    pub(crate) async fn ask<T>(
        &self,
        handle: &Handle,
        command: impl FnOnce(Reply<T>) -> Command,
    ) -> Result<T, Error> {
        let (reply, answer) = tokio::sync::oneshot::channel();
        let gone = || {
            if self.0.closing.is_cancelled() {
                Error::ShuttingDown
            } else {
                Error::NotFound(handle.id.to_string())
            }
        };
        handle
            .commands
            .send(command(reply))
            .await
            .map_err(|_closed| gone())?;
        answer.await.unwrap_or_else(|_dropped| Err(gone()))
    }
}
