//! The service: publishing.

use std::sync::Arc;

use arca_store::{Batch, Journal, Store};
use arca_types::{Clock, Timestamp};

use crate::error::Error;
use crate::event::Event;
use crate::filter::Filter;
use crate::record::EventRecord;
use crate::subscription::{Range, Subscription};

/// The journal of events. A cheap handle.
#[derive(Debug, Clone)]
pub struct Events {
    journal: Journal<EventRecord>,
    clock: Arc<dyn Clock>,
}

impl Events {
    /// Opens the journal, which keeps about the last `keep` events. It blocks.
    ///
    /// # Errors
    /// [`Error::Journal`] when it cannot be read.
    pub fn open(store: &Store, clock: Arc<dyn Clock>, keep: u64) -> Result<Self, Error> {
        let journal = store.journal("events", keep).map_err(Error::Journal)?;
        Ok(Self { journal, clock })
    }

    /// Publishes an event: it is on its way to the journal when this returns, and clients get it once it
    /// is there. Events are told in the order of these calls.
    ///
    /// What happened, happened: a failure to write it down is logged and returned to nobody.
    pub async fn publish(&self, event: Event) {
        let event = self.timed(event);
        let at = event.time.unix_nanoseconds();
        if let Err(error) = self.journal.post(at, &EventRecord::from(&event)).await {
            tracing::error!(%error, action = %event.action, "an event was lost");
        }
    }

    /// Adds an event to a batch, to be published together with a change of state.
    ///
    /// # Errors
    /// [`Error::Journal`] when it cannot be encoded.
    pub fn stage(&self, batch: Batch, event: Event) -> Result<Batch, Error> {
        let event = self.timed(event);
        let at = event.time.unix_nanoseconds();
        batch
            .append(&self.journal, at, &EventRecord::from(&event))
            .map_err(Error::Journal)
    }

    /// Reads the events of `range` that pass `filter`, as many as there are and will be.
    ///
    /// Everything published before this call is regarded as past: it is read if `range` asks for the past.
    ///
    /// # Errors
    /// [`Error::Journal`] when the journal cannot be read.
    pub async fn subscribe(&self, range: Range, filter: Filter) -> Result<Subscription, Error> {
        Subscription::open(self.journal.clone(), self.clock.now(), range, filter).await
    }

    /// How many subscriptions there are (`SystemInfo.NEventsListener`).
    #[must_use]
    pub fn listeners(&self) -> u64 {
        u64::try_from(self.journal.watchers()).unwrap_or(u64::MAX)
    }

    fn timed(&self, mut event: Event) -> Event {
        if event.time == Timestamp::ZERO {
            event.time = self.clock.now();
        }
        event
    }
}
