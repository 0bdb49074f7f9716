//! The services, opened in their order.

use std::path::PathBuf;
use std::sync::Arc;

use arca_build::Builder;
use arca_containers::Containers;
use arca_events::Events;
use arca_images::Images;
use arca_networks::Networks;
use arca_registry::Registry;
use arca_runtime::Runtime;
use arca_storage::Storage;
use arca_store::Store;
use arca_types::{Clock, SystemClock};
use arca_volumes::Volumes;

use crate::error::Error;
use crate::system::{System, SystemConfig};
use crate::{identity, system};

/// Events that the journal keeps.
const EVENTS: u64 = 100_000;

/// The settings of all services.
#[derive(Debug, Clone)]
pub struct Config {
    /// The directory of durable state; the database is `arca.db` in it.
    pub data_root: PathBuf,
    /// The directory of run-time state.
    pub exec_root: PathBuf,
    /// Storage.
    pub storage: arca_storage::Config,
    /// Runtime.
    pub runtime: arca_runtime::Config,
    /// Volumes.
    pub volumes: arca_volumes::Config,
    /// Networks.
    pub networks: arca_networks::Config,
    /// Containers.
    pub containers: arca_containers::Config,
    /// Builds.
    pub builds: arca_build::Config,
    /// What `info` and `version` say.
    pub system: SystemConfig,
}

/// All services. A cheap handle.
#[derive(Debug, Clone)]
pub struct Engine {
    /// Containers.
    pub containers: Containers,
    /// Images.
    pub images: Images,
    /// Networks.
    pub networks: Networks,
    /// Volumes.
    pub volumes: Volumes,
    /// Builds.
    pub builder: Builder,
    /// The journal of events.
    pub events: Events,
    /// What can be read of all of it.
    pub system: System,
    runtime: Runtime,
}

/// What can be opened without waiting for anything but the disk.
struct Opened {
    store: Store,
    storage: Storage,
    runtime: Runtime,
    events: Events,
    images: Images,
    volumes: Volumes,
    networks: Networks,
    registry: Registry,
    clock: Arc<dyn Clock>,
    id: String,
    rebooted: bool,
}

impl Engine {
    /// Opens the services and brings back what was there: what runs is adopted, what was begun is
    /// finished or taken back.
    ///
    /// # Errors
    /// When a service cannot be opened; each has its variant.
    pub async fn open(config: Config, registry: Registry) -> Result<Self, Error> {
        let (builds, containers_config) = (config.builds.clone(), config.containers.clone());
        let system_config = config.system.clone();
        let opened = tokio::task::spawn_blocking(move || open(config, registry));
        let opened = opened.await.map_err(|_cancelled| Error::ShuttingDown)??;
        let backends = arca_containers::Backends {
            store: opened.store.clone(),
            storage: opened.storage.clone(),
            runtime: opened.runtime.clone(),
            images: opened.images.clone(),
            volumes: opened.volumes.clone(),
            networks: opened.networks.clone(),
            events: opened.events.clone(),
            clock: Arc::clone(&opened.clock),
        };
        let failed = |cause| Error::Containers(Box::new(cause));
        let containers = Containers::open(containers_config, backends).map_err(failed)?;
        let builder_backends = arca_build::Backends {
            store: opened.store.clone(),
            storage: opened.storage.clone(),
            images: opened.images.clone(),
            containers: containers.clone(),
            registry: opened.registry,
            events: opened.events.clone(),
            clock: Arc::clone(&opened.clock),
        };
        containers.recover(opened.rebooted).await.map_err(failed)?;
        let builder = open_builder(builds, builder_backends).await?;
        let system = System::new(
            system::Services {
                containers: containers.clone(),
                images: opened.images.clone(),
                volumes: opened.volumes.clone(),
                networks: opened.networks.clone(),
                events: opened.events.clone(),
                storage: opened.storage,
                clock: opened.clock,
                id: opened.id,
            },
            system_config,
        );
        let engine = Self {
            containers,
            builder,
            images: opened.images,
            networks: opened.networks,
            volumes: opened.volumes,
            events: opened.events,
            system,
            runtime: opened.runtime,
        };
        engine
            .images
            .reclaim()
            .await
            .map_err(|cause| Error::Images(Box::new(cause)))?;
        Ok(engine)
    }

    /// Lets everything that runs in this process end. Containers run on.
    pub async fn close(&self) {
        self.builder.close().await;
        self.containers.close().await;
        if let Err(error) = self.images.save_uses().await {
            let error = arca_types::chain(&error);
            tracing::warn!(error, "when images were used is not written down");
        }
        self.runtime.close().await;
        self.networks.close().await;
    }
}

/// The cache of builds holds its layers before anything is collected.
async fn open_builder(
    config: arca_build::Config,
    backends: arca_build::Backends,
) -> Result<Builder, Error> {
    tokio::task::spawn_blocking(move || Builder::open(config, backends))
        .await
        .map_err(|_cancelled| Error::ShuttingDown)?
        .map_err(|cause| Error::Builds(Box::new(cause)))
}

fn open(config: Config, registry: Registry) -> Result<Opened, Error> {
    use std::os::unix::fs::DirBuilderExt as _;
    for path in [&config.data_root, &config.exec_root] {
        let made = std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o711)
            .create(path);
        made.map_err(Error::file("make directory", path))?;
    }
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let rebooted = identity::rebooted(&config.exec_root)?;
    let store = Store::open(config.data_root.join("arca.db")).map_err(Error::Store)?;
    let id = identity::id(&store)?;
    let events = Events::open(&store, Arc::clone(&clock), EVENTS).map_err(Error::Events)?;
    let storage = Storage::open(config.storage, store.clone()).map_err(Error::Storage)?;
    let runtime = Runtime::open(config.runtime).map_err(Error::Runtime)?;
    let volumes = Volumes::open(config.volumes, &store, events.clone(), Arc::clone(&clock))
        .map_err(Error::Volumes)?;
    let networks = Networks::open(config.networks, &store, events.clone(), Arc::clone(&clock))
        .map_err(|cause| Error::Networks(Box::new(cause)))?;
    let images = Images::open(arca_images::Backends {
        store: store.clone(),
        storage: storage.clone(),
        registry: registry.clone(),
        events: events.clone(),
        clock: Arc::clone(&clock),
    })
    .map_err(|cause| Error::Images(Box::new(cause)))?;
    Ok(Opened {
        store,
        storage,
        runtime,
        events,
        images,
        volumes,
        networks,
        registry,
        clock,
        id,
        rebooted,
    })
}
