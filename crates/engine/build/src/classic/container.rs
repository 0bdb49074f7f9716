//! `RUN`, and the containers of instructions.

use std::os::fd::OwnedFd;

use arca_containers::model::{
    ContainerSpec, HealthTest, Healthcheck, HostSpec, Resources, Streams,
};
use arca_containers::{
    AttachRequest, CreateRequest, RemoveRequest, StepOutput, Ulimit, WaitCondition, read_frames,
};
use arca_dockerfile::{Run, RunNetwork, RunSecurity};
use arca_types::ContainerId;
use tokio::net::UnixStream;
use tokio::sync::mpsc;

use super::instruction::requires_buildkit;
use super::stage::Build;
use crate::Error;

impl Build {
    pub(super) async fn run_command(&mut self, run: &Run) -> Result<(), Error> {
        if !run.mounts.is_empty() {
            return Err(requires_buildkit("mount"));
        }
        if run.network != RunNetwork::Default {
            return Err(requires_buildkit("network"));
        }
        if run.security != RunSecurity::Sandbox {
            return Err(requires_buildkit("security"));
        }
        let command = self.words(&run.command);
        let env = self.state.run.env.clone().unwrap_or_default();
        let values = self.args.beside(&env);
        let saved = self.args.prefix(&values, &command);
        let key = self.key(&self.state.run, &saved);
        if self.take_cached(&key, &saved).await? {
            return Ok(());
        }
        let mut all = env;
        all.extend(values);
        let id = self.create(&command, all).await?;
        self.run_to_end(&id, &command).await?;
        let lease = self.builder.0.storage().lease();
        let containers = &self.builder.0.backends.containers;
        let layer = containers.written_layer(id.as_str(), &lease).await;
        let layer = layer.map_err(|error| Error::Containers(Box::new(error)))?;
        let made = self
            .finish(&saved, layer.map(|layer| layer.diff_id))
            .await?;
        drop(lease);
        self.remember(&key, &made).await
    }

    /// Makes the container of an instruction.
    async fn create(&mut self, command: &[String], env: Vec<String>) -> Result<ContainerId, Error> {
        let Some(image) = &self.state.image else {
            let program = command.first().map_or("", String::as_str);
            return Err(Error::Failed(format!(
                "failed to create task for container: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: error during container init: exec: {program:?}: stat {program}: no such file or directory"
            )));
        };
        let failed = |error| Error::Containers(Box::new(error));
        let hosts = self.request.extra_hosts.clone();
        let spec = ContainerSpec {
            image: image.id.to_string(),
            user: self.state.run.user.clone(),
            env,
            cmd: Some(command.to_vec()),
            entrypoint: Some(Vec::new()),
            working_dir: self.state.run.working_dir.clone(),
            attach: Streams {
                stdin: false,
                stdout: true,
                stderr: true,
            },
            healthcheck: Some(Healthcheck {
                test: HealthTest::None,
                ..Healthcheck::default()
            }),
            host: HostSpec {
                network_mode: self.request.network_mode.parse().map_err(failed)?,
                extra_hosts: (!hosts.is_empty()).then_some(hosts),
                isolation: self.request.isolation.clone(),
                shm_size: self.request.limits.shm_size,
                resources: self.resources(),
                ..HostSpec::default()
            },
            ..ContainerSpec::default()
        };
        let request = CreateRequest {
            name: None,
            spec,
            platform: None,
        };
        let containers = &self.builder.0.backends.containers;
        let created = containers.create(request).await.map_err(failed)?;
        self.containers.push(created.id.clone());
        self.last_container = Some(created.id.to_string());
        let line = format!(" ---> Running in {}\n", created.id.short());
        self.line(line).await;
        Ok(created.id)
    }

    fn resources(&self) -> Resources {
        let limits = &self.request.limits;
        let ulimits: Vec<Ulimit> = limits
            .ulimits
            .iter()
            .map(|limit| Ulimit {
                name: limit.name.clone(),
                soft: limit.soft,
                hard: limit.hard,
            })
            .collect();
        Resources {
            memory: limits.memory,
            memory_swap: limits.memory_swap,
            cpu_shares: limits.cpu_shares,
            cpu_period: limits.cpu_period,
            cpu_quota: limits.cpu_quota,
            cpuset_cpus: limits.cpuset_cpus.clone(),
            cpuset_mems: limits.cpuset_mems.clone(),
            cgroup_parent: limits.cgroup_parent.clone(),
            ulimits: (!ulimits.is_empty()).then_some(ulimits),
            ..Resources::default()
        }
    }

    /// Shows the container that an instruction has although nothing runs: only who keeps containers gets
    /// to see more of it than its ID.
    pub(super) async fn show_container(&mut self, command: &[String]) -> Result<(), Error> {
        let keeps = !self.request.remove && !self.request.force_remove;
        if keeps && self.state.image.is_some() {
            let env = self.state.run.env.clone().unwrap_or_default();
            self.create(command, env).await?;
            return Ok(());
        }
        let id = ContainerId::random();
        self.line(format!(" ---> Running in {}\n", id.short()))
            .await;
        let line = format!(" ---> Removed intermediate container {}\n", id.short());
        self.last_container = Some(id.to_string());
        self.line(line).await;
        Ok(())
    }

    /// Runs a container and passes its output on.
    async fn run_to_end(&mut self, id: &ContainerId, command: &[String]) -> Result<(), Error> {
        let failed = |error| Error::Containers(Box::new(error));
        let containers = self.builder.0.backends.containers.clone();
        let request = AttachRequest {
            streams: Streams {
                stdin: false,
                stdout: true,
                stderr: true,
            },
            stream: true,
            ..AttachRequest::default()
        };
        let attachment = containers
            .attach(id.as_str(), request)
            .await
            .map_err(failed)?;
        let (theirs, ours) = pair()?;
        let (output, mut pieces) = mpsc::channel(16);
        let reading = tokio::spawn(read_frames(ours, output));
        let attached = tokio::spawn(async move { attachment.connect(theirs, Vec::new()).await });
        let waiting = containers
            .wait(id.as_str(), WaitCondition::NextExit)
            .map_err(failed)?;
        if let Err(error) = containers.start(id.as_str()).await {
            attached.abort();
            reading.abort();
            return Err(failed(error));
        }
        while let Some(piece) = pieces.recv().await {
            self.output(piece).await;
        }
        let ended = waiting.outcome().await;
        if ended.exit_code == 0 {
            return Ok(());
        }
        Err(Error::Command {
            command: command.join(" "),
            code: ended.exit_code,
        })
    }

    /// Standard error is red.
    async fn output(&self, piece: StepOutput) {
        let text = String::from_utf8_lossy(&piece.data);
        if piece.stream == 2 {
            self.line(format!("\u{1b}[91m{text}\u{1b}[0m")).await;
        } else {
            self.line(text.into_owned()).await;
        }
    }

    /// Removes the containers of the present instruction.
    pub(super) async fn remove_all(&mut self) {
        for id in std::mem::take(&mut self.containers) {
            remove(&self.builder.0.backends.containers, &id).await;
            let line = format!(" ---> Removed intermediate container {}\n", id.short());
            self.line(line).await;
        }
    }

    /// The build is over: what is asked to stay stays.
    pub(super) async fn remove_containers(&mut self, succeeded: bool) {
        if self.request.force_remove || (self.request.remove && succeeded) {
            self.remove_all().await;
        }
        self.containers.clear();
    }
}

async fn remove(containers: &arca_containers::Containers, id: &ContainerId) {
    let request = RemoveRequest {
        volumes: true,
        force: true,
        link: false,
    };
    if let Err(error) = containers.remove(id.as_str(), request).await {
        tracing::warn!(container.id = %id, %error, "a container of a build is not removed");
    }
}

/// A build that is given up leaves no container that runs.
impl Drop for Build {
    fn drop(&mut self) {
        let ids = std::mem::take(&mut self.containers);
        if ids.is_empty() {
            return;
        }
        let service = self.builder.0.clone();
        let tasks = service.tasks.clone();
        tasks.spawn(async move {
            for id in ids {
                remove(&service.backends.containers, &id).await;
            }
        });
    }
}

/// Both ends of the connection that output comes by.
fn pair() -> Result<(OwnedFd, UnixStream), Error> {
    let failed = |error| Error::Failed(format!("cannot make a socket: {error}"));
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().map_err(failed)?;
    ours.set_nonblocking(true).map_err(failed)?;
    let reader = UnixStream::from_std(ours).map_err(failed)?;
    Ok((OwnedFd::from(theirs), reader))
}
