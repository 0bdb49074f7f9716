//! `ContainerKill`: sends a signal.

use arca_types::Signal;

use crate::Error;
use crate::actor::{Actor, AtEnd, Command, Reply};
use crate::check::parse_signal;
use crate::service::Containers;
use crate::state::State;
use crate::stop::DEATH;
use crate::timers::Timer;

impl Containers {
    /// Sends a signal, `SIGKILL` when none is named; that one is waited for (`ContainerKill`).
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::NotRunning`]; [`Error::Invalid`] for a signal that does not exist.
    pub async fn kill(&self, id: &str, signal: Option<&str>) -> Result<(), Error> {
        let done = async {
            let signal = match signal.filter(|signal| !signal.is_empty()) {
                Some(signal) => parse_signal(signal)?,
                None => Signal::KILL,
            };
            let handle = self.service().index.find(id)?;
            self.ask(&handle, |reply| Command::Kill(signal, reply))
                .await
        };
        done.await
            .map_err(|cause| Error::context(format!("cannot kill container: {id}"), cause))
    }
}

impl Actor {
    /// Sends a signal; the answer to `SIGKILL` comes when the process has ended.
    pub(crate) async fn kill(&mut self, signal: Signal, reply: Reply<()>) {
        if matches!(self.c.state, State::Restarting) {
            self.intent.stopped_by_client = true;
            self.call_off_restart().await;
            return self.answer(reply, Ok(()));
        }
        if self.c.state.process().is_none() {
            let error = Error::NotRunning(self.c.id.to_string());
            return self.answer(reply, Err(error));
        }
        self.intent.unhealthy = false;
        match self.send_signal(signal).await {
            Ok(()) if signal == Signal::KILL => {
                self.timers.start(DEATH, Timer::GiveUp);
                self.at_end.push(AtEnd::Killed(reply));
            }
            sent => self.answer(reply, sent),
        }
    }
}
