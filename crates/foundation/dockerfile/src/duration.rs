//! Durations as Go writes and reads them (`1h2m3.5s`), in nanoseconds.

use crate::quote::quoted;

const UNITS: [(&str, i128); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Reads a duration.
///
/// # Errors
/// The text that Go's `time.ParseDuration` has for it.
pub fn parse_duration(text: &str) -> Result<i64, String> {
    let invalid = || format!("time: invalid duration {}", quoted(text));
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total: i128 = 0;
    while !rest.is_empty() {
        let (number, after) = split_at_first(rest, |ch| !(ch.is_ascii_digit() || ch == '.'));
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
            return Err(invalid());
        }
        let (unit, after) = split_at_first(after, |ch| ch.is_ascii_digit() || ch == '.');
        if unit.is_empty() {
            return Err(format!("time: missing unit in duration {}", quoted(text)));
        }
        let Some((_, scale)) = UNITS.iter().find(|(name, _)| *name == unit) else {
            let duration = quoted(text);
            return Err(format!(
                "time: unknown unit {} in duration {duration}",
                quoted(unit)
            ));
        };
        total += nanoseconds(whole, fraction, *scale).ok_or_else(invalid)?;
        rest = after;
    }
    i64::try_from(sign * total).ok().ok_or_else(invalid)
}

fn split_at_first(text: &str, stop: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(stop).unwrap_or(text.len()))
}

fn nanoseconds(whole: &str, fraction: &str, scale: i128) -> Option<i128> {
    let whole: i128 = if whole.is_empty() {
        0
    } else {
        whole.parse::<u64>().ok()?.into()
    };
    let mut sum = whole * scale;
    let mut part = scale;
    for digit in fraction.chars().take(18) {
        part /= 10;
        sum += i128::from(digit.to_digit(10)?) * part;
    }
    Some(sum)
}

/// Writes a duration as Go prints it: `1m30s`, `1.5s`, `200ms`, `0s`.
#[must_use]
pub fn format_duration(nanoseconds: i64) -> String {
    let total = nanoseconds.unsigned_abs();
    let sign = if nanoseconds < 0 { "-" } else { "" };
    if total == 0 {
        return "0s".to_owned();
    }
    for (unit, scale) in [("ns", 1), ("µs", 1_000), ("ms", 1_000_000)] {
        if total < scale * 1_000 {
            return format!("{sign}{}{unit}", decimal(total, scale));
        }
    }
    let minutes = total / 60_000_000_000;
    let seconds = decimal(total % 60_000_000_000, 1_000_000_000);
    match (minutes / 60, minutes % 60) {
        (0, 0) => format!("{sign}{seconds}s"),
        (0, minutes) => format!("{sign}{minutes}m{seconds}s"),
        (hours, minutes) => format!("{sign}{hours}h{minutes}m{seconds}s"),
    }
}

/// `value / scale` without zeros at the end.
fn decimal(value: u64, scale: u64) -> String {
    let fraction = value % scale;
    if fraction == 0 {
        return (value / scale).to_string();
    }
    let width = scale.ilog10() as usize;
    let digits = format!("{fraction:0width$}");
    format!("{}.{}", value / scale, digits.trim_end_matches('0'))
}

#[cfg(test)]
mod tests {
    use super::{format_duration, parse_duration};

    #[test]
    fn durations_read_and_print_as_gos_do() {
        for (text, printed) in [
            ("5s", "5s"),
            ("1m30s", "1m30s"),
            ("90s", "1m30s"),
            ("1h", "1h0m0s"),
            ("1.5s", "1.5s"),
            (".5s", "500ms"),
            ("1500us", "1.5ms"),
            ("0", "0s"),
            ("-2m", "-2m0s"),
            ("7ns", "7ns"),
        ] {
            assert_eq!(
                parse_duration(text).map(format_duration).as_deref(),
                Ok(printed),
                "{text}"
            );
        }
        assert_eq!(
            parse_duration("10"),
            Err("time: missing unit in duration \"10\"".into())
        );
        assert_eq!(
            parse_duration("x"),
            Err("time: invalid duration \"x\"".into())
        );
        assert_eq!(
            parse_duration("1x"),
            Err("time: unknown unit \"x\" in duration \"1x\"".into())
        );
        assert!(parse_duration("99999999999h").is_err());
    }
}
