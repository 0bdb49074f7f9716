//! When a container that ended is started again, and how long that waits; `ContainerRestart`.

use std::time::Duration;

use crate::Error;
use crate::actor::{Actor, AtEnd, Command, Reply};
use crate::model::{RestartKind, RestartPolicy};
use crate::record::Intent;
use crate::requests::StopRequest;
use crate::service::Containers;
use crate::state::State;
use crate::stop::StopOrder;

/// The delay before the first restart; each further one doubles it.
const FIRST: Duration = Duration::from_millis(100);
/// The longest delay.
const LONGEST: Duration = Duration::from_secs(60);
/// A run of this length makes the next delay the first again.
const GOOD_RUN: Duration = Duration::from_secs(10);

/// Whether the restart policy applies to an end.
pub(crate) fn applies(policy: RestartPolicy, intent: Intent, exit_code: i32, count: u32) -> bool {
    if intent.unhealthy {
        return true;
    }
    if intent.no_restart {
        return false;
    }
    match policy.kind {
        RestartKind::No => false,
        RestartKind::Always => true,
        RestartKind::UnlessStopped => !intent.stopped_by_client,
        RestartKind::OnFailure => {
            let most = u32::try_from(policy.maximum_retry_count).unwrap_or_default();
            exit_code != 0 && (most == 0 || count < most)
        }
    }
}

/// Whether the daemon starts a container when it starts itself.
pub(crate) fn at_boot(policy: RestartPolicy, intent: Intent, exit_code: i32, count: u32) -> bool {
    if policy.kind == RestartKind::OnFailure && intent.stopped_by_client {
        return false;
    }
    let intent = Intent {
        no_restart: false,
        ..intent
    };
    applies(policy, intent, exit_code, count)
}

/// The delay before a restart.
#[derive(Debug, Default)]
pub(crate) struct Backoff(Option<Duration>);

impl Backoff {
    /// The delay after a run of this length.
    pub(crate) fn after(&mut self, run: Duration) -> Duration {
        let delay = match self.0 {
            Some(last) if run < GOOD_RUN => (last * 2).min(LONGEST),
            _ => FIRST,
        };
        self.0 = Some(delay);
        delay
    }

    /// Begins anew.
    pub(crate) fn reset(&mut self) {
        self.0 = None;
    }
}

impl Containers {
    /// Stops a container if it runs, and starts it (`ContainerRestart`).
    ///
    /// # Errors
    /// [`Error::NotFound`]; whatever stopping or starting it gives.
    pub async fn restart(&self, id: &str, request: StopRequest) -> Result<(), Error> {
        let handle = self.service().index.find(id)?;
        let done = async {
            let runs = handle.snapshot().state.process().is_some();
            // What does not run is only started: nobody looks at the signal.
            let request = if runs {
                request
            } else {
                StopRequest::default()
            };
            let order = StopOrder::new(&request).map_err(Error::into_failure)?;
            let _alone = match runs {
                true => None,
                false => Some(handle.files.write().await),
            };
            self.ask(&handle, |reply| Command::Restart(order, reply))
                .await
        };
        done.await
            .map_err(|cause| Error::context(format!("Cannot restart container {id}"), cause))
    }
}

impl Actor {
    /// Stops and starts, or only starts.
    pub(crate) async fn restart(&mut self, order: StopOrder, reply: Reply<()>) {
        if matches!(self.c.state, State::Restarting) {
            self.call_off_restart().await;
        }
        if self.c.state.process().is_none() {
            let started = self.start().await.map(|_started| ());
            if started.is_ok() {
                self.event("restart").await;
            }
            return self.answer(reply, started);
        }
        self.intent.restart = true;
        match self.begin_stop(order).await {
            Ok(()) => self.at_end.push(AtEnd::Restart(reply)),
            Err(error) => {
                self.intent.restart = false;
                self.save_quietly().await;
                self.answer(reply, Err(error));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(kind: RestartKind, maximum_retry_count: i32) -> RestartPolicy {
        RestartPolicy {
            kind,
            maximum_retry_count,
        }
    }

    #[test]
    fn policies_are_dockers() {
        let none = Intent::default();
        let stopped = Intent {
            stopped_by_client: true,
            ..none
        };
        let killed = Intent {
            no_restart: true,
            stopped_by_client: true,
            ..none
        };
        let unhealthy = Intent {
            unhealthy: true,
            ..killed
        };
        let cases = [
            (policy(RestartKind::No, 0), none, 1, 0, false),
            (policy(RestartKind::Always, 0), none, 0, 99, true),
            (policy(RestartKind::Always, 0), stopped, 0, 0, true),
            (policy(RestartKind::Always, 0), killed, 0, 0, false),
            (policy(RestartKind::No, 0), unhealthy, 137, 5, true),
            (policy(RestartKind::UnlessStopped, 0), none, 0, 0, true),
            (policy(RestartKind::UnlessStopped, 0), stopped, 0, 0, false),
            (policy(RestartKind::OnFailure, 0), none, 0, 0, false),
            (policy(RestartKind::OnFailure, 0), none, 3, 99, true),
            (policy(RestartKind::OnFailure, 2), none, 3, 1, true),
            (policy(RestartKind::OnFailure, 2), none, 3, 2, false),
        ];
        for (policy, intent, code, count, expected) in cases {
            assert_eq!(
                applies(policy, intent, code, count),
                expected,
                "{policy:?} {intent:?} {code}"
            );
        }
    }

    #[test]
    fn at_boot_always_starts_what_was_stopped_and_unless_stopped_does_not() {
        let killed = Intent {
            no_restart: true,
            stopped_by_client: true,
            ..Intent::default()
        };
        assert!(at_boot(policy(RestartKind::Always, 0), killed, 0, 0));
        assert!(!at_boot(
            policy(RestartKind::UnlessStopped, 0),
            killed,
            0,
            0
        ));
    }

    #[test]
    fn delays_double_up_to_a_minute_and_a_good_run_resets_them() {
        let mut backoff = Backoff::default();
        let short = Duration::from_secs(1);
        let delays: Vec<u128> = (0..12).map(|_| backoff.after(short).as_millis()).collect();
        assert_eq!(delays[..4], [100, 200, 400, 800]);
        assert_eq!(delays[11], 60_000);
        assert_eq!(backoff.after(Duration::from_secs(10)), FIRST);
    }
}
