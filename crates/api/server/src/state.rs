//! What handlers share.

use std::sync::Arc;

use arca_build::Builder;
use arca_buildkit::BuildKit;
use arca_containers::Containers;
use arca_engine::{Engine, System};
use arca_events::Events;
use arca_images::Images;
use arca_networks::Networks;
use arca_volumes::Volumes;
use axum::extract::FromRef;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::containers::ListCache;

/// The engine, and what belongs to serving it. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct App {
    pub(crate) engine: Engine,
    pub(crate) buildkit: BuildKit,
    pub(crate) sessions: Sessions,
    pub(crate) list_cache: Arc<ListCache>,
}

/// The tasks that carry hijacked connections.
#[derive(Debug, Clone)]
pub(crate) struct Sessions {
    tasks: TaskTracker,
    closing: CancellationToken,
}

impl Sessions {
    /// Runs a session until it ends, or the daemon does.
    pub(crate) fn spawn(&self, session: impl Future<Output = ()> + Send + 'static) {
        let closing = self.closing.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                () = session => {}
                () = closing.cancelled() => {}
            }
        });
    }
}

impl App {
    pub(crate) fn new(engine: Engine, tasks: TaskTracker, closing: CancellationToken) -> Self {
        let gateway = engine.networks.host_gateway();
        let config = arca_buildkit::Config {
            id: engine.system.id().to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            host_gateway: gateway.first().map(ToString::to_string),
        };
        Self {
            buildkit: BuildKit::new(engine.builder.clone(), config, closing.clone()),
            engine,
            sessions: Sessions { tasks, closing },
            list_cache: Arc::default(),
        }
    }
}

macro_rules! parts {
    ($($type:ident = $field:ident;)*) => {$(
        impl FromRef<App> for $type {
            fn from_ref(app: &App) -> Self {
                app.engine.$field.clone()
            }
        }
    )*};
}

parts! {
    Builder = builder;
    Containers = containers;
    Events = events;
    Images = images;
    Networks = networks;
    System = system;
    Volumes = volumes;
}

impl FromRef<App> for (System, Volumes, Builder) {
    fn from_ref(app: &App) -> Self {
        let engine = &app.engine;
        (
            engine.system.clone(),
            engine.volumes.clone(),
            engine.builder.clone(),
        )
    }
}

impl FromRef<App> for (Builder, BuildKit) {
    fn from_ref(app: &App) -> Self {
        (app.engine.builder.clone(), app.buildkit.clone())
    }
}

impl FromRef<App> for (BuildKit, Sessions) {
    fn from_ref(app: &App) -> Self {
        (app.buildkit.clone(), app.sessions.clone())
    }
}

impl FromRef<App> for (Containers, Sessions) {
    fn from_ref(app: &App) -> Self {
        (app.engine.containers.clone(), app.sessions.clone())
    }
}

impl FromRef<App> for (Containers, Arc<ListCache>) {
    fn from_ref(app: &App) -> Self {
        (app.engine.containers.clone(), Arc::clone(&app.list_cache))
    }
}
