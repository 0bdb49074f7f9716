//! `ContainerStart`: root filesystem, network, process; or everything as it was.

use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arca_runtime::{CgroupSpec, ConsoleSize, ContainerStarted, RunSpec, Stdio};

use crate::Error;
use crate::actor::{Actor, Command};
use crate::config::Config;
use crate::container::Container;
use crate::links;
use crate::model::{MountType, NetworkSettings};
use crate::mounting::Mounted;
use crate::record::Intent;
use crate::requests::Started;
use crate::service::Containers;
use crate::spec::mounts::NetworkFiles;
use crate::spec::{self, SpecInput};
use crate::state::{Input, Process, State};
use crate::timers::Timer;
use crate::undo::Undo;
use crate::users::{self, Account};

/// How long a start that nobody asked for is put off while files of the container are written.
const FILES: Duration = Duration::from_millis(100);

impl Containers {
    /// Starts a container (`ContainerStart`).
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Conflict`] for a paused one; [`Error::MarkedForRemoval`];
    /// [`Error::Network`], [`Error::Task`] and others when it cannot be started: nothing of the attempt
    /// is left then.
    pub async fn start(&self, id: &str) -> Result<Started, Error> {
        let handle = self.service().index.find(id)?;
        handle.arriving.all().await;
        let _alone = handle.files.write().await;
        self.ask(&handle, Command::Start).await
    }
}

/// What a start has brought up.
struct Up {
    started: ContainerStarted,
    network: NetworkSettings,
}

impl Actor {
    /// Starts the container for a client.
    pub(crate) async fn start(&mut self) -> Result<Started, Error> {
        match self.c.state {
            State::Running(_) | State::Restarting | State::Starting(_) => {
                return Ok(Started::Already);
            }
            State::Paused(_) => {
                let text = "cannot start a paused container, try unpause instead";
                return Err(Error::Conflict(text.to_owned()));
            }
            State::Removing | State::Dead => return Err(Error::MarkedForRemoval("started")),
            State::Created | State::Exited => {}
        }
        self.intent = Intent::default();
        self.c.restart_count = 0;
        self.backoff.reset();
        self.attempt(true).await.map(|()| Started::Now)
    }

    /// Starts the container because it is to run.
    pub(crate) async fn launch(&mut self) -> Result<(), Error> {
        self.attempt(false).await
    }

    /// Starts the container, or leaves everything as it was. A client is told when the receiver of its
    /// log cannot be reached; otherwise that is no reason not to run.
    async fn attempt(&mut self, for_client: bool) -> Result<(), Error> {
        self.take_over_names();
        self.request(Input::Start).await?;
        let mut undo = Undo::default();
        let reached = if for_client {
            self.reach_log().await
        } else {
            Ok(())
        };
        let up = match reached {
            Ok(()) => self.bring_up(&mut undo).await,
            Err(error) => Err(error),
        };
        match up {
            Ok(up) => {
                self.running(up).await;
                Ok(())
            }
            Err(error) => {
                undo.run().await;
                self.start_failed(&error).await;
                Err(error)
            }
        }
    }

    /// Looks whether the log would reach its receiver.
    async fn reach_log(&self) -> Result<(), Error> {
        let spec = crate::backend::log_spec(&self.c, &self.service.config())?;
        if !arca_logging::is_delivered(&spec) {
            return Ok(());
        }
        blocking(move || arca_logging::reach(&spec).map_err(crate::backend::not_logged)).await
    }

    async fn running(&mut self, up: Up) {
        let run = &mut self.c.run;
        run.started_at = up.started.at;
        run.exit_code = 0;
        run.oom_killed = false;
        run.error.clear();
        self.c.network = Arc::new(up.network);
        self.intent.restart = false;
        self.reset_health();
        let pid = up.started.pid.unsigned_abs();
        self.note(Input::Started(Process { pid })).await;
        self.resume_probing();
        self.service.images.set_running(&self.c.id, true);
        self.event("start").await;
        tracing::info!(container.id = %self.c.id, pid, "started");
    }

    async fn start_failed(&mut self, error: &Error) {
        let text = arca_types::chain(error);
        tracing::info!(container.id = %self.c.id, error = text, "not started");
        self.c.run.exit_code = error.exit_code();
        self.c.ends.exit_code = self.c.run.exit_code;
        self.c.run.error = text;
        self.early.clear();
        self.note(Input::StartFailed).await;
        if self.c.spec.host.auto_remove {
            self.auto_remove().await;
        }
    }

    /// Network, files, configuration, process: each step that succeeds says how to take it back.
    async fn bring_up(&mut self, undo: &mut Undo) -> Result<Up, Error> {
        let service = Arc::clone(&self.service);
        let id = self.c.id.clone();
        let mut joined = self.joined_namespaces()?;
        let spec = self.sandbox_spec()?;
        // Neither needs the other.
        let (sandbox, account) =
            tokio::join!(service.networks.attach(&id, spec), self.prepare_rootfs());
        let sandbox = sandbox?;
        undo.push("network", {
            let (service, id) = (Arc::clone(&service), id.clone());
            async move { service.networks.detach(&id).await.map_err(Error::from) }
        });
        let account = account?;
        let points = self.ready_mounts(&account, undo).await?;
        let files = self.write_files(&sandbox).await?;
        joined.network = sandbox.netns.as_deref().map(text);
        let mut oci = self.configuration(&account, &joined, files.as_ref(), &points)?;
        let linked = service.linked(&self.c)?;
        links::add_environment(&mut oci.process.env, &self.c.name, &linked);
        oci.process.apparmor_profile = service.apparmor_profile(&self.c.spec).await?;
        self.inject_devices(&mut oci).await?;
        let rootfs = service.storage.rootfs(&id).map_err(Error::Storage)?;
        let run = self.run_spec(&oci, crate::backend::rootfs(rootfs))?;
        self.tell_mounted(undo).await;
        let (clients, sessions): (Vec<_>, Vec<_>) = self
            .early
            .drain(..)
            .map(|early| (early.client, early.session))
            .unzip();
        let mut started = service
            .runtime
            .start(&id, run, clients)
            .await
            .map_err(Error::Task)?;
        for (session, waiting) in started.sessions.drain(..).zip(sessions) {
            if waiting.send(session).is_err() {
                tracing::debug!(container.id = %id, "nobody waits for the session any more");
            }
        }
        let network = self.network_settings(&sandbox);
        Ok(Up { started, network })
    }

    /// Makes missing sources of binds, finds the user, makes the working directory.
    async fn prepare_rootfs(&self) -> Result<Account, Error> {
        let root = self
            .service
            .storage
            .open_rootfs(&self.c.id)
            .await
            .map_err(Error::Storage)?;
        let spec = Arc::clone(&self.c.spec);
        let points = Arc::clone(&self.c.mounts);
        blocking(move || {
            for point in points.iter().filter(|point| point.create_source) {
                make_source(Path::new(&point.source))?;
            }
            let groups = spec.host.group_add.as_deref().unwrap_or_default();
            let account =
                users::resolve(root.as_fd(), &spec.user, groups).map_err(Error::into_failure)?;
            let covered = points
                .iter()
                .any(|point| spec.working_dir.starts_with(&point.destination));
            if !covered && !matches!(spec.working_dir.as_str(), "" | "/") {
                users::make_directory(root.as_fd(), &spec.working_dir, &users::root())?;
            }
            Ok(account)
        })
        .await
    }

    fn configuration(
        &self,
        account: &Account,
        joined: &spec::Joined,
        files: Option<&[String; 3]>,
        points: &[Mounted],
    ) -> Result<spec::oci::Spec, Error> {
        let config = &*self.service.config();
        let init = self.c.spec.host.init.unwrap_or(config.init);
        let init_path = config.init_path.to_string_lossy();
        spec::build(&SpecInput {
            spec: &self.c.spec,
            path: &self.c.path,
            args: &self.c.args,
            hostname: self.c.hostname(),
            points,
            files: files.map(|[resolv_conf, hostname, hosts]| NetworkFiles {
                resolv_conf,
                hostname,
                hosts,
            }),
            account,
            joined,
            init: init.then_some(init_path.as_ref()),
            cgroups_path: cgroups_path(config, &self.c),
            ulimits: &config.ulimits,
            no_new_privileges: config.no_new_privileges,
            seccomp_profile: config.seccomp_profile.as_deref(),
            facts: &self.service.facts,
            users: config.users_of(&self.c.spec.host),
        })
    }

    fn run_spec(
        &self,
        oci: &spec::oci::Spec,
        rootfs: arca_runtime::Rootfs,
    ) -> Result<RunSpec, Error> {
        let host = &self.c.spec.host;
        let config = &*self.service.config();
        let runtime = config.runtimes.get(&host.runtime).cloned().ok_or_else(|| {
            Error::Invalid(format!("unknown or invalid runtime name: {}", host.runtime))
        })?;
        let (rows, columns) = host.console_size;
        let size = |value: u32| u16::try_from(value).unwrap_or(u16::MAX);
        let console = ConsoleSize {
            width: size(columns),
            height: size(rows),
        };
        Ok(RunSpec {
            oci: serde_json::value::to_raw_value(oci).map_err(|error| {
                Error::Failed(format!("cannot write the configuration: {error}"))
            })?,
            rootfs,
            stdio: Stdio {
                tty: self.c.spec.tty,
                open_stdin: self.c.spec.open_stdin,
                stdin_once: self.c.spec.stdin_once,
                console: ((rows, columns) != (0, 0)).then_some(console),
            },
            log: crate::backend::log_spec(&self.c, config)?,
            runtime,
            cgroup: CgroupSpec {
                path: oci.linux.cgroups_path.clone(),
                systemd: config.systemd_cgroups,
            },
        })
    }

    /// Tells the volumes that they are seen now.
    async fn tell_mounted(&self, undo: &mut Undo) {
        let volumes = &self.service.volumes;
        for point in self
            .c
            .mounts
            .iter()
            .filter(|point| point.kind == MountType::Volume)
        {
            let usage = arca_volumes::Use {
                destination: point.destination.clone(),
                read_write: point.rw,
                propagation: point.propagation.clone(),
            };
            volumes.mounted(&point.name, &self.c.id, &usage).await;
            let (volumes, name, id) = (volumes.clone(), point.name.clone(), self.c.id.clone());
            undo.push("volume", async move {
                volumes.unmounted(&name, &id).await;
                Ok(())
            });
        }
    }

    /// The daemon was started, and the restart policy wants the container to run.
    pub(crate) async fn start_by_policy(&mut self) {
        if !matches!(self.c.state, State::Exited) {
            return;
        }
        let Ok(_alone) = Arc::clone(&self.files).try_write_owned() else {
            return self.timers.start(FILES, Timer::Boot);
        };
        self.intent = Intent::default();
        if let Err(error) = self.launch().await {
            let error = arca_types::chain(&error);
            tracing::warn!(container.id = %self.c.id, error, "not started");
        }
    }

    /// A restart that the policy has ordered is due.
    pub(crate) async fn restart_by_policy(&mut self) {
        if !matches!(self.c.state, State::Restarting) {
            return;
        }
        let Ok(_alone) = Arc::clone(&self.files).try_write_owned() else {
            return self.timers.start(FILES, Timer::Restart);
        };
        if let Err(error) = self.launch().await {
            let error = arca_types::chain(&error);
            tracing::warn!(container.id = %self.c.id, error, "not restarted");
        }
    }
}

/// The cgroup: below the daemon's parent or the container's own, in the words of the driver.
fn cgroups_path(config: &Config, container: &Container) -> String {
    let own = &container.spec.host.resources.cgroup_parent;
    let parent = if own.is_empty() {
        &config.cgroup_parent
    } else {
        own
    };
    if config.systemd_cgroups {
        let parent = if parent.is_empty() {
            "system.slice"
        } else {
            parent
        };
        return format!("{parent}:docker:{}", container.id);
    }
    let parent = if parent.is_empty() { "/docker" } else { parent };
    format!("/{}/{}", parent.trim_matches('/'), container.id)
}

/// Makes the source of a bind mount that is not there.
fn make_source(path: &Path) -> Result<(), Error> {
    if path.exists() {
        return Ok(());
    }
    std::fs::create_dir_all(path).map_err(|cause| {
        let text = format!(
            "error while creating mount source path '{}'",
            path.display()
        );
        Error::context(
            text,
            Error::File {
                what: "make directory",
                path: path.into(),
                cause,
            },
        )
    })
}

/// Runs what blocks on a thread that may.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|_cancelled| Err(Error::ShuttingDown))
}

/// A path as text; those that arca makes are always text.
pub(crate) fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// The paths of the three files of a container's network.
pub(crate) fn network_files(dir: &Path) -> [PathBuf; 3] {
    [
        dir.join("resolv.conf"),
        dir.join("hostname"),
        dir.join("hosts"),
    ]
}
