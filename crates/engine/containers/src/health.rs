//! Health: probes a running container by further processes, and judges the results.

use std::collections::BTreeMap;
use std::os::unix::net::UnixStream as StdStream;
use std::sync::Arc;
use std::time::Duration;

use arca_runtime::{AttachSpec, Client};
use arca_types::{ContainerId, ExecId, Signal, Timestamp};
use tokio::io::AsyncReadExt as _;
use tokio::net::UnixStream;
use tokio::sync::oneshot;
use tokio_util::task::AbortOnDropHandle;

use crate::Error;
use crate::actor::{Actor, Command};
use crate::container::Container;
use crate::execs::Exec;
use crate::index::Handle;
use crate::model::{Health, HealthStatus, HealthTest, Healthcheck, ProbeResult, Streams};
use crate::record::Intent;
use crate::requests::{ExecRequest, ExecStartRequest, StopRequest};
use crate::service::{Containers, Service};
use crate::state::State;
use crate::stop::StopOrder;

const INTERVAL: Duration = Duration::from_secs(30);
const TIMEOUT: Duration = Duration::from_secs(30);
const START_INTERVAL: Duration = Duration::from_secs(5);
const RETRIES: u32 = 3;
/// The label by which a container is restarted when it is unhealthy, or not.
const RESTART_LABEL: &str = "arca.restart-on-unhealthy";
/// Results that are kept.
const LOG: usize = 5;
/// Bytes of a probe's output that are kept.
const OUTPUT: usize = 4096;

/// The health check of a container with its defaults filled in; `None` when it is not probed.
fn effective(spec: Option<&Healthcheck>) -> Option<Healthcheck> {
    let check = spec.filter(|c| !matches!(c.test, HealthTest::None | HealthTest::Inherit))?;
    let or = |own: Duration, default| if own.is_zero() { default } else { own };
    Some(Healthcheck {
        test: check.test.clone(),
        interval: or(check.interval, INTERVAL),
        timeout: or(check.timeout, TIMEOUT),
        start_period: check.start_period,
        start_interval: or(check.start_interval, START_INTERVAL),
        retries: if check.retries == 0 {
            RETRIES
        } else {
            check.retries
        },
    })
}

/// The health after a probe.
fn judge(mut health: Health, result: ProbeResult, check: &Healthcheck, since: Timestamp) -> Health {
    if result.exit_code == 0 {
        health.status = HealthStatus::Healthy;
        health.failing_streak = 0;
    } else {
        let starting = health.status == HealthStatus::Starting
            && result.start.since(since) < check.start_period;
        if !starting {
            health.failing_streak += 1;
            if health.failing_streak >= check.retries {
                health.status = HealthStatus::Unhealthy;
            }
        }
    }
    health.log.push(result);
    if health.log.len() > LOG {
        health.log.remove(0);
    }
    health
}

/// The delay before the next probe.
fn delay(container: &Container, check: &Healthcheck, now: Timestamp) -> Duration {
    let starting = container
        .health
        .as_ref()
        .is_some_and(|health| health.status == HealthStatus::Starting);
    let in_start_period = now.since(container.run.started_at) < check.start_period;
    if starting && in_start_period {
        check.start_interval
    } else {
        check.interval
    }
}

impl Actor {
    /// Nothing is known of a new run; the results of the last are kept. [`Actor::resume_probing`] follows
    /// when that is published, which the prober looks at.
    pub(crate) fn reset_health(&mut self) {
        self.prober = None;
        let before = self.c.health.take();
        if effective(self.c.spec.healthcheck.as_ref()).is_none() {
            return;
        }
        self.c.health = Some(Arc::new(Health {
            status: HealthStatus::Starting,
            failing_streak: 0,
            log: before.map(|health| health.log.clone()).unwrap_or_default(),
        }));
    }

    /// The run is over: nothing is healthy that does not run.
    pub(crate) fn stop_probing(&mut self) {
        self.prober = None;
        if let Some(health) = &self.c.health {
            let mut health = Health::clone(health);
            health.status = HealthStatus::Unhealthy;
            self.c.health = Some(Arc::new(health));
        }
    }

    /// Goes on probing.
    pub(crate) fn resume_probing(&mut self) {
        let Some(check) = effective(self.c.spec.healthcheck.as_ref()) else {
            return;
        };
        let Some(handle) = self.service.index.get(&self.c.id) else {
            return;
        };
        let service = Arc::clone(&self.service);
        let task = probe_again_and_again(service, handle, check, self.next_probe());
        let task = tokio::spawn(task);
        self.prober = Some(AbortOnDropHandle::new(task));
    }

    /// The delay before the next probe. The actor tells it: what is published is older.
    pub(crate) fn next_probe(&self) -> Duration {
        let check = effective(self.c.spec.healthcheck.as_ref());
        check.map_or(INTERVAL, |check| {
            delay(&self.c, &check, self.service.clock.now())
        })
    }

    /// Takes a result.
    pub(crate) async fn probed(&mut self, result: ProbeResult) {
        let (Some(health), State::Running(_)) = (&self.c.health, self.c.state) else {
            return;
        };
        let Some(check) = effective(self.c.spec.healthcheck.as_ref()) else {
            return;
        };
        let before = health.status;
        let after = judge(Health::clone(health), result, &check, self.c.run.started_at);
        let status = after.status;
        self.c.health = Some(Arc::new(after));
        if status == before {
            // Nothing that has to survive: the log of probes is only published.
            self.publish();
        } else {
            self.save_quietly().await;
            self.event(&format!("health_status: {}", status.as_str()))
                .await;
            if status == HealthStatus::Unhealthy && self.restarts_unhealthy() {
                self.restart_unhealthy().await;
            }
        }
    }

    /// Whether an unhealthy container is to be started anew.
    fn restarts_unhealthy(&self) -> bool {
        match self.c.spec.labels.get(RESTART_LABEL) {
            Some(value) => value == "true",
            None => self.service.config().restart_unhealthy,
        }
    }

    /// Stops the container; the restart policy starts it again, whichever it is.
    async fn restart_unhealthy(&mut self) {
        tracing::info!(container.id = %self.c.id, "unhealthy: to be restarted");
        let before = self.intent;
        let stopping = match StopOrder::new(&StopRequest::default()) {
            Ok(order) => self.begin_stop(order).await,
            Err(error) => Err(error),
        };
        if let Err(error) = stopping {
            let error = arca_types::chain(&error);
            tracing::warn!(container.id = %self.c.id, error, "not stopped");
        }
        // No client has stopped it.
        self.intent = Intent {
            unhealthy: true,
            ..before
        };
        self.save_quietly().await;
    }
}

/// Checks the label that asks for a restart when unhealthy.
///
/// # Errors
/// [`Error::Invalid`] when it is neither `true` nor `false`.
pub(crate) fn check_label(labels: &BTreeMap<String, String>) -> Result<(), Error> {
    match labels.get(RESTART_LABEL).map(String::as_str) {
        None | Some("true" | "false") => Ok(()),
        Some(other) => Err(Error::Invalid(format!(
            "invalid value of label {RESTART_LABEL}: {other:?}: must be true or false"
        ))),
    }
}

/// A session's ID that ends as its container's does: a later daemon knows by it that nobody waits for
/// the session any more.
fn probe_id(container: &ContainerId) -> ExecId {
    let random = ExecId::random();
    let half =
        |id: &str, range: std::ops::Range<usize>| id.get(range).unwrap_or_default().to_owned();
    let id = half(random.as_str(), 0..32) + &half(container.as_str(), 32..64);
    id.parse().unwrap_or(random)
}

/// Is this session a probe of the container?
pub(crate) fn is_probe(exec: &ExecId, container: &ContainerId) -> bool {
    exec.as_str().get(32..) == container.as_str().get(32..)
}

async fn probe_again_and_again(
    service: Arc<Service>,
    handle: Arc<Handle>,
    check: Healthcheck,
    mut wait: Duration,
) {
    loop {
        tokio::time::sleep(wait).await;
        let result = probe(&service, &handle.snapshot(), &check).await;
        let (reply, next) = oneshot::channel();
        let told = handle.commands.send(Command::Probed(result, reply)).await;
        match (told, next.await) {
            (Ok(()), Ok(next)) => wait = next,
            _ended => return,
        }
    }
}

async fn probe(
    service: &Arc<Service>,
    container: &Arc<Container>,
    check: &Healthcheck,
) -> ProbeResult {
    let start = service.clock.now();
    let containers = Containers::of(Arc::clone(service));
    let mut output = Vec::new();
    let outcome = run(&containers, container, check, &mut output).await;
    let mut text = String::from_utf8_lossy(&output).into_owned();
    let exit_code = match outcome {
        Ok(Some(code)) => code,
        Ok(None) => {
            let timeout = arca_types::go_duration(check.timeout);
            let colon = if text.is_empty() { "" } else { ": " };
            text = format!("Health check exceeded timeout ({timeout}){colon}{text}");
            -1
        }
        Err(error) => {
            text = arca_types::chain(&error);
            -1
        }
    };
    ProbeResult {
        start,
        end: service.clock.now(),
        exit_code,
        output: text,
    }
}

/// Runs a probe; the exit code, or `None` when it takes too long.
async fn run(
    containers: &Containers,
    container: &Arc<Container>,
    check: &Healthcheck,
    output: &mut Vec<u8>,
) -> Result<Option<i32>, Error> {
    let request = ExecRequest {
        cmd: command(container, check),
        streams: Streams {
            stdin: false,
            stdout: true,
            stderr: true,
        },
        ..ExecRequest::default()
    };
    let id = probe_id(&container.id);
    let exec = containers.add_exec(container, id, request).await;
    let session = containers.exec_start(exec.id.as_str(), ExecStartRequest::default())?;
    let (ours, theirs) = StdStream::pair().map_err(Error::file("make", "a socket"))?;
    ours.set_nonblocking(true)
        .map_err(Error::file("set up", "a socket"))?;
    let ours = UnixStream::from_std(ours).map_err(Error::file("set up", "a socket"))?;
    let spec = AttachSpec {
        stdout: true,
        stderr: true,
        ..AttachSpec::default()
    };
    let client = Client {
        spec,
        socket: theirs.into(),
    };
    let work = async {
        session.run(Some(client)).await?;
        read(ours, output).await;
        Ok(exec.ended().await)
    };
    match tokio::time::timeout(check.timeout, work).await {
        Ok(code) => code.map(Some),
        Err(_elapsed) => {
            give_up(containers, &exec).await;
            Ok(None)
        }
    }
}

fn command(container: &Container, check: &Healthcheck) -> Vec<String> {
    match &check.test {
        HealthTest::Command(words) => words.clone(),
        HealthTest::Shell(line) => {
            let shell = container
                .spec
                .shell
                .clone()
                .filter(|shell| !shell.is_empty());
            let mut words = shell.unwrap_or_else(|| vec!["/bin/sh".to_owned(), "-c".to_owned()]);
            words.push(line.clone());
            words
        }
        HealthTest::Inherit | HealthTest::None => Vec::new(),
    }
}

/// Reads all output, and keeps its beginning.
async fn read(mut from: UnixStream, output: &mut Vec<u8>) {
    let mut buffer = [0_u8; 4096];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        let room = OUTPUT.saturating_sub(output.len());
        let piece = buffer.get(..count.min(room)).unwrap_or_default();
        output.extend_from_slice(piece);
        if count > room && output.len() == OUTPUT {
            output.extend_from_slice(b"...");
        }
    }
}

async fn give_up(containers: &Containers, exec: &Exec) {
    let runtime = &containers.service().runtime;
    if let Err(error) = runtime
        .kill(&exec.container, Some(&exec.id), Signal::KILL)
        .await
    {
        tracing::debug!(exec.id = %exec.id, %error, "a probe cannot be killed");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(exit_code: i32, second: i64) -> ProbeResult {
        let at = Timestamp::from_unix(second, 0);
        ProbeResult {
            start: at,
            end: at,
            exit_code,
            output: String::new(),
        }
    }

    fn check(start_period: u64) -> Healthcheck {
        let spec = Healthcheck {
            test: HealthTest::Shell("true".into()),
            start_period: Duration::from_secs(start_period),
            ..Healthcheck::default()
        };
        effective(Some(&spec)).unwrap()
    }

    fn after(codes: &[i32], start_period: u64) -> Health {
        let health = Health {
            status: HealthStatus::Starting,
            failing_streak: 0,
            log: Vec::new(),
        };
        let since = Timestamp::from_unix(0, 0);
        let check = check(start_period);
        let probes = codes.iter().zip(1..);
        probes.fold(health, |health, (code, at)| {
            judge(health, result(*code, at), &check, since)
        })
    }

    #[test]
    fn three_failures_in_a_row_are_unhealthy_and_one_success_is_healthy() {
        assert_eq!(after(&[1, 1], 0).status, HealthStatus::Starting);
        assert_eq!(after(&[1, 1, 1], 0).status, HealthStatus::Unhealthy);
        assert_eq!(after(&[0, 1, 1], 0).status, HealthStatus::Healthy);
        assert_eq!(after(&[1, 1, 1, 0], 0).status, HealthStatus::Healthy);
        assert_eq!(after(&[0, 1, 1], 0).failing_streak, 2);
    }

    #[test]
    fn failures_in_the_start_period_do_not_count() {
        let health = after(&[1, 1, 1, 1], 10);
        assert_eq!(
            (health.status, health.failing_streak),
            (HealthStatus::Starting, 0)
        );
    }

    #[test]
    fn the_last_five_results_are_kept() {
        let health = after(&[0, 0, 0, 0, 0, 0, 3], 0);
        assert_eq!(health.log.len(), 5);
        assert_eq!(health.log[4].exit_code, 3);
    }

    #[test]
    fn no_test_is_no_probing() {
        let none = Healthcheck {
            test: HealthTest::None,
            ..Healthcheck::default()
        };
        assert_eq!(effective(Some(&none)), None);
        assert_eq!(effective(None), None);
        assert_eq!(check(0).retries, 3);
    }

    #[test]
    fn probes_are_told_from_other_sessions_by_their_id() {
        let container = ContainerId::random();
        assert!(is_probe(&probe_id(&container), &container));
        assert!(!is_probe(&probe_id(&container), &ContainerId::random()));
        assert!(!is_probe(&ExecId::random(), &container));
    }

    #[test]
    fn the_label_is_true_or_false() {
        let label = |value: &str| [(RESTART_LABEL.to_owned(), value.to_owned())].into();
        assert!(check_label(&label("true")).is_ok() && check_label(&BTreeMap::new()).is_ok());
        assert!(check_label(&label("yes")).is_err());
    }
}
