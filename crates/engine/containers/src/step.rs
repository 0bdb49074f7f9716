//! A process that belongs to no container of the API: a step of a build. It is isolated, limited and
//! connected as a container's init process is, by the same code.
//!
//! Nothing of it is recorded. What a crash leaves is swept at the next start, as everything is that belongs
//! to no container.

mod output;

use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::sync::Arc;

use arca_networks::{EndpointSpec, FilesSpec, SandboxMode, SandboxSpec};
use arca_runtime::{CgroupSpec, Event, Happening, LogSpec, RunSpec, Stdio};
use arca_types::{ContainerId, IdMaps, Signal};
use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::Error;
use crate::check;
use crate::merge;
use crate::model::{ContainerSpec, NetworkMode};
use crate::service::{Containers, Service};
use crate::spec::mounts::NetworkFiles;
use crate::spec::{self, SpecInput, oci};
use crate::start::{blocking, network_files, text};
use crate::undo::Undo;
use crate::users::{self, Account};
use output::client;
pub use output::read_frames;

/// A process that is to be run.
#[derive(Debug)]
pub struct StepRequest {
    /// Its identity; storage has a snapshot of this name, which is its root and stays.
    pub id: ContainerId,
    /// Command (`cmd`), environment as it is, user, working directory, host name, limits, network.
    pub spec: ContainerSpec,
    /// What is mounted besides what every container has.
    pub mounts: Vec<StepMount>,
    /// Where its output goes; whoever does not read it holds the process up.
    pub output: mpsc::Sender<StepOutput>,
    /// Ends it.
    pub cancel: CancellationToken,
}

/// A mount in the words of the OCI runtime specification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepMount {
    /// Where.
    pub destination: String,
    /// File system.
    pub kind: String,
    /// What.
    pub source: String,
    /// How.
    pub options: Vec<String>,
}

/// Output of the process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepOutput {
    /// 1 for standard output, 2 for standard error.
    pub stream: u8,
    /// Bytes.
    pub data: Bytes,
}

/// How the process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StepEnd {
    /// Exit code, 128 and the signal's number when a signal ended it.
    pub code: i32,
    /// Has the kernel killed a process of it for want of memory?
    pub oom_killed: bool,
    /// Was it ended because of [`StepRequest::cancel`]?
    pub cancelled: bool,
}

impl Containers {
    /// Runs a process to its end. When it returns, or is dropped, nothing of it is left or will be soon.
    ///
    /// # Errors
    /// As those of a container's start.
    pub async fn run_step(&self, request: StepRequest) -> Result<StepEnd, Error> {
        let service = Arc::clone(self.service());
        let cancel = request.cancel.child_token();
        let request = StepRequest {
            cancel: cancel.clone(),
            ..request
        };
        let _ends_with_the_caller = cancel.drop_guard();
        let work = self.service().tasks.spawn(async move {
            let mut undo = Undo::default();
            let ended = service.step(request, &mut undo).await;
            undo.run().await;
            ended
        });
        work.await.unwrap_or(Err(Error::ShuttingDown))
    }
}

impl Service {
    async fn step(
        self: &Arc<Self>,
        request: StepRequest,
        undo: &mut Undo,
    ) -> Result<StepEnd, Error> {
        let StepRequest {
            id,
            mut spec,
            mounts,
            output,
            cancel,
        } = request;
        check::check(&mut spec, &self.facts.abilities)?;
        let env = std::mem::take(&mut spec.env);
        merge::daemon(&mut spec, &self.config(), self.facts.unified)?;
        let dir = self.directory(&id);
        crate::create::make_directory(dir.as_path().into(), undo).await?;
        let config = self.config();
        let users = config.users_of(&spec.host);
        check::check_remapped(&spec.host, users.is_some())?;
        let sandbox_spec = sandbox_spec(&id, &spec, users.is_some())?;
        let sandbox = self.networks.attach(&id, sandbox_spec).await?;
        undo.push("network", {
            let (service, id) = (Arc::clone(self), id.clone());
            async move { service.networks.detach(&id).await.map_err(Error::from) }
        });
        let files = self.step_files(&sandbox, &spec, dir).await?;
        let account = self.step_account(&id, &spec).await?;
        let netns = sandbox.netns.as_deref().map(text);
        let mut oci = self.step_spec(&id, &spec, &account, (netns, &files))?;
        oci.process.env = env;
        spec::add_home(&mut oci.process.env, &account.home);
        let ids = users.map(|users| &users.ids);
        oci.mounts
            .extend(mounts.into_iter().map(|mount| mount.into_oci(ids)));
        self.run_to_end(&id, &spec, oci, (output, cancel)).await
    }

    async fn run_to_end(
        self: &Arc<Self>,
        id: &ContainerId,
        spec: &ContainerSpec,
        oci: oci::Spec,
        (output, cancel): (mpsc::Sender<StepOutput>, CancellationToken),
    ) -> Result<StepEnd, Error> {
        if cancel.is_cancelled() {
            return Err(Error::ShuttingDown);
        }
        let mut events = self.runtime.subscribe();
        let (client, reader) = client()?;
        let rootfs = self.storage.rootfs(id).map_err(Error::Storage)?;
        let runtime = self.config().runtimes.get(&spec.host.runtime).cloned();
        let runtime = runtime.unwrap_or_default();
        let run = RunSpec {
            rootfs: crate::backend::rootfs(rootfs),
            stdio: Stdio::default(),
            log: LogSpec {
                driver: "none".to_owned(),
                ..LogSpec::default()
            },
            runtime,
            cgroup: CgroupSpec {
                path: oci.linux.cgroups_path.clone(),
                systemd: self.config().systemd_cgroups,
            },
            oci: serde_json::value::to_raw_value(&oci).map_err(|error| {
                Error::Failed(format!("cannot write the configuration: {error}"))
            })?,
        };
        let started = self.runtime.start(id, run, vec![client]).await;
        if let Err(error) = started {
            self.forget_step(id).await;
            return Err(Error::Task(error));
        }
        let reading = tokio::spawn(read_frames(reader, output));
        let ended = self.wait_step(id, &mut events, &cancel).await;
        drop(reading.await);
        self.forget_step(id).await;
        ended
    }

    /// Waits for the end; kills when it is to be cancelled.
    async fn wait_step(
        &self,
        id: &ContainerId,
        events: &mut mpsc::Receiver<Event>,
        cancel: &CancellationToken,
    ) -> Result<StepEnd, Error> {
        let mut cancelled = false;
        let mut oom_killed = false;
        loop {
            let event = tokio::select! {
                event = events.recv() => event,
                () = cancelled_once(cancel, cancelled) => {
                    cancelled = true;
                    if let Err(error) = self.runtime.kill(id, None, Signal::KILL).await {
                        tracing::debug!(container.id = %id, %error, "not killed");
                    }
                    continue;
                }
            };
            let Some(event) = event else {
                return Err(Error::ShuttingDown);
            };
            if event.id != *id {
                continue;
            }
            match event.what {
                Happening::Oom => oom_killed = true,
                Happening::Exited(status) | Happening::ShimLost { status, .. } => {
                    return Ok(StepEnd {
                        code: status.code,
                        oom_killed: oom_killed || status.oom_killed,
                        cancelled,
                    });
                }
                Happening::ExecExited(_) => {}
            }
        }
    }

    async fn forget_step(&self, id: &ContainerId) {
        if let Err(error) = self.runtime.remove(id).await {
            tracing::warn!(container.id = %id, %error, "the directory of a step stays");
        }
    }

    fn step_spec(
        &self,
        id: &ContainerId,
        spec: &ContainerSpec,
        account: &Account,
        (netns, files): (Option<String>, &[String; 3]),
    ) -> Result<oci::Spec, Error> {
        let joined = spec::Joined {
            network: netns,
            ..spec::Joined::default()
        };
        let words = spec.cmd.clone().unwrap_or_default();
        let (path, args) = words
            .split_first()
            .ok_or_else(|| Error::Invalid("no command specified".to_owned()))?;
        let [resolv_conf, hostname, hosts] = files;
        spec::build(&SpecInput {
            spec,
            path,
            args,
            hostname: &spec.hostname,
            points: &[],
            files: Some(NetworkFiles {
                resolv_conf,
                hostname,
                hosts,
            }),
            account,
            joined: &joined,
            init: None,
            cgroups_path: self.step_cgroup(id, &spec.host.resources.cgroup_parent),
            ulimits: &self.config().ulimits,
            no_new_privileges: self.config().no_new_privileges,
            seccomp_profile: self.config().seccomp_profile.as_deref(),
            facts: &self.facts,
            users: self.config().users_of(&spec.host),
        })
    }

    fn step_cgroup(&self, id: &ContainerId, own: &str) -> String {
        let parent = if own.is_empty() {
            &self.config().cgroup_parent
        } else {
            own
        };
        match (self.config().systemd_cgroups, parent) {
            (true, "") => format!("system.slice:docker:{id}"),
            (true, parent) => format!("{parent}:docker:{id}"),
            (false, "") => format!("/docker/buildkit/{id}"),
            (false, parent) => format!("/{}/buildkit/{id}", parent.trim_matches('/')),
        }
    }

    /// Finds the user and makes the working directory.
    async fn step_account(&self, id: &ContainerId, spec: &ContainerSpec) -> Result<Account, Error> {
        let root = self.storage.open_rootfs(id).await.map_err(Error::Storage)?;
        let (user, directory) = (spec.user.clone(), spec.working_dir.clone());
        blocking(move || {
            let account = users::resolve(root.as_fd(), &user, &[])?;
            if !matches!(directory.as_str(), "" | "/") {
                users::make_directory(root.as_fd(), &directory, &users::root())?;
            }
            Ok(account)
        })
        .await
    }

    async fn step_files(
        &self,
        sandbox: &arca_networks::Sandbox,
        spec: &ContainerSpec,
        dir: PathBuf,
    ) -> Result<[String; 3], Error> {
        let wanted = FilesSpec {
            hostname: spec.hostname.clone(),
            domainname: spec.domainname.clone(),
            extra_hosts: spec.host.extra_hosts.clone().unwrap_or_default(),
            dns: crate::network::dns_settings(spec)?,
        };
        let made = self.networks.files(sandbox, &wanted).await?;
        blocking(move || {
            let paths = network_files(&dir);
            let contents = [made.resolv_conf, made.hostname, made.hosts];
            for (path, content) in paths.iter().zip(contents) {
                std::fs::write(path, content).map_err(Error::file("write", path))?;
            }
            Ok(paths.each_ref().map(|path| text(path)))
        })
        .await
    }
}

/// Never comes when it has come once.
async fn cancelled_once(cancel: &CancellationToken, before: bool) {
    if before {
        std::future::pending::<()>().await;
    }
    cancel.cancelled().await;
}

impl StepMount {
    /// With the owners of files that are arca's own shown as `ids` map them.
    fn into_oci(self, ids: Option<&IdMaps>) -> oci::Mount {
        let mut mount = oci::Mount {
            destination: self.destination,
            kind: self.kind,
            source: self.source,
            options: self.options,
            uid_mappings: Vec::new(),
            gid_mappings: Vec::new(),
        };
        if let Some(ids) = ids
            && mount.kind != "tmpfs"
        {
            mount.map_owners(ids);
        }
        mount
    }
}

fn sandbox_spec(
    id: &ContainerId,
    spec: &ContainerSpec,
    remapped: bool,
) -> Result<SandboxSpec, Error> {
    let network = &spec.host.network_mode;
    let mode = match network {
        NetworkMode::Host => SandboxMode::Host,
        NetworkMode::Container(_) => {
            let text = "a step of a build cannot use the network of a container";
            return Err(Error::Unsupported(text.to_owned()));
        }
        NetworkMode::Bridge | NetworkMode::None | NetworkMode::Named(_) => SandboxMode::Own,
    };
    Ok(SandboxSpec {
        name: id.short().to_owned(),
        hostname: spec.hostname.clone(),
        mode,
        endpoints: vec![EndpointSpec {
            network: network.to_string(),
            ..EndpointSpec::default()
        }],
        ports: Vec::new(),
        name_servers: crate::network::dns_settings(spec)?.servers,
        exposure: None,
        remapped,
    })
}
