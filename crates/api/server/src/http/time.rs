//! Times in queries: seconds since the epoch with an optional fraction, as Docker's clients send them;
//! in filters also durations back from now, dates and RFC 3339.

use std::time::Duration;

use arca_types::Timestamp;

use super::query::quoted;
use crate::error::ApiError;

/// Reads a time; the empty text and `0` are none.
pub(crate) fn timestamp(text: &str) -> Result<Option<Timestamp>, ApiError> {
    if text.is_empty() || text == "0" {
        return Ok(None);
    }
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let invalid = |part: &str| {
        // 500, as dockerd has it
        ApiError::internal(&format!(
            "strconv.ParseInt: parsing {}: invalid syntax",
            quoted(part)
        ))
    };
    let seconds: i64 = seconds.parse().map_err(|_not_a_number| invalid(seconds))?;
    let nanoseconds = match fraction {
        "" => 0,
        digits if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            let nine: String = digits
                .chars()
                .chain(std::iter::repeat('0'))
                .take(9)
                .collect();
            nine.parse().map_err(|_not_a_number| invalid(digits))?
        }
        other => return Err(invalid(other)),
    };
    Ok(Some(Timestamp::from_unix(seconds, nanoseconds)))
}

/// Reads the value of a filter `until`: `10m`, `1h30m`, seconds since the epoch, a date, RFC 3339.
pub(crate) fn until(text: &str, now: Timestamp) -> Result<Timestamp, ApiError> {
    let back = |length: Duration| {
        let seconds = i64::try_from(length.as_secs()).unwrap_or(i64::MAX);
        let nanoseconds = now.nanoseconds() + 1_000_000_000 - length.subsec_nanos();
        Timestamp::from_unix(
            now.seconds().saturating_sub(seconds).saturating_sub(1),
            nanoseconds,
        )
    };
    let padded = match text.len() {
        10 => format!("{text}T00:00:00Z"),
        16 => format!("{text}:00Z"),
        19 => format!("{text}Z"),
        _ => text.to_owned(),
    };
    duration(text)
        .map(back)
        .or_else(|| padded.parse().ok())
        .or_else(|| timestamp(text).ok().flatten())
        .ok_or_else(|| {
            ApiError::bad(format!(
                "failed to parse value as time or duration: {}",
                quoted(text)
            ))
        })
}

/// Go's durations: `1h30m`, `1.5s`, `100ms`.
fn duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut sum = Duration::ZERO;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(digits);
        let unit = tail
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(tail.len());
        let (unit, after) = tail.split_at(unit);
        let seconds = match unit {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" => 1e-6,
            "ns" => 1e-9,
            _ => return None,
        };
        let number: f64 = number.parse().ok()?;
        sum = sum.checked_add(Duration::try_from_secs_f64(number * seconds).ok()?)?;
        rest = after;
    }
    Some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn until_is_a_time_or_a_duration() {
        let now = Timestamp::from_unix(10_000, 5);
        assert_eq!(until("1h30m", now).unwrap(), Timestamp::from_unix(4_600, 5));
        assert_eq!(
            until("1.5s", now).unwrap(),
            Timestamp::from_unix(9_998, 500_000_005)
        );
        assert_eq!(until("12", now).unwrap(), Timestamp::from_unix(12, 0));
        assert_eq!(
            until("1970-01-02", now).unwrap(),
            Timestamp::from_unix(86_400, 0)
        );
        assert_eq!(
            until("1970-01-01T00:01:00Z", now).unwrap(),
            Timestamp::from_unix(60, 0)
        );
        assert!(until("soon", now).is_err() && until("", now).is_err());
    }

    #[test]
    fn times_are_seconds_and_a_fraction() {
        assert_eq!(timestamp("").unwrap(), None);
        assert_eq!(timestamp("0").unwrap(), None);
        assert_eq!(timestamp("12").unwrap(), Some(Timestamp::from_unix(12, 0)));
        assert_eq!(
            timestamp("12.5").unwrap(),
            Some(Timestamp::from_unix(12, 500_000_000))
        );
        assert_eq!(
            timestamp("12.0000000017").unwrap(),
            Some(Timestamp::from_unix(12, 1))
        );
        let error = timestamp("abc").unwrap_err();
        assert_eq!(
            error.message(),
            "strconv.ParseInt: parsing \"abc\": invalid syntax"
        );
        assert_eq!(error.status().as_u16(), 500);
    }
}
