//! Times in queries: seconds since the epoch with an optional fraction, as Docker's clients send them.

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

#[cfg(test)]
mod tests {
    use super::*;

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
