//! Clients whose attach was answered, and whose connection has not been handed over yet. A start waits
//! for them: what the container says first is theirs too.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

/// A connection that does not come holds a start up for so long.
const LIMIT: Duration = Duration::from_secs(2);

/// Counts the clients of one container that are on their way.
#[derive(Debug, Clone)]
pub(crate) struct Arriving(Arc<watch::Sender<usize>>);

impl Arriving {
    /// Nobody is on the way.
    pub(crate) fn nobody() -> Self {
        Self(Arc::new(watch::Sender::new(0)))
    }

    /// One more client is on its way until the guard is dropped.
    pub(crate) fn expect(&self) -> Arrival {
        self.0.send_modify(|count| *count += 1);
        Arrival(self.clone())
    }

    /// Waits until nobody is on the way, or for long enough.
    pub(crate) async fn all(&self) {
        let mut count = self.0.subscribe();
        let nobody = count.wait_for(|count| *count == 0);
        if tokio::time::timeout(LIMIT, nobody).await.is_err() {
            tracing::warn!("a client that attaches takes long; the container starts without it");
        }
    }
}

/// A client on its way.
#[derive(Debug)]
pub(crate) struct Arrival(Arriving);

impl Drop for Arrival {
    fn drop(&mut self) {
        self.0
            .0
            .send_modify(|count| *count = count.saturating_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_start_waits_for_those_who_are_on_their_way() {
        let arriving = Arriving::nobody();
        arriving.all().await;
        let arrival = arriving.expect();
        let waiting = tokio::spawn({
            let arriving = arriving.clone();
            async move { arriving.all().await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(arrival);
        waiting.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_never_comes_does_not_hold_it_for_ever() {
        let arriving = Arriving::nobody();
        let _arrival = arriving.expect();
        let begin = tokio::time::Instant::now();
        arriving.all().await;
        assert_eq!(begin.elapsed(), LIMIT);
    }
}
