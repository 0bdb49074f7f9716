//! What the cache may keep, and when that is seen to.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::Error;
use crate::builder::{Builder, Service};

/// The least time between two collections.
const PAUSE: Duration = Duration::from_secs(60);

/// A rule of the garbage collection (`builder.gc.policy`); rules are applied in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GcPolicy {
    /// What it is about, as filters of prune; empty for everything.
    pub filters: BTreeMap<String, Vec<String>>,
    /// Also what nothing but the internals needs.
    pub all: bool,
    /// Used within this time: kept.
    pub keep_duration: Option<Duration>,
    /// So many bytes are always kept.
    pub reserved_space: u64,
    /// More bytes than this are never kept; 0 for no limit.
    pub max_used_space: u64,
    /// So many bytes of the disk are to be free; 0 for no limit.
    pub min_free_space: u64,
}

impl GcPolicy {
    /// Checks the filters.
    ///
    /// # Errors
    /// [`Error::Invalid`] for one that is none.
    pub fn check(&self) -> Result<(), Error> {
        super::prune::check_filters(&self.filters)
    }
}

/// When the cache was trimmed last, and whether it soon will be.
#[derive(Debug, Default)]
pub(crate) struct Collector {
    due: AtomicBool,
    /// Has the cache grown since?
    grown: AtomicBool,
    last: Mutex<Option<Instant>>,
}

impl Collector {
    /// How long the next collection waits.
    fn pause(&self) -> Duration {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.map_or(Duration::ZERO, |last| PAUSE.saturating_sub(last.elapsed()))
    }

    /// There is more in the cache than before.
    pub(super) fn grows(&self) {
        self.grown.store(true, Ordering::Release);
    }

    fn begins(&self) {
        self.grown.store(false, Ordering::Release);
        self.due.store(false, Ordering::Release);
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        *last = Some(Instant::now());
    }
}

/// A build has ended: has the rules applied if it has made something, not more than once a minute.
pub(crate) fn collect_soon(service: &Arc<Service>) {
    let collector = &service.cache.collector;
    let grown = collector.grown.load(Ordering::Acquire);
    if service.config.gc.is_empty() || !grown || collector.due.swap(true, Ordering::AcqRel) {
        return;
    }
    let builder = Builder(Arc::clone(service));
    let pause = collector.pause();
    service.tasks.spawn(async move {
        tokio::select! {
            () = builder.0.closing.cancelled() => {}
            // A timer, not a wait for something: collections keep a minute's distance.
            () = tokio::time::sleep(pause) => {
                builder.0.cache.collector.begins();
                builder.collect().await;
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn collections_keep_a_distance() {
        let collector = Collector::default();
        assert_eq!(collector.pause(), Duration::ZERO);
        collector.begins();
        tokio::time::advance(Duration::from_secs(20)).await;
        assert_eq!(collector.pause(), Duration::from_secs(40));
        tokio::time::advance(Duration::from_secs(200)).await;
        assert_eq!(collector.pause(), Duration::ZERO);
    }

    #[test]
    fn a_filter_that_is_none_is_refused() {
        let policy = |key: &str, value: &str| GcPolicy {
            filters: BTreeMap::from([(key.to_owned(), vec![value.to_owned()])]),
            ..GcPolicy::default()
        };
        for (key, value) in [
            ("unused-for", "48h"),
            ("type", "regular"),
            ("shared!", "true"),
        ] {
            policy(key, value).check().unwrap();
        }
        for (key, value) in [
            ("unused-for", "long"),
            ("colour", "red"),
            ("inuse", "perhaps"),
        ] {
            assert!(policy(key, value).check().is_err(), "{key}={value}");
        }
    }
}
