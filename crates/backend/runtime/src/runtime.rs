//! The runtime: its configuration and the shims that it knows.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arca_shim_proto::CgroupPaths;
use arca_types::ContainerId;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::directory::Directory;
use crate::error::Error;
use crate::events::{Event, Subscribers};
use crate::link::Link;

/// What the runtime needs to know.
#[derive(Debug, Clone)]
pub struct Config {
    /// The directory of run-time state; shims live in `shims/` below it.
    pub exec_root: PathBuf,
    /// The program `arca-shim`.
    pub shim: PathBuf,
}

/// How long a shim may take to make a container; hooks and foreign runtimes are slow.
pub(crate) const START: Duration = Duration::from_secs(120);
/// How long a shim may take for anything else.
pub(crate) const ORDER: Duration = Duration::from_secs(30);
/// How long a shim may take to say hello.
pub(crate) const HELLO: Duration = Duration::from_secs(10);

/// The containers' processes. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Runtime {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) config: Config,
    pub(crate) subscribers: Subscribers,
    pub(crate) tasks: TaskTracker,
    pub(crate) closing: CancellationToken,
    shims: Mutex<HashMap<ContainerId, Shim>>,
}

/// A shim that this process is connected to.
#[derive(Debug, Clone)]
pub(crate) struct Shim {
    pub(crate) link: Link,
    /// The init process, once there is one.
    pub(crate) init: Option<i32>,
    /// The connection closed before the container's end was told.
    pub(crate) broken: bool,
    pub(crate) cgroups: Option<Arc<CgroupPaths>>,
}

impl Runtime {
    /// Makes the directories below the exec root.
    ///
    /// # Errors
    /// [`Error::File`] when they cannot be made.
    pub fn open(config: Config) -> Result<Self, Error> {
        let shims = config.exec_root.join("shims");
        std::fs::create_dir_all(&shims).map_err(Error::file("create", shims))?;
        let inner = Inner {
            config,
            subscribers: Subscribers::default(),
            tasks: TaskTracker::new(),
            closing: CancellationToken::new(),
            shims: Mutex::default(),
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// Hears everything that happens from now on. The queue is bounded: who does not read it holds
    /// up the shims' connections, never the containers.
    #[must_use]
    pub fn subscribe(&self) -> mpsc::Receiver<Event> {
        self.inner.subscribers.add()
    }

    /// Ends the connections and waits for the tasks behind them. Containers and shims go on.
    pub async fn close(&self) {
        self.inner.closing.cancel();
        self.lock().clear();
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
    }

    pub(crate) fn directory(&self, id: &ContainerId) -> Directory {
        Directory::new(self.shims_root().join(id.as_str()))
    }

    pub(crate) fn shims_root(&self) -> PathBuf {
        self.inner.config.exec_root.join("shims")
    }

    /// The connection to the shim of a container.
    pub(crate) fn shim(&self, id: &ContainerId) -> Result<Shim, Error> {
        let shim = self.lock().get(id).cloned();
        shim.filter(|shim| shim.link.is_connected())
            .ok_or_else(|| Error::NotRunning(id.clone()))
    }

    pub(crate) fn know(&self, id: &ContainerId, shim: Shim) {
        self.lock().insert(id.clone(), shim);
    }

    /// Changes what is known of a shim, if it is known.
    pub(crate) fn amend<T>(
        &self,
        id: &ContainerId,
        change: impl FnOnce(&mut Shim) -> T,
    ) -> Option<T> {
        self.lock().get_mut(id).map(change)
    }

    pub(crate) fn forget(&self, id: &ContainerId) -> Option<Shim> {
        self.lock().remove(id)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<ContainerId, Shim>> {
        self.inner
            .shims
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Runs what blocks on a thread that may.
pub(crate) async fn blocking<T, F>(work: F) -> Result<T, Error>
where
    T: Send + 'static,
    F: FnOnce() -> Result<T, Error> + Send + 'static,
{
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(_cancelled) => Err(Error::Closed),
    }
}

/// The ID of this boot (`/proc/sys/kernel/random/boot_id`): run-time state of another boot is void.
///
/// # Errors
/// When procfs does not have it.
pub fn boot_id() -> std::io::Result<String> {
    let text = std::fs::read_to_string(Path::new("/proc/sys/kernel/random/boot_id"))?;
    Ok(text.trim().to_owned())
}
