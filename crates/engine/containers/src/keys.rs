//! Key sequences that detach a client (`detachKeys`).

use crate::Error;

/// `ctrl-p,ctrl-q`.
const DEFAULT: [u8; 2] = [16, 17];

/// The bytes of a sequence such as `ctrl-p,ctrl-q` or `a,b`; the default for `None` and nothing.
///
/// # Errors
/// [`Error::Invalid`] with dockerd's text.
pub(crate) fn parse(keys: Option<&str>) -> Result<Vec<u8>, Error> {
    let Some(keys) = keys.filter(|keys| !keys.is_empty()) else {
        return Ok(DEFAULT.to_vec());
    };
    keys.split(',')
        .map(|key| {
            key_byte(key)
                .ok_or_else(|| Error::Invalid(format!("Invalid detach keys ({keys}) provided")))
        })
        .collect()
}

fn key_byte(key: &str) -> Option<u8> {
    match key.as_bytes() {
        [byte] => Some(*byte),
        [b'D', b'E', b'L'] => Some(127),
        [b'c', b't', b'r', b'l', b'-', key] => match key {
            b'a'..=b'z' => Some(key - b'a' + 1),
            b'@' => Some(0),
            b'[' => Some(27),
            b'\\' => Some(28),
            b']' => Some(29),
            b'^' => Some(30),
            b'_' => Some(31),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences_become_bytes() {
        assert_eq!(parse(None).unwrap(), [16, 17]);
        assert_eq!(parse(Some("")).unwrap(), [16, 17]);
        assert_eq!(
            parse(Some("ctrl-a,x,ctrl-@,DEL")).unwrap(),
            [1, b'x', 0, 127]
        );
        let error = parse(Some("ctrl-A")).unwrap_err().to_string();
        assert_eq!(error, "Invalid detach keys (ctrl-A) provided");
    }
}
