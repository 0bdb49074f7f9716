//! Waiting for what announces itself by no event.

use std::time::{Duration, Instant};

/// How many times longer than usual is waited: `ARCA_TEST_PATIENCE`, for emulated machines.
fn patience() -> u32 {
    let patience = std::env::var("ARCA_TEST_PATIENCE").ok();
    patience.and_then(|text| text.parse().ok()).unwrap_or(1)
}

/// Waits up to 20 seconds until `condition` gives something, which is returned.
#[track_caller]
pub fn eventually<T>(what: &str, condition: impl FnMut() -> Option<T>) -> T {
    eventually_within(Duration::from_secs(20), what, condition)
}

/// Waits up to `limit` until `condition` gives something, which is returned.
///
/// # Panics
/// When it did not; `what` says what was waited for.
#[track_caller]
pub fn eventually_within<T>(
    limit: Duration,
    what: &str,
    condition: impl FnMut() -> Option<T>,
) -> T {
    match within(limit, condition) {
        Some(value) => value,
        None => panic!("waited {limit:?} in vain: {what}"),
    }
}

/// Waits up to `limit` for `condition`; `None` when it gave nothing.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place of the tests that polls"
)]
pub(crate) fn within<T>(limit: Duration, mut condition: impl FnMut() -> Option<T>) -> Option<T> {
    let limit = limit * patience();
    let begin = Instant::now();
    let mut pause = Duration::from_millis(1);
    loop {
        if let Some(value) = condition() {
            return Some(value);
        }
        if begin.elapsed() >= limit {
            return None;
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}
