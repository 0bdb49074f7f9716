//! Values of options, read as Go reads them, with Go's words for what is wrong.

use std::time::Duration;

/// A size such as `10m`, in which `k` is `unit` bytes (docker/go-units, `FromHumanSize` and
/// `RAMInBytes`).
pub(crate) fn human_size(text: &str, unit: f64) -> Result<u64, String> {
    let numeric = |c: char| c.is_ascii_digit() || matches!(c, '.' | ' ');
    let end = text
        .rfind(numeric)
        .ok_or_else(|| format!("invalid size: '{text}'"))?;
    let (number, suffix) = text.split_at(end + 1);
    let number = number.strip_suffix(' ').unwrap_or(number);
    let size: f64 = number
        .parse()
        .map_err(|_error| format!("strconv.ParseFloat: parsing {number:?}: invalid syntax"))?;
    if size < 0.0 {
        return Err(format!("invalid size: '{text}'"));
    }
    let bad = || format!("invalid suffix: '{suffix}'");
    let lower = suffix.to_ascii_lowercase();
    let power = match lower.as_bytes() {
        [] | [b'b'] => 0,
        [first] | [first, b'b'] | [first, b'i', b'b'] => {
            let known = b"kmgtp"
                .iter()
                .zip(1..)
                .find(|(letter, _)| *letter == first);
            known.map(|(_, power)| power).ok_or_else(bad)?
        }
        _ => return Err(bad()),
    };
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "not negative; what is too large saturates"
    )]
    Ok((size * unit.powi(power)) as u64)
}

/// Go's `strconv.Atoi`.
pub(crate) fn integer(text: &str) -> Result<i64, String> {
    text.parse()
        .map_err(|_error| format!("strconv.Atoi: parsing {text:?}: invalid syntax"))
}

/// Go's `strconv.ParseBool`.
pub(crate) fn boolean(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(format!(
            "strconv.ParseBool: parsing {text:?}: invalid syntax"
        )),
    }
}

/// Go's `strconv.ParseUint`.
pub(crate) fn unsigned(text: &str) -> Result<u64, String> {
    text.parse()
        .map_err(|_error| format!("strconv.ParseUint: parsing {text:?}: invalid syntax"))
}

/// Go's `time.ParseDuration`, without negative ones.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let invalid = || format!("time: invalid duration {text:?}");
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total = 0.0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.');
        let (number, after) = rest.split_at(end.unwrap_or(rest.len()));
        let number: f64 = number.parse().map_err(|_error| invalid())?;
        let end = after.find(|c: char| c.is_ascii_digit() || c == '.');
        let (unit, after) = after.split_at(end.unwrap_or(after.len()));
        let seconds = match unit {
            "ns" => 1e-9,
            "us" | "\u{b5}s" | "\u{3bc}s" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            "" => return Err(format!("time: missing unit in duration {text:?}")),
            _ => return Err(format!("time: unknown unit {unit:?} in duration {text:?}")),
        };
        total += number * seconds;
        rest = after;
    }
    Duration::try_from_secs_f64(total).map_err(|_too_long| invalid())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_gos() {
        for (text, millis, again) in [
            ("1h", 3_600_000, "1h0m0s"),
            ("1m30s", 90_000, "1m30s"),
            ("1.5s", 1_500, "1.5s"),
            ("100ms", 100, "100ms"),
            ("0", 0, "0s"),
        ] {
            let parsed = duration(text).unwrap();
            assert_eq!(parsed, Duration::from_millis(millis));
            assert_eq!(arca_types::go_duration(parsed), again);
        }
        for (text, why) in [
            ("zz", "time: invalid duration \"zz\""),
            ("1", "time: missing unit in duration \"1\""),
            ("1x", "time: unknown unit \"x\" in duration \"1x\""),
        ] {
            assert_eq!(duration(text).unwrap_err(), why);
        }
    }
}
