//! `ContainerStop`: asks the process to end, and makes it end when it does not.

use std::time::Duration;

use arca_types::Signal;

use crate::Error;
use crate::actor::{Actor, AtEnd, Command, Reply};
use crate::check::parse_signal;
use crate::requests::{StopRequest, Stopped};
use crate::service::Containers;
use crate::state::{Input, State};
use crate::timers::Timer;

/// Seconds between the stop signal and `SIGKILL` when nobody says otherwise.
const DEFAULT_TIMEOUT: i32 = 10;
/// How long a process may take to die of `SIGKILL`.
pub(crate) const DEATH: Duration = Duration::from_secs(10);

/// A stop, checked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StopOrder {
    timeout: Option<i32>,
    signal: Option<Signal>,
    /// It is to be asked by a signal that this kernel does not have: it will not hear of it.
    unheard: bool,
}

impl StopOrder {
    /// Checks what a client asks for.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a signal that does not exist.
    pub(crate) fn new(request: &StopRequest) -> Result<Self, Error> {
        let named = request
            .signal
            .as_deref()
            .filter(|signal| !signal.is_empty());
        let signal = named.map(parse_signal).transpose();
        let is_number =
            named.is_some_and(|name| name.parse::<i32>().is_ok_and(|number| number != 0));
        let unheard = signal.is_err() && is_number;
        Ok(Self {
            timeout: request.timeout,
            signal: if unheard { None } else { signal? },
            unheard,
        })
    }
}

impl Containers {
    /// Stops a container (`ContainerStop`): its stop signal, then `SIGKILL` when it does not end in
    /// time.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Invalid`] for a signal that does not exist.
    pub async fn stop(&self, id: &str, request: StopRequest) -> Result<Stopped, Error> {
        let handle = self.service().index.find(id)?;
        if !handle.snapshot().state.is_running()
            && !matches!(handle.snapshot().state, State::Starting(_))
        {
            return Ok(Stopped::Already);
        }
        let done = async {
            let order = StopOrder::new(&request).map_err(Error::into_failure)?;
            self.ask(&handle, |reply| Command::Stop(order, reply)).await
        };
        done.await
            .map_err(|cause| Error::context(format!("cannot stop container: {id}"), cause))
    }
}

impl Actor {
    /// Begins to stop; the answer comes when the process has ended.
    pub(crate) async fn stop(&mut self, order: StopOrder, reply: Reply<Stopped>) {
        self.intent.unhealthy = false;
        if matches!(self.c.state, State::Restarting) {
            self.intent.stopped_by_client = true;
            self.call_off_restart().await;
            self.event("stop").await;
            return self.answer(reply, Ok(Stopped::Now));
        }
        if self.c.state.process().is_none() {
            return self.answer(reply, Ok(Stopped::Already));
        }
        match self.begin_stop(order).await {
            Ok(()) => self.at_end.push(AtEnd::Stopped(reply)),
            Err(error) => self.answer(reply, Err(error)),
        }
    }

    /// Sends the stop signal and sets the timer that will kill.
    pub(crate) async fn begin_stop(&mut self, order: StopOrder) -> Result<(), Error> {
        let signal = order.signal.unwrap_or_else(|| self.stop_signal());
        let timeout = order
            .timeout
            .or(self.c.spec.stop_timeout)
            .unwrap_or(DEFAULT_TIMEOUT);
        let sent = if order.unheard {
            self.intent.no_restart = true;
            self.intent.stopped_by_client = true;
            Err(Error::Failed("the signal does not exist".to_owned()))
        } else {
            self.send_signal(signal).await
        };
        let delay = match (&sent, u64::try_from(timeout)) {
            (Ok(()), Ok(seconds)) => Some(Duration::from_secs(seconds)),
            (Err(_), Ok(_)) => Some(Duration::from_secs(2)),
            (Ok(()), Err(_)) => None,
            (Err(_), Err(_)) => return sent,
        };
        if let Some(delay) = delay {
            self.timers.start(delay, Timer::Kill);
        }
        Ok(())
    }

    /// The signal that asks this container to end; `SIGTERM` where its own is none of this kernel's.
    pub(crate) fn stop_signal(&self) -> Signal {
        let own = self.c.spec.stop_signal.as_deref();
        own.and_then(|signal| signal.parse().ok())
            .unwrap_or(Signal::TERM)
    }

    /// Sends a signal of a client, and remembers what it means for the restart policy.
    ///
    /// The container's own stop signal, `SIGKILL`, and any signal where no stop signal is configured,
    /// end the restart policy and thaw a paused container, so that it can end.
    pub(crate) async fn send_signal(&mut self, signal: Signal) -> Result<(), Error> {
        let configured = self
            .c
            .spec
            .stop_signal
            .as_deref()
            .is_some_and(|s| !s.is_empty());
        let last = !configured || signal == Signal::KILL || self.stop_signal() == signal;
        self.intent.no_restart |= last;
        self.intent.stopped_by_client = true;
        self.save_quietly().await;
        let id = self.c.id.clone();
        if let Err(error) = self.service.runtime.kill(&id, None, signal).await {
            // Its end is on the way to us already.
            if !matches!(error, arca_runtime::Error::NotRunning(_)) {
                return Err(Error::context(
                    format!("Cannot kill container {id}"),
                    Error::Runtime(error),
                ));
            }
        } else if last && matches!(self.c.state, State::Paused(_)) {
            self.service
                .runtime
                .resume(&id)
                .await
                .map_err(Error::Runtime)?;
            self.note(Input::Unpause).await;
            self.event("unpause").await;
        }
        let number = signal.number().to_string();
        self.event_with("kill", [("signal", number)]).await;
        Ok(())
    }

    /// A stop was not obeyed in time.
    pub(crate) async fn kill_disobedient(&mut self) {
        if self.c.state.process().is_none() {
            return;
        }
        tracing::info!(container.id = %self.c.id, "not stopped in time, killed");
        if let Err(error) = self.send_signal(Signal::KILL).await {
            let error = arca_types::chain(&error);
            tracing::warn!(container.id = %self.c.id, error, "cannot kill");
        }
        self.timers.start(DEATH, Timer::GiveUp);
    }

    /// Even `SIGKILL` did not end it: whoever waits is told.
    pub(crate) async fn give_up_on_end(&mut self) {
        self.intent.restart = false;
        self.intent.remove = None;
        self.recovering = None;
        self.save_quietly().await;
        for at_end in std::mem::take(&mut self.at_end) {
            let text = "tried to kill container, but did not receive an exit event";
            at_end.fail(Error::Failed(text.to_owned()));
        }
    }

    /// A restart that is due will not happen.
    pub(crate) async fn call_off_restart(&mut self) {
        self.timers.cancel(Timer::Restart);
        self.intent.no_restart = true;
        self.note(Input::CallOff).await;
    }
}
