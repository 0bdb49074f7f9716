//! Times as text and back, remembering the last second: entries come in order.

use arca_types::Timestamp;

/// The length of `2006-01-02T15:04:05`.
const SECONDS: usize = 19;

/// Writes times.
#[derive(Debug, Default)]
pub(crate) struct TimeWriter {
    seconds: Option<i64>,
    text: String,
}

impl TimeWriter {
    /// Appends Go's `RFC3339Nano`: no trailing zeros in the fraction.
    pub(crate) fn shortest(&mut self, at: Timestamp, out: &mut Vec<u8>) {
        self.prefix(at, out);
        if at.nanoseconds() != 0 {
            let digits = digits(at.nanoseconds());
            let zeros = digits
                .iter()
                .rev()
                .take_while(|digit| **digit == b'0')
                .count();
            out.push(b'.');
            out.extend(digits.iter().take(digits.len() - zeros));
        }
        out.push(b'Z');
    }

    /// Appends dockerd's `RFC3339NanoFixed`: nine digits in the fraction.
    pub(crate) fn fixed(&mut self, at: Timestamp, out: &mut Vec<u8>) {
        self.prefix(at, out);
        out.push(b'.');
        out.extend_from_slice(&digits(at.nanoseconds()));
        out.push(b'Z');
    }

    fn prefix(&mut self, at: Timestamp, out: &mut Vec<u8>) {
        if self.seconds != Some(at.seconds()) {
            self.text = Timestamp::from_unix(at.seconds(), 0).to_string();
            self.text.pop();
            self.seconds = Some(at.seconds());
        }
        out.extend_from_slice(self.text.as_bytes());
    }
}

fn digits(mut nanoseconds: u32) -> [u8; 9] {
    let mut digits = [b'0'; 9];
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + u8::try_from(nanoseconds % 10).unwrap_or(0);
        nanoseconds /= 10;
    }
    digits
}

/// Reads times.
#[derive(Debug, Default)]
pub(crate) struct TimeReader {
    prefix: [u8; SECONDS],
    seconds: i64,
}

impl TimeReader {
    /// Reads RFC 3339.
    pub(crate) fn read(&mut self, text: &[u8]) -> Option<Timestamp> {
        let (prefix, rest) = text.split_first_chunk::<SECONDS>()?;
        let Some(fraction) = rest.strip_suffix(b"Z") else {
            return std::str::from_utf8(text).ok()?.parse().ok();
        };
        if *prefix != self.prefix {
            let whole = format!("{}Z", std::str::from_utf8(prefix).ok()?);
            self.seconds = whole.parse::<Timestamp>().ok()?.seconds();
            self.prefix = *prefix;
        }
        let nanoseconds = match fraction.split_first() {
            None => 0,
            Some((b'.', digits)) if (1..=9).contains(&digits.len()) => {
                let mut value = 0_u32;
                for digit in digits
                    .iter()
                    .chain(std::iter::repeat_n(&b'0', 9 - digits.len()))
                {
                    value = value * 10 + char::from(*digit).to_digit(10)?;
                }
                value
            }
            Some(_) => return None,
        };
        Some(Timestamp::from_unix(self.seconds, nanoseconds))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_go_does() {
        let mut writer = TimeWriter::default();
        let mut text = |at, fixed| {
            let mut out = Vec::new();
            if fixed {
                writer.fixed(at, &mut out)
            } else {
                writer.shortest(at, &mut out)
            }
            String::from_utf8(out).unwrap()
        };
        let at = Timestamp::from_unix(1_700_000_000, 120_000_000);
        assert_eq!(text(at, false), "2023-11-14T22:13:20.12Z");
        assert_eq!(text(at, true), "2023-11-14T22:13:20.120000000Z");
        let whole = Timestamp::from_unix(1_700_000_001, 0);
        assert_eq!(text(whole, false), "2023-11-14T22:13:21Z");
        assert_eq!(text(whole, true), "2023-11-14T22:13:21.000000000Z");
    }

    #[test]
    fn times_are_read_back() {
        let mut reader = TimeReader::default();
        for (text, nanoseconds) in [
            ("2023-11-14T22:13:20.12Z", 120_000_000),
            ("2023-11-14T22:13:20Z", 0),
            ("2023-11-14T22:13:20.000000001Z", 1),
            ("2023-11-14T23:13:20.5+01:00", 500_000_000),
        ] {
            let expected = Timestamp::from_unix(1_700_000_000, nanoseconds);
            assert_eq!(reader.read(text.as_bytes()), Some(expected), "{text}");
        }
        for text in [
            "",
            "2023-11-14T22:13:20.Z",
            "2023-11-14T22:13:20.1x",
            "2023-13-14T22:13:20Z",
        ] {
            assert_eq!(reader.read(text.as_bytes()), None, "{text}");
        }
    }
}
