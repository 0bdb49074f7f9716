//! The service: what all builds share.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arca_containers::Containers;
use arca_events::Events;
use arca_images::{Images, Registry};
use arca_storage::Storage;
use arca_store::Store;
use arca_types::{Clock, Platform, Timestamp, random_hex};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::Error;
use crate::cache::{Cache, GcPolicy};
use crate::exec::emulation;
use crate::exec::secrets::SecretFiles;
use crate::history::{HistoryConfig, Past};
use crate::job::{Job, JobInner};
use crate::progress::Progress;
use crate::request::JobRequest;
use crate::solve::Flights;
use crate::source::LocalDirectories;

/// Settings of builds.
#[derive(Debug, Clone)]
pub struct Config {
    /// The directory of durable state; builds have theirs in `build/` below it.
    pub data_root: PathBuf,
    /// The directory of run-time state.
    pub exec_root: PathBuf,
    /// What the cache may keep (`builder.gc`); empty for no limit.
    pub gc: Vec<GcPolicy>,
    /// How many builds are remembered (`builder.history`).
    pub history: HistoryConfig,
    /// May builds ask for the host's network (`builder.entitlements.network-host`)?
    pub network_host: bool,
    /// May builds run privileged processes (`builder.entitlements.security-insecure`)?
    pub security_insecure: bool,
}

/// What the service stands on.
#[derive(Debug, Clone)]
pub struct Backends {
    /// Records.
    pub store: Store,
    /// Layers and snapshots.
    pub storage: Storage,
    /// Images.
    pub images: Images,
    /// Runs processes.
    pub containers: Containers,
    /// Registries.
    pub registry: Registry,
    /// The journal of events.
    pub events: Events,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

/// Builds. A cheap handle.
#[derive(Debug, Clone)]
pub struct Builder(pub(crate) Arc<Service>);

#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) config: Config,
    pub(crate) backends: Backends,
    pub(crate) cache: Cache,
    pub(crate) past: Past,
    pub(crate) locals: LocalDirectories,
    pub(crate) flights: Flights,
    pub(crate) secrets: SecretFiles,
    pub(crate) tasks: TaskTracker,
    pub(crate) closing: CancellationToken,
    jobs: Mutex<HashMap<String, Job>>,
}

impl Service {
    pub(crate) fn storage(&self) -> &Storage {
        &self.backends.storage
    }

    /// The directory of what builds keep.
    pub(crate) fn root(&self) -> PathBuf {
        self.config.data_root.join("build")
    }

    pub(crate) fn jobs(&self) -> MutexGuard<'_, HashMap<String, Job>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Builder {
    /// Opens the cache and removes what earlier runs have left behind. It blocks. To be called before
    /// [`Images::reclaim`], since the cache holds layers from here on.
    ///
    /// # Errors
    /// [`Error::Store`] when records cannot be read, [`Error::File`] when directories cannot be made.
    pub fn open(config: Config, backends: Backends) -> Result<Self, Error> {
        let root = config.data_root.join("build");
        std::fs::create_dir_all(&root).map_err(Error::file("create", &root))?;
        let cache = Cache::open(&root, &backends)?;
        let past = Past::open(root.join("history"), backends.store.clone())?;
        let locals = LocalDirectories::open(root.join("local"))?;
        let secrets = SecretFiles::open(&config.exec_root)?;
        let service = Service {
            config,
            backends,
            cache,
            past,
            locals,
            flights: Flights::default(),
            secrets,
            tasks: TaskTracker::new(),
            closing: CancellationToken::new(),
            jobs: Mutex::default(),
        };
        Ok(Self(Arc::new(service)))
    }

    /// Begins a build. It is known by its ID until [`Job::end`], or until it is dropped.
    ///
    /// # Errors
    /// [`Error::Forbidden`] for an entitlement that is not allowed here, [`Error::Invalid`] when there is
    /// a build of that ID.
    pub fn begin(&self, request: JobRequest) -> Result<Job, Error> {
        use crate::Entitlement::{NetworkHost, SecurityInsecure};
        for entitlement in &request.entitlements {
            let (allowed, name) = match entitlement {
                NetworkHost => (self.0.config.network_host, "network.host"),
                SecurityInsecure => (self.0.config.security_insecure, "security.insecure"),
            };
            if !allowed {
                return Err(Error::Forbidden(format!("{name} is not allowed")));
            }
        }
        let id = match request.id.as_str() {
            "" => random_hex(16),
            id => id.to_owned(),
        };
        let mut jobs = self.0.jobs();
        if jobs.contains_key(&id) {
            return Err(Error::Invalid(format!("job ID {id} exists")));
        }
        let job = Job(Arc::new(JobInner {
            id: id.clone(),
            service: Arc::clone(&self.0),
            session: request.session,
            entitlements: request.entitlements,
            limits: request.limits,
            progress: Progress::new(Arc::clone(&self.0.backends.clock)),
            cancel: self.0.closing.child_token(),
            vertices: Mutex::default(),
            caches: Mutex::default(),
            materials: Mutex::default(),
            resolved: Mutex::default(),
            announced: Mutex::default(),
        }));
        jobs.insert(id, job.clone());
        Ok(job)
    }

    /// The time, as builds have it.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.0.backends.clock.now()
    }

    /// What the cache may keep.
    #[must_use]
    pub fn gc_policies(&self) -> &[GcPolicy] {
        &self.0.config.gc
    }

    /// The platforms whose programs steps can run, the host's first.
    #[must_use]
    pub fn platforms(&self) -> Vec<Platform> {
        let mut all = vec![Platform::host()];
        all.extend(emulation::others());
        all
    }

    /// The build of this ID, while it lasts.
    #[must_use]
    pub fn job(&self, id: &str) -> Option<Job> {
        self.0.jobs().get(id).cloned()
    }

    /// Ends the build of this ID; says whether there was one.
    #[must_use]
    pub fn cancel(&self, id: &str) -> bool {
        match self.job(id) {
            Some(job) => {
                job.cancel();
                true
            }
            None => false,
        }
    }

    /// Ends all builds and waits until nothing of them runs.
    pub async fn close(&self) {
        self.0.closing.cancel();
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }
}
