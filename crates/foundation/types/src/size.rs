//! Sizes as people write them.

/// Reads a number of bytes with an optional unit of powers of 1024: `64m`, `1.5GiB`, `4096`.
#[must_use]
pub fn parse_size(text: &str) -> Option<u64> {
    let end = text
        .find(|letter: char| !letter.is_ascii_digit() && letter != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(end)?;
    let number: f64 = number.parse().ok()?;
    let unit = unit.trim_start().to_ascii_lowercase();
    let shift = match unit.as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        "p" | "pb" | "pib" => 50,
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
            ("64MiB", Some(64 << 20)),
            ("1.5GiB", Some(3 << 29)),
            ("1.5g", Some(3 << 29)),
            ("10 kb", Some(10 << 10)),
            ("4096", Some(4096)),
            ("7b", Some(7)),
            ("xx", None),
            ("", None),
            ("1i", None),
            ("1ib", None),
            ("1mbb", None),
            ("1.2.3k", None),
            ("-1", None),
            ("99999999p", None),
        ] {
            assert_eq!(parse_size(text), bytes, "{text}");
        }
    }
}
