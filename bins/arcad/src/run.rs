//! The daemon's life: start, serve, reload, end.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use arca_engine::Engine;
use arca_registry::Registry;
use arca_server::{Listener, Server, ServerConfig};
use sd_notify::NotifyState;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinSet;

use crate::cli::{Cli, Program};
use crate::listen;
use crate::logging::{self, Level};
use crate::pidfile::PidFile;
use crate::settings::Settings;
use crate::userns;
use crate::{VERSION, parse, reload, services};

/// Arenas of the allocator: one for each worker.
const ARENAS: u16 = 2;
/// Threads that run the engine.
const WORKERS: usize = 2;
/// Threads for blocking work, at most; they end when they have been idle.
const BLOCKING: usize = 64;
/// Bytes of a thread's stack; what is not touched costs nothing.
const STACK: usize = 1 << 20;
/// From so many bytes on, a piece of memory goes back to the system when it is freed. What bodies are read
/// into is smaller.
const MAPPED_FROM: u32 = 256 << 10;
/// After so long without a request memory is given back.
const QUIET: Duration = Duration::from_secs(5);
/// How many bytes stay free in an arena.
const KEPT: u32 = 1 << 20;

/// Serves until it is told to end.
///
/// # Errors
/// The caller is not root, the configuration is wrong, the state cannot be opened, or an address cannot be
/// listened on.
pub(crate) fn run(program: &Program, cli: &Cli) -> anyhow::Result<()> {
    arca_sys::memory::limit_allocator(ARENAS, MAPPED_FROM, KEPT);
    let settings = Settings::load(program, cli)?;
    if !rustix::process::geteuid().is_root() {
        bail!(
            "{} needs to be started with root privileges: rootless mode is not there yet",
            program.name
        );
    }
    let level = logging::start(&settings);
    if rustls::crypto::ring::default_provider()
        .install_default()
        .is_err()
    {
        tracing::warn!("a TLS provider was installed already");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .max_blocking_threads(BLOCKING)
        .thread_keep_alive(Duration::from_secs(2))
        .thread_stack_size(STACK)
        .thread_name("arcad")
        .enable_all()
        .build()
        .context("cannot start the async runtime")?;
    runtime.block_on(
        Daemon {
            program,
            cli,
            settings,
            level,
        }
        .run(),
    )
}

/// What the daemon was started with.
struct Daemon<'a> {
    program: &'a Program,
    cli: &'a Cli,
    settings: Settings,
    level: Level,
}

/// The signals that arcad answers to. They are taken before anything else is done.
struct Signals {
    hangup: Signal,
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn take() -> anyhow::Result<Self> {
        let take = |kind| signal(kind).context("cannot handle signals");
        Ok(Self {
            hangup: take(SignalKind::hangup())?,
            interrupt: take(SignalKind::interrupt())?,
            terminate: take(SignalKind::terminate())?,
        })
    }
}

impl Daemon<'_> {
    async fn run(self) -> anyhow::Result<()> {
        let signals = Signals::take()?;
        tracing::info!(version = VERSION, pid = std::process::id(), "arcad starts");
        let _pidfile = PidFile::write(&self.settings.pidfile)?;
        if !self.settings.live_restore {
            tracing::warn!("live-restore cannot be switched off: containers outlive arcad");
        }
        let server = Server::new(&ServerConfig {
            version: VERSION.to_owned(),
            experimental: self.settings.experimental,
        });
        let mut tasks = JoinSet::new();
        // Before the engine is there: `/_ping` is answered at once, other requests when it is.
        let listeners = listen::open(&self.settings.hosts, &self.settings.group)?;
        let sockets = serve(&server, listeners, &mut tasks);
        let registry = Registry::new(services::registry(&self.settings)?);
        let mut config = services::engine(&self.settings)?;
        userns::prepare(&self.settings, &mut config)?;
        let engine = Engine::open(config, registry.clone())
            .await
            .map_err(|error| anyhow!("failed to start daemon: {}", arca_types::chain(&error)))?;
        engine
            .images
            .set_gc_policy(services::image_gc(&self.settings)?);
        let gc = &self.settings.image_gc;
        if let Some(interval) = parse::duration(&gc.interval).filter(|_| gc.enabled) {
            tasks.spawn(engine.images.clone().keep_room(interval));
        }
        server.open(engine.clone());
        for host in &self.settings.hosts {
            tracing::info!(address = %host, "API listens");
        }
        give_back();
        tasks.spawn(cool_down(server.clone()));
        notify(&[NotifyState::Ready]);
        self.serve(signals, &engine, &registry).await;
        notify(&[NotifyState::Stopping]);
        tracing::info!("arcad ends; containers run on");
        remove(sockets);
        server.stop().await;
        engine.close().await;
        tasks.shutdown().await;
        Ok(())
    }

    /// Waits for signals until one of them ends the daemon.
    async fn serve(mut self, mut signals: Signals, engine: &Engine, registry: &Registry) {
        loop {
            tokio::select! {
                _ = signals.terminate.recv() => return,
                _ = signals.interrupt.recv() => return,
                _ = signals.hangup.recv() => {
                    match Settings::load(self.program, self.cli) {
                        Ok(fresh) => {
                            self.settings = {
                                let next = reload::merge(&self.settings, fresh);
                                if reload::apply(&next, engine, registry).await {
                                    self.level.apply(&next);
                                    next
                                } else {
                                    self.settings
                                }
                            };
                        }
                        Err(error) => {
                            let error = arca_types::chain(&error);
                            tracing::error!(%error, "the configuration was not reloaded");
                        }
                    }
                }
            }
        }
    }
}

/// Gives back what each burst of requests has left behind.
async fn cool_down(server: Server) {
    loop {
        server.quiet(QUIET).await;
        give_back();
    }
}

/// Gives back memory that is not needed while nothing happens.
fn give_back() {
    arca_sys::memory::give_back();
    if let Err(error) = arca_sys::memory::forget_code() {
        tracing::debug!(%error, "the code of the start stays in memory");
    }
}

/// Serves the API on each listener, as tasks. Returns the paths of sockets that are to be removed.
fn serve(
    server: &Server,
    listeners: Vec<listen::Listener>,
    tasks: &mut JoinSet<()>,
) -> Vec<PathBuf> {
    let mut sockets = Vec::new();
    for listener in listeners {
        let listener = match listener {
            listen::Listener::Unix(listener, path) => {
                sockets.extend(path);
                Listener::Unix(listener)
            }
            listen::Listener::Tcp(listener) => Listener::Tcp(listener),
        };
        let server = server.clone();
        tasks.spawn(async move { server.serve(listener).await });
    }
    sockets
}

/// Tells the service manager, where there is one.
fn notify(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "the service manager was not notified");
    }
}

fn remove(sockets: Vec<PathBuf>) {
    for path in sockets {
        if let Err(error) = std::fs::remove_file(&path) {
            tracing::warn!(path = %path.display(), %error, "the socket was not removed");
        }
    }
}
