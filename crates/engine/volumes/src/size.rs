//! Sizes as people write them.

/// Reads a number of bytes with a unit of powers of 1024: `64m`, `1.5GiB`, `4096`.
#[must_use]
pub(crate) fn parse_size(text: &str) -> Option<u64> {
    let end = text
        .find(|letter: char| !letter.is_ascii_digit() && letter != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(end)?;
    let number: f64 = number.parse().ok()?;
    let unit = unit.trim_start().to_ascii_lowercase();
    let shift = match unit.trim_end_matches('b').trim_end_matches('i') {
        "" if unit != "i" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        "p" => 50,
        _ => return None,
    };
    let bytes = number * (1_u64 << shift) as f64;
    // More than a file can hold, or less than nothing.
    if !(0.0..9e18).contains(&bytes) {
        return None;
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the range was checked"
    )]
    let bytes = bytes as u64;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_of_1024() {
        for (text, bytes) in [
            ("1m", Some(1 << 20)),
            ("1.5GiB", Some(3 << 29)),
            ("10 kb", Some(10 << 10)),
            ("4096", Some(4096)),
            ("7b", Some(7)),
            ("xx", None),
            ("", None),
            ("1i", None),
            ("-1", None),
            ("99999999p", None),
        ] {
            assert_eq!(parse_size(text), bytes, "{text}");
        }
    }
}
