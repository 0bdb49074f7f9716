//! The process has ended: what it held is given back, whoever waits is told, and what was to happen
//! then happens.

use std::sync::Arc;

use arca_runtime::ExitStatus;

use crate::actor::{Actor, AtEnd};
use crate::model::NetworkSettings;
use crate::record::Intent;
use crate::requests::{RemoveRequest, Stopped};
use crate::restart;
use crate::state::{Input, State};
use crate::timers::Timer;

impl Actor {
    /// Handles the end of the process; `reason` is set when it was not an orderly one.
    pub(crate) async fn ended(&mut self, status: ExitStatus, reason: Option<String>) {
        if self.c.state.process().is_none() && !matches!(self.c.state, State::Starting(_)) {
            tracing::debug!(container.id = %self.c.id, state = ?self.c.state, "an end is known already");
            return;
        }
        let duration = status.at.since(self.c.run.started_at);
        self.stop_probing();
        self.timers.cancel(Timer::Kill);
        self.timers.cancel(Timer::GiveUp);
        self.release().await;
        let run = &mut self.c.run;
        run.exit_code = status.code;
        run.finished_at = status.at;
        run.oom_killed |= status.oom_killed;
        run.error = reason.unwrap_or_default();
        let policy = self.c.spec.host.restart_policy;
        let again = !self.intent.restart
            && self.intent.remove.is_none()
            && restart::applies(policy, self.intent, status.code, self.c.restart_count);
        self.c.ends.count += 1;
        self.c.ends.exit_code = status.code;
        if again {
            self.c.restart_count += 1;
        }
        if again && self.intent.unhealthy {
            // Whatever ended it was not a client's wish.
            self.intent = Intent::default();
        }
        self.note(if again {
            Input::EndedToRestart
        } else {
            Input::Ended
        })
        .await;
        let attributes = [
            ("exitCode", status.code.to_string()),
            ("execDuration", duration.as_secs().to_string()),
        ];
        self.event_with("die", attributes).await;
        tracing::info!(container.id = %self.c.id, code = status.code, "ended");
        if again {
            self.timers
                .start(self.backoff.after(duration), Timer::Restart);
        }
        self.after_end().await;
    }

    /// Gives back what only a running container holds. What fails is logged, and the rest goes on.
    pub(crate) async fn release(&mut self) {
        let id = self.c.id.clone();
        let now = self.service.clock.now();
        let ended_execs = self.service.execs.container_ended(&id, now);
        self.service.forget_execs(&ended_execs).await;
        if let Err(error) = self.service.networks.detach(&id).await {
            let error = arca_types::chain(&error);
            tracing::warn!(container.id = %id, error, "the network is not given back");
        }
        if let Err(error) = self.service.runtime.remove(&id).await {
            let error = arca_types::chain(&error);
            tracing::warn!(container.id = %id, error, "the shim's directory is not removed");
        }
        self.unmount_volumes().await;
        self.service.images.set_running(&id, false);
        self.c.network = Arc::new(without_sandbox(&self.c.network));
    }

    /// Does what was waiting for the end.
    async fn after_end(&mut self) {
        let mut removal = None;
        let mut restarted = false;
        for at_end in std::mem::take(&mut self.at_end) {
            match at_end {
                AtEnd::Stopped(reply) => {
                    self.event("stop").await;
                    self.answer(reply, Ok(Stopped::Now));
                }
                AtEnd::Killed(reply) => self.answer(reply, Ok(())),
                AtEnd::Restart(reply) => {
                    self.event("stop").await;
                    restarted = true;
                    let started = self.start().await.map(|_started| ());
                    if started.is_ok() {
                        self.event("restart").await;
                    }
                    self.answer(reply, started);
                }
                AtEnd::Remove(request, reply) => removal = Some((request, reply)),
            }
        }
        if let Some((request, reply)) = removal {
            if matches!(self.c.state, State::Restarting) {
                self.call_off_restart().await;
            }
            let removed = self.take_apart(request).await;
            self.answer(reply, removed);
        } else if let Some(volumes) = self.intent.remove {
            self.quietly_take_apart(volumes).await;
        } else if self.intent.restart && !restarted {
            // The daemon that was asked for the restart is no more.
            if let Err(error) = self.start().await {
                let error = arca_types::chain(&error);
                tracing::warn!(container.id = %self.c.id, error, "not restarted");
            }
        } else if self.c.spec.host.auto_remove && matches!(self.c.state, State::Exited) {
            self.auto_remove().await;
        }
    }

    /// Removes the container because it was created so.
    pub(crate) async fn auto_remove(&mut self) {
        self.quietly_take_apart(true).await;
    }

    async fn quietly_take_apart(&mut self, volumes: bool) {
        let request = RemoveRequest {
            volumes,
            force: true,
            link: false,
        };
        if let Err(error) = self.take_apart(request).await {
            let error = arca_types::chain(&error);
            tracing::error!(container.id = %self.c.id, error, "not removed");
        }
    }
}

/// The network of a container that does not run: what was asked for.
pub(crate) fn without_sandbox(settings: &NetworkSettings) -> NetworkSettings {
    let networks = settings.networks.iter().map(|(name, endpoint)| {
        let endpoint = crate::model::Endpoint {
            request: endpoint.request.clone(),
            network_id: endpoint.network_id.clone(),
            dns_names: endpoint.dns_names.clone(),
            ..crate::model::Endpoint::default()
        };
        (name.clone(), endpoint)
    });
    NetworkSettings {
        networks: networks.collect(),
        ..NetworkSettings::default()
    }
}
