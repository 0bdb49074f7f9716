//! Times in filters, as Go programs write them.

use std::time::Duration;

use arca_types::Timestamp;

/// Reads a duration before `now` (`1h30m`), an RFC 3339 time or a part of one (in UTC), or seconds since
/// 1970 with an optional fraction. `None` when it is nothing of these.
pub(crate) fn parse(text: &str, now: Timestamp) -> Option<Timestamp> {
    if let Some(duration) = duration(text) {
        let back = Duration::from_nanos(
            now.since(Timestamp::from_unix(0, 0))
                .as_nanos()
                .try_into()
                .ok()?,
        )
        .checked_sub(duration)?;
        return Some(Timestamp::from_unix(
            back.as_secs().try_into().ok()?,
            back.subsec_nanos(),
        ));
    }
    if text.contains('-') && !text.starts_with('-') {
        return calendar(text);
    }
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = format!("{fraction:0<9}");
    let nanoseconds = digits.get(..9)?.parse().ok()?;
    Some(Timestamp::from_unix(seconds.parse().ok()?, nanoseconds))
}

/// `2006-01-02`, with hours, minutes, seconds, a fraction and a zone as far as they are there.
fn calendar(text: &str) -> Option<Timestamp> {
    let completed = match text.len() {
        10 => format!("{text}T00:00:00Z"),
        11 if text.ends_with('Z') => format!("{}T00:00:00Z", text.trim_end_matches('Z')),
        13 => format!("{text}:00:00Z"),
        16 => format!("{text}:00Z"),
        _ => text.to_owned(),
    };
    completed
        .parse()
        .or_else(|_| format!("{completed}Z").parse())
        .ok()
}

/// Reads Go's `time.ParseDuration` without a sign: `300ms`, `1.5h`, `1h30m`. `None` when it is none.
#[must_use]
pub fn duration(text: &str) -> Option<Duration> {
    let mut total = Duration::ZERO;
    let mut rest = text;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(end);
        let end = after
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        let unit = match unit {
            "ns" => 1e-9,
            "us" | "µs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        let amount: f64 = number.parse().ok()?;
        total = total.checked_add(Duration::try_from_secs_f64(amount * unit).ok()?)?;
        rest = after;
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_all_kinds_are_read() {
        let now = Timestamp::from_unix(1_000_000, 5);
        for (text, seconds, nanoseconds) in [
            ("1h30m", 1_000_000 - 5400, 5),
            ("10s", 999_990, 5),
            ("1.5m", 999_910, 5),
            ("1136073600", 1_136_073_600, 0),
            ("1136073600.000000001", 1_136_073_600, 1),
            ("2006-01-01", 1_136_073_600, 0),
            ("2006-01-01T00:00", 1_136_073_600, 0),
            ("2006-01-01T00:00:00", 1_136_073_600, 0),
            ("2006-01-01T01:00:00+01:00", 1_136_073_600, 0),
            ("2006-01-01T00:00:00.5Z", 1_136_073_600, 500_000_000),
        ] {
            assert_eq!(
                parse(text, now),
                Some(Timestamp::from_unix(seconds, nanoseconds)),
                "{text}"
            );
        }
        for text in ["xx", "", "1x", "2006-13-01", "h"] {
            assert_eq!(parse(text, now), None, "{text}");
        }
    }
}
