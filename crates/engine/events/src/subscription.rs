//! The service: reading back and following.

use std::collections::VecDeque;

use arca_store::Journal;
use arca_types::Timestamp;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::error::Error;
use crate::event::Event;
use crate::filter::Filter;
use crate::record::EventRecord;

/// How many entries are read from the journal at once.
const STEP: usize = 64;

/// The time that a subscription covers. Neither bound: what happens from now on.
#[derive(Debug, Clone, Copy, Default)]
pub struct Range {
    /// Begin with the events of this time.
    pub since: Option<Timestamp>,
    /// End after those of this time; without `since`, begin with the oldest.
    pub until: Option<Timestamp>,
}

/// The events of a range, past and present. Dropping it ends it.
#[derive(Debug)]
pub struct Subscription {
    journal: Journal<EventRecord>,
    range: Range,
    filter: Filter,
    /// The last entry that was read.
    cursor: u64,
    /// What has been read and not handed out.
    read: VecDeque<Event>,
    grown: watch::Receiver<u64>,
    end: End,
}

/// When a subscription ends by itself.
#[derive(Debug, Clone, Copy)]
enum End {
    /// Never.
    Open,
    /// At this time.
    At(Instant),
    /// After this entry.
    After(u64),
}

impl Subscription {
    pub(crate) async fn open(
        journal: Journal<EventRecord>,
        now: Timestamp,
        range: Range,
        filter: Filter,
    ) -> Result<Self, Error> {
        let mut grown = journal.watch();
        grown.mark_unchanged();
        let last = journal.flush().await.map_err(Error::Journal)?;
        let cursor = match (range.since, range.until) {
            (Some(since), _) => {
                let since = since.unix_nanoseconds();
                journal
                    .cursor_at(since)
                    .await
                    .map_err(Error::Journal)?
                    .min(last)
            }
            (None, Some(_)) => 0,
            (None, None) => last,
        };
        let end = match range.until {
            None => End::Open,
            Some(until) if until <= now => End::After(last),
            // Too far for the clock is as good as never.
            Some(until) => Instant::now()
                .checked_add(until.since(now))
                .map_or(End::Open, End::At),
        };
        Ok(Self {
            journal,
            range,
            filter,
            cursor,
            read: VecDeque::new(),
            grown,
            end,
        })
    }

    /// Waits for the next event; `None` once the range has ended.
    ///
    /// Safe to cancel: no event is lost when the future is dropped.
    ///
    /// # Errors
    /// [`Error::Journal`] when the journal cannot be read.
    pub async fn next(&mut self) -> Result<Option<Event>, Error> {
        loop {
            if let Some(event) = self.read.pop_front() {
                return Ok(Some(event));
            }
            self.grown.mark_unchanged();
            if self.fill().await? {
                continue;
            }
            match self.end {
                End::After(_) => return Ok(None),
                End::Open => {
                    if self.grown.changed().await.is_err() {
                        return Ok(None);
                    }
                }
                End::At(time) => {
                    let changed = tokio::time::timeout_at(time, self.grown.changed()).await;
                    if !matches!(changed, Ok(Ok(()))) {
                        let last = self.journal.flush().await.map_err(Error::Journal)?;
                        self.end = End::After(last);
                    }
                }
            }
        }
    }

    /// Reads the next step of the journal; says whether it went on.
    async fn fill(&mut self) -> Result<bool, Error> {
        let entries = self
            .journal
            .scan(self.cursor, STEP)
            .await
            .map_err(Error::Journal)?;
        let before = self.cursor;
        for entry in entries {
            if matches!(self.end, End::After(end) if entry.sequence > end) {
                break;
            }
            self.cursor = entry.sequence;
            self.read
                .extend(entry.value.into_event().filter(|event| self.wants(event)));
        }
        Ok(self.cursor != before)
    }

    fn wants(&self, event: &Event) -> bool {
        self.range.since.is_none_or(|since| event.time >= since)
            && self.range.until.is_none_or(|until| event.time <= until)
            && self.filter.includes(event)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arca_store::Store;
    use arca_types::{Clock, SystemClock};

    use super::*;
    use crate::{Events, Type};

    /// A clock that stands at second 1000.
    #[derive(Debug)]
    struct Standing;

    impl Clock for Standing {
        fn now(&self) -> Timestamp {
            Timestamp::from_unix(1000, 0)
        }
    }

    fn events(dir: &tempfile::TempDir, clock: Arc<dyn Clock>) -> Events {
        let store = Store::open(dir.path().join("arca.db")).unwrap();
        Events::open(&store, clock, 10_000).unwrap()
    }

    fn event(number: u32) -> Event {
        Event::new(Type::Container, "start", number.to_string())
            .at(Timestamp::from_unix(i64::from(number), 0))
    }

    fn between(since: Option<i64>, until: Option<i64>) -> Range {
        let time = |seconds| Timestamp::from_unix(seconds, 0);
        Range {
            since: since.map(time),
            until: until.map(time),
        }
    }

    async fn ids(mut subscription: Subscription) -> Vec<u32> {
        let mut ids = Vec::new();
        while let Some(event) = subscription.next().await.unwrap() {
            ids.push(event.actor.id.parse().unwrap());
        }
        ids
    }

    #[tokio::test]
    async fn the_past_is_read_between_two_times() {
        let dir = tempfile::tempdir().unwrap();
        let events = events(&dir, Arc::new(Standing));
        for number in 1..=500 {
            events.publish(event(number)).await;
        }
        let cases = [
            (
                between(Some(100), Some(105)),
                (100..=105).collect::<Vec<u32>>(),
            ),
            (between(None, Some(3)), vec![1, 2, 3]),
            (between(Some(499), Some(1000)), vec![499, 500]),
            (between(Some(600), Some(900)), vec![]),
        ];
        for (range, expected) in cases {
            let subscription = events.subscribe(range, Filter::default()).await.unwrap();
            assert_eq!(ids(subscription).await, expected, "{range:?}");
        }
    }

    #[tokio::test]
    async fn without_a_range_only_what_comes_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let events = events(&dir, Arc::new(SystemClock));
        events.publish(event(1)).await;
        let mut subscription = events
            .subscribe(Range::default(), Filter::default())
            .await
            .unwrap();
        events.publish(event(2)).await;
        assert_eq!(subscription.next().await.unwrap().unwrap().actor.id, "2");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn replay_goes_over_into_following_without_gap_or_duplicate() {
        let dir = tempfile::tempdir().unwrap();
        let events = events(&dir, Arc::new(Standing));
        let publisher = tokio::spawn({
            let events = events.clone();
            async move {
                for number in 1..=3000 {
                    events.publish(event(number)).await;
                }
            }
        });
        let mut readers = Vec::new();
        for _ in 0..5 {
            let mut subscription = events
                .subscribe(between(Some(1), None), Filter::default())
                .await
                .unwrap();
            readers.push(tokio::spawn(async move {
                for expected in 1..=3000_u32 {
                    let event = subscription.next().await.unwrap().unwrap();
                    assert_eq!(event.actor.id, expected.to_string());
                }
            }));
        }
        publisher.await.unwrap();
        for reader in readers {
            reader.await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_reader_that_sleeps_through_thousands_of_events_gets_all_of_them() {
        let dir = tempfile::tempdir().unwrap();
        let events = events(&dir, Arc::new(Standing));
        let mut subscription = events
            .subscribe(Range::default(), Filter::default())
            .await
            .unwrap();
        for number in 1..=5000 {
            events.publish(event(number)).await;
        }
        for expected in 1..=5000_u32 {
            let event = subscription.next().await.unwrap().unwrap();
            assert_eq!(event.actor.id, expected.to_string());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn following_ends_at_its_time() {
        let dir = tempfile::tempdir().unwrap();
        let events = events(&dir, Arc::new(Standing));
        let subscription = events
            .subscribe(between(None, Some(1060)), Filter::default())
            .await
            .unwrap();
        events.publish(event(1010)).await;
        events.publish(event(1061)).await;
        assert_eq!(ids(subscription).await, [1010]);
    }

    #[tokio::test]
    async fn events_are_there_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let before = events(&dir, Arc::new(Standing));
        before.publish(event(1)).await;
        drop(before);
        let after = events(&dir, Arc::new(Standing));
        let subscription = after
            .subscribe(between(None, Some(999)), Filter::default())
            .await
            .unwrap();
        assert_eq!(ids(subscription).await, [1]);
    }
}
