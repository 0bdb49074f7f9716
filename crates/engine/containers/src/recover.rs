//! After a start of the daemon: what runs is adopted, what was begun is finished or taken back.
//!
//! `docs/design/containers.md` has the table.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arca_runtime::{AdoptedState, ExecExit, ExitStatus, Happening};
use arca_types::{ContainerId, ExecId, Signal, Timestamp};
use tokio::sync::{mpsc, oneshot};

use crate::Error;
use crate::actor::{Actor, Command};
use crate::exec_record::ExecRecord;
use crate::execs::Progress;
use crate::health;
use crate::index::Handle;
use crate::model::MountType;
use crate::record::ContainerRecord;
use crate::restart;
use crate::service::Containers;
use crate::start::blocking;
use crate::state::{Input, Process, State};
use crate::timers::Timer;

/// The exit code of a container whose end nobody saw.
const UNKNOWN: i32 = 255;

/// What the runtime found of a container.
#[derive(Debug, Clone)]
pub(crate) enum Found {
    /// It runs.
    Live {
        pid: u32,
        at: Timestamp,
        paused: bool,
        oom_killed: bool,
    },
    /// It has ended.
    Ended(ExitStatus),
    /// Its shim is gone.
    Lost { reason: String, status: ExitStatus },
    /// Nothing.
    Nothing,
}

impl Containers {
    /// Brings all containers back, once, before anything else is asked of the service. `rebooted` says
    /// that the host was started since: nothing can be running.
    ///
    /// # Errors
    /// [`Error::Store`] when the records cannot be read; [`Error::Runtime`] when the shims cannot be
    /// listed; [`Error::Network`].
    pub async fn recover(&self, rebooted: bool) -> Result<(), Error> {
        let service = self.service();
        let store = service.store.clone();
        let records = blocking(move || {
            store
                .table::<ContainerRecord>()
                .load_all()
                .map_err(Error::Store)
        })
        .await?;
        let events = service.runtime.subscribe();
        let mut noted = service.noted_execs().await?;
        let mut found = self.adopt_shims(rebooted, &mut noted).await?;
        let mut handles = Vec::with_capacity(records.len());
        for (_key, record) in records {
            handles.push(self.bring_back(record));
        }
        self.sweep(&handles, &mut found).await;
        service.sweep_volumes().await?;
        // What is left of them has ended.
        let ended: Vec<ExecId> = noted.keys().filter_map(|id| id.parse().ok()).collect();
        service.forget_execs(&ended).await;
        let live: Vec<ContainerId> = found
            .iter()
            .filter(|(_, found)| matches!(found, Found::Live { .. }))
            .map(|(id, _)| id.clone())
            .collect();
        service.networks.recover(&live).await.map_err(Error::from)?;
        let mut recoveries = Vec::with_capacity(handles.len());
        for handle in &handles {
            let found = found.remove(&handle.id).unwrap_or(Found::Nothing);
            let (done, recovered) = oneshot::channel();
            if handle
                .commands
                .send(Command::Recover(found, done))
                .await
                .is_ok()
            {
                recoveries.push(recovered);
            }
        }
        service.tasks.spawn(dispatch(self.clone(), events));
        for recovered in recoveries {
            if recovered.await.is_err() {
                tracing::debug!("a container went while it was recovered");
            }
        }
        if let Err(error) = service.volumes.reconcile().await {
            let error = arca_types::chain(&error);
            tracing::warn!(error, "mounts of volumes that a crash left stay");
        }
        Ok(())
    }

    /// Takes over the shims, and their exec sessions.
    async fn adopt_shims(
        &self,
        rebooted: bool,
        noted: &mut HashMap<String, ExecRecord>,
    ) -> Result<HashMap<ContainerId, Found>, Error> {
        let service = self.service();
        let mut found = HashMap::new();
        for adopted in service
            .runtime
            .adopt(rebooted)
            .await
            .map_err(Error::Runtime)?
        {
            let id = adopted.id;
            let state = match adopted.state {
                AdoptedState::Live {
                    pid,
                    at,
                    paused,
                    oom_killed,
                    execs,
                    ended_execs,
                } => {
                    for (exec, pid) in execs {
                        let note = noted.remove(exec.as_str());
                        if health::is_probe(&exec, &id) {
                            self.end_probe(&id, &exec).await;
                        }
                        let progress = Progress::Running {
                            pid: pid.unsigned_abs(),
                            since: note.as_ref().map_or(at, |note| note.since),
                        };
                        let request = note.map(|note| note.request).unwrap_or_default();
                        service.execs.adopt(exec, id.clone(), request, progress);
                    }
                    self.adopt_ended(&id, ended_execs, noted);
                    Found::Live {
                        pid: pid.unsigned_abs(),
                        at,
                        paused,
                        oom_killed,
                    }
                }
                AdoptedState::Ended { status, execs } => {
                    self.adopt_ended(&id, execs, noted);
                    Found::Ended(status)
                }
                AdoptedState::Lost { .. } if rebooted => Found::Nothing,
                AdoptedState::Lost { reason, status } => Found::Lost { reason, status },
            };
            found.insert(id, state);
        }
        Ok(found)
    }

    /// Ends a probe that an earlier daemon has begun: nobody would see how it ends, nor when it takes
    /// too long.
    async fn end_probe(&self, id: &ContainerId, exec: &ExecId) {
        let runtime = &self.service().runtime;
        if let Err(error) = runtime.kill(id, Some(exec), Signal::KILL).await {
            tracing::debug!(exec.id = %exec, %error, "a probe cannot be killed");
        }
    }

    fn adopt_ended(
        &self,
        id: &ContainerId,
        execs: Vec<ExecExit>,
        noted: &HashMap<String, ExecRecord>,
    ) {
        for ExecExit { exec, status } in execs {
            let progress = Progress::Ended {
                code: status.code,
                pid: 0,
                at: status.at,
            };
            let request = noted.get(exec.as_str()).map(|note| note.request.clone());
            let request = request.unwrap_or_default();
            self.service()
                .execs
                .adopt(exec, id.clone(), request, progress);
        }
    }

    /// Makes a container known again, with what it holds.
    fn bring_back(&self, record: ContainerRecord) -> Arc<Handle> {
        let service = self.service();
        let (id, intent) = (record.id.clone(), record.intent);
        if let Err(error) = service.index.reserve(&record.name, &id) {
            tracing::error!(container.id = %id, %error, "two containers of one name");
        }
        if let Err(error) = service.images.acquire(&record.image, &id) {
            tracing::error!(container.id = %id, %error, "the image is not there");
        }
        for point in record
            .mounts
            .iter()
            .filter(|point| point.kind == MountType::Volume)
        {
            if let Err(error) = service.volumes.acquire(&point.name, &id) {
                tracing::error!(container.id = %id, %error, "a volume is not there");
            }
        }
        let driver = service.driver_name();
        let container = record.into_container(&service.containers_dir(), driver);
        service.adopt(container, intent)
    }
}

/// Brings what happens to whom it happens to.
async fn dispatch(containers: Containers, mut events: mpsc::Receiver<arca_runtime::Event>) {
    let service = containers.service();
    loop {
        let event = tokio::select! {
            () = service.closing.cancelled() => return,
            event = events.recv() => event,
        };
        let Some(event) = event else { return };
        if let Happening::ExecExited(exit) = event.what {
            containers.exec_ended(&event.id, exit).await;
        } else if let Some(handle) = service.index.get(&event.id)
            && handle
                .commands
                .send(Command::Happened(event.what))
                .await
                .is_err()
        {
            tracing::debug!("the container is gone");
        }
    }
}

impl Actor {
    /// Finishes what an earlier daemon had begun, or takes it back.
    pub(crate) async fn recover(&mut self, found: Found) {
        match (self.c.state, found) {
            (State::Removing | State::Dead, _) if self.intent.remove.is_some() => {
                self.c.state = State::Dead;
                self.finish_removal().await;
            }
            (
                _,
                Found::Live {
                    pid,
                    at,
                    paused,
                    oom_killed,
                },
            ) => {
                self.c.run.oom_killed |= oom_killed;
                self.adopt_live(Process { pid }, at, paused).await;
            }
            (State::Starting(_) | State::Running(_) | State::Paused(_), Found::Ended(status)) => {
                self.saw_start(status.at);
                self.ended(status, None).await;
            }
            (State::Running(_) | State::Paused(_), Found::Lost { reason, status }) => {
                let reason = format!("the container's shim was lost: {reason}");
                self.ended(status, Some(reason)).await;
            }
            (State::Running(_) | State::Paused(_), Found::Nothing) => {
                let at = self.service.clock.now();
                let status = ExitStatus {
                    code: UNKNOWN,
                    signal: None,
                    oom_killed: false,
                    at,
                };
                self.ended(status, None).await;
            }
            (State::Starting(_), _) => {
                self.release().await;
                self.note(Input::StartFailed).await;
                if self.c.spec.host.auto_remove {
                    self.timers.start(Duration::ZERO, Timer::AutoRemove);
                }
            }
            (State::Restarting, _) => self.timers.start(Duration::ZERO, Timer::Restart),
            (_, Found::Ended(_) | Found::Lost { .. }) => self.release().await,
            (_, Found::Nothing) => {}
        }
        self.start_at_boot();
    }

    /// A process runs: so does the container, whatever its record says.
    async fn adopt_live(&mut self, process: Process, at: Timestamp, paused: bool) {
        if self.c.state.process().is_none() {
            self.c.run.exit_code = 0;
            self.c.run.error.clear();
            if let Some(sandbox) = self.service.networks.sandbox(&self.c.id) {
                self.c.network = Arc::new(self.network_settings(&sandbox));
            }
        }
        self.c.run.started_at = at;
        self.c.state = if paused {
            State::Paused(process)
        } else {
            State::Running(process)
        };
        if self.c.health.is_none() {
            self.reset_health();
        }
        for point in self
            .c
            .mounts
            .iter()
            .filter(|point| point.kind == MountType::Volume)
        {
            self.service.volumes.adopt(&point.name, &self.c.id).await;
        }
        self.service.images.set_running(&self.c.id, true);
        self.save_quietly().await;
        if !paused {
            self.resume_probing();
        }
        tracing::info!(container.id = %self.c.id, pid = process.pid, "adopted");
        if let Some(volumes) = self.intent.remove {
            tracing::info!(container.id = %self.c.id, volumes, "its removal goes on");
            if let Err(error) = self.send_signal(Signal::KILL).await {
                let error = arca_types::chain(&error);
                tracing::warn!(container.id = %self.c.id, error, "cannot kill");
            }
            self.timers.start(crate::stop::DEATH, Timer::GiveUp);
        }
    }

    /// It must have been started before it ended.
    fn saw_start(&mut self, at: Timestamp) {
        if matches!(self.c.state, State::Starting(_)) {
            self.c.run.started_at = at;
        }
    }

    async fn finish_removal(&mut self) {
        let volumes = self.intent.remove.unwrap_or_default();
        let request = crate::requests::RemoveRequest {
            volumes,
            force: true,
            link: false,
        };
        if let Err(error) = self.take_apart(request).await {
            let error = arca_types::chain(&error);
            tracing::error!(container.id = %self.c.id, error, "not removed");
        }
    }

    /// Containers that are to run are started, those that are to go are removed: by a timer, so that
    /// nobody waits for it.
    fn start_at_boot(&mut self) {
        if self.gone || !matches!(self.c.state, State::Exited) {
            return;
        }
        let policy = self.c.spec.host.restart_policy;
        let code = self.c.run.exit_code;
        if restart::at_boot(policy, self.intent, code, self.c.restart_count) {
            self.timers.start(Duration::ZERO, Timer::Boot);
        } else if self.c.spec.host.auto_remove {
            self.timers.start(Duration::ZERO, Timer::AutoRemove);
        }
    }
}
