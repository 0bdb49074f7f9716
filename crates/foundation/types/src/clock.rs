//! Points in time, and where they come from.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A text that is not an RFC 3339 time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid time {0:?}: it has to be RFC 3339")]
pub struct TimestampError(String);

/// A point in time with a resolution of 1 ns, shown as RFC 3339 in UTC with as many digits of the
/// fraction as it needs (Go's `time.RFC3339Nano`). [`Timestamp::ZERO`] is Go's zero time.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Timestamp {
    seconds: i64,
    nanoseconds: u32,
}

impl Timestamp {
    /// The year 1, `0001-01-01T00:00:00Z`: what the API shows for "never".
    pub const ZERO: Self = Self {
        seconds: -62_135_596_800,
        nanoseconds: 0,
    };

    /// Makes a time of seconds and nanoseconds since 1970 (UTC). Nanoseconds past a whole second
    /// are carried over.
    #[must_use]
    pub const fn from_unix(seconds: i64, nanoseconds: u32) -> Self {
        let carry = (nanoseconds / 1_000_000_000) as i64;
        Self {
            seconds: seconds.saturating_add(carry),
            nanoseconds: nanoseconds % 1_000_000_000,
        }
    }

    /// Makes a time of a client's seconds since 1970 (UTC); `None` outside the years 1 to 9999, which cannot
    /// be shown.
    #[must_use]
    pub fn shown_of_unix(seconds: i64) -> Option<Self> {
        let shown = OffsetDateTime::from_unix_timestamp(seconds).ok()?;
        (1..=9999)
            .contains(&shown.year())
            .then_some(Self::from_unix(seconds, 0))
    }

    /// Returns the whole seconds since 1970 (UTC).
    #[must_use]
    pub const fn seconds(self) -> i64 {
        self.seconds
    }

    /// Returns the nanoseconds behind the whole second.
    #[must_use]
    pub const fn nanoseconds(self) -> u32 {
        self.nanoseconds
    }

    /// Returns the nanoseconds since 1970 (UTC), saturating in the years 1677 and 2262.
    #[must_use]
    pub const fn unix_nanoseconds(self) -> i64 {
        self.seconds
            .saturating_mul(1_000_000_000)
            .saturating_add(self.nanoseconds as i64)
    }

    /// Is this Go's zero time?
    #[must_use]
    pub fn is_zero(self) -> bool {
        self == Self::ZERO
    }

    /// Returns the time from `earlier` to `self`, zero when `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        let nanoseconds = (i128::from(self.seconds) - i128::from(earlier.seconds)) * 1_000_000_000
            + i128::from(self.nanoseconds)
            - i128::from(earlier.nanoseconds);
        u64::try_from(nanoseconds.max(0)).map_or(Duration::MAX, Duration::from_nanos)
    }

    /// Returns the time `duration` after this one.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        let seconds = i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
        Self::from_unix(
            self.seconds.saturating_add(seconds),
            self.nanoseconds + duration.subsec_nanos(),
        )
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        match time.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(duration) => Self::from_unix(0, 0).after(duration),
            Err(_) => Self::from_unix(0, 0),
        }
    }
}

impl FromStr for Timestamp {
    type Err = TimestampError;

    fn from_str(text: &str) -> Result<Self, TimestampError> {
        let time = OffsetDateTime::parse(text, &Rfc3339)
            .map_err(|error| TimestampError(format!("{text} ({error})")))?;
        Ok(Self {
            seconds: time.unix_timestamp(),
            nanoseconds: time.nanosecond(),
        })
    }
}

impl TryFrom<String> for Timestamp {
    type Error = TimestampError;

    fn try_from(text: String) -> Result<Self, TimestampError> {
        text.parse()
    }
}

impl From<Timestamp> for String {
    fn from(time: Timestamp) -> Self {
        time.to_string()
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Ok(time) = OffsetDateTime::from_unix_timestamp(self.seconds) else {
            return Err(fmt::Error);
        };
        let (year, month, day) = time.to_calendar_date();
        let (hour, minute, second) = time.to_hms();
        let month = u8::from(month);
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}"
        )?;
        if self.nanoseconds != 0 {
            let digits = format!("{:09}", self.nanoseconds);
            write!(f, ".{}", digits.trim_end_matches('0'))?;
        }
        f.write_str("Z")
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Where the time comes from; tests give their own.
pub trait Clock: fmt::Debug + Send + Sync {
    /// Returns the present time.
    fn now(&self) -> Timestamp;
}

/// The system's real-time clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place that reads the clock"
    )]
    fn now(&self) -> Timestamp {
        SystemTime::now().into()
    }
}

/// A duration as Go prints it.
#[must_use]
pub fn go_duration(duration: Duration) -> String {
    let fraction = |value: f64, unit: &str| format!("{value}{unit}");
    let seconds = duration.as_secs();
    if seconds == 0 {
        return match duration.subsec_nanos() {
            0 => "0s".to_owned(),
            nanos @ 1..1_000 => format!("{nanos}ns"),
            nanos @ 1_000..1_000_000 => fraction(f64::from(nanos) / 1e3, "\u{b5}s"),
            nanos => fraction(f64::from(nanos) / 1e6, "ms"),
        };
    }
    let rest = Duration::new(seconds % 60, duration.subsec_nanos()).as_secs_f64();
    match (seconds / 3600, seconds / 60 % 60) {
        (0, 0) => fraction(rest, "s"),
        (0, minutes) => format!("{minutes}m{}", fraction(rest, "s")),
        (hours, minutes) => format!("{hours}h{minutes}m{}", fraction(rest, "s")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_of_a_client_can_be_shown_or_is_none() {
        let shown = |seconds| Timestamp::shown_of_unix(seconds).map(|time| time.to_string());
        assert_eq!(shown(-1).unwrap(), "1969-12-31T23:59:59Z");
        assert_eq!(shown(253_402_300_799).unwrap(), "9999-12-31T23:59:59Z");
        for seconds in [253_402_300_800, i64::MAX, i64::MIN, -62_135_596_801] {
            assert_eq!(shown(seconds), None);
        }
    }

    #[test]
    fn the_fraction_has_no_trailing_zeros() {
        assert_eq!(
            Timestamp::from_unix(0, 120_000_000).to_string(),
            "1970-01-01T00:00:00.12Z"
        );
        assert_eq!(
            Timestamp::from_unix(1_700_000_000, 0).to_string(),
            "2023-11-14T22:13:20Z"
        );
        assert_eq!(Timestamp::ZERO.to_string(), "0001-01-01T00:00:00Z");
    }

    #[test]
    fn what_is_shown_parses_back() {
        let time = Timestamp::from_unix(1_700_000_000, 123_456_789);
        assert_eq!(time.to_string().parse(), Ok(time));
        assert_eq!(
            "2023-11-14T23:13:20+01:00".parse(),
            Ok(Timestamp::from_unix(1_700_000_000, 0))
        );
    }

    #[test]
    fn a_duration_lies_between_two_times() {
        let start = Timestamp::from_unix(10, 900_000_000);
        let end = start.after(Duration::from_millis(200));
        assert_eq!(end, Timestamp::from_unix(11, 100_000_000));
        assert_eq!(end.since(start), Duration::from_millis(200));
        assert_eq!(start.since(end), Duration::ZERO);
    }
}
