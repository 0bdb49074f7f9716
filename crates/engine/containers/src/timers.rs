//! Delays of one container: they come back to its actor as inputs.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// What is due when a delay is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Timer {
    /// A stop was not obeyed in time: `SIGKILL`.
    Kill,
    /// Even `SIGKILL` did not end it: whoever waits is told.
    GiveUp,
    /// The restart policy starts it again.
    Restart,
    /// The daemon was started, and the restart policy wants the container to run.
    Boot,
    /// It was created to be removed at its end, and has ended.
    AutoRemove,
}

/// The delays that run.
#[derive(Debug, Default)]
pub(crate) struct Timers(Vec<(Instant, Timer)>);

impl Timers {
    /// Starts a delay.
    pub(crate) fn start(&mut self, delay: Duration, timer: Timer) {
        self.0.push((Instant::now() + delay, timer));
    }

    /// Calls off all delays of a kind.
    pub(crate) fn cancel(&mut self, timer: Timer) {
        self.0.retain(|(_, other)| *other != timer);
    }

    /// Waits for the next delay to be over, for ever when none runs. Safe to cancel.
    pub(crate) async fn next(&mut self) -> Timer {
        let first = self.0.iter().enumerate().min_by_key(|(_, (at, _))| *at);
        let Some((index, at)) = first.map(|(index, (at, _))| (index, *at)) else {
            return std::future::pending().await;
        };
        sleep_until(at).await;
        self.0.swap_remove(index).1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_earliest_comes_first_and_cancelled_ones_never() {
        let mut timers = Timers::default();
        timers.start(Duration::from_secs(10), Timer::Kill);
        timers.start(Duration::from_secs(1), Timer::Restart);
        timers.start(Duration::from_secs(5), Timer::GiveUp);
        timers.cancel(Timer::GiveUp);
        assert_eq!(timers.next().await, Timer::Restart);
        assert_eq!(timers.next().await, Timer::Kill);
        let none = tokio::time::timeout(Duration::from_secs(100), timers.next()).await;
        assert!(none.is_err());
    }
}
