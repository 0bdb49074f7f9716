//! PAX extended headers (POSIX.1-2001, `pax`, "pax Extended Header").

use crate::error::Error;

/// The prefix under which star, GNU tar, Go and others keep extended attributes.
pub(crate) const XATTR: &[u8] = b"SCHILY.xattr.";

/// What one extended header says about the entry behind it.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Pax {
    pub(crate) path: Option<Vec<u8>>,
    pub(crate) link: Option<Vec<u8>>,
    pub(crate) size: Option<u64>,
    pub(crate) uid: Option<u64>,
    pub(crate) gid: Option<u64>,
    pub(crate) mtime: Option<(i64, u32)>,
    pub(crate) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    pub(crate) sparse: PaxSparse,
}

/// The keywords of GNU's sparse formats 0.1 and 1.0.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct PaxSparse {
    pub(crate) name: Option<Vec<u8>>,
    /// The size with the holes.
    pub(crate) size: Option<u64>,
    /// The map of format 0.1.
    pub(crate) map: Option<Vec<u8>>,
    /// Whether the map is at the beginning of the data: format 1.0.
    pub(crate) in_data: bool,
}

impl Pax {
    /// Takes the records apart; a later record of a name replaces an earlier one.
    pub(crate) fn parse(mut data: &[u8]) -> Result<Self, Error> {
        let mut pax = Self::default();
        let mut major = None;
        while !data.is_empty() {
            let (key, value, rest) = record(data)?;
            data = rest;
            match key {
                b"path" => pax.path = Some(value.to_vec()),
                b"linkpath" => pax.link = Some(value.to_vec()),
                b"size" => pax.size = Some(number(value)?),
                b"uid" => pax.uid = Some(number(value)?),
                b"gid" => pax.gid = Some(number(value)?),
                b"mtime" => pax.mtime = Some(time(value)?),
                b"GNU.sparse.name" => pax.sparse.name = Some(value.to_vec()),
                b"GNU.sparse.size" | b"GNU.sparse.realsize" => {
                    pax.sparse.size = Some(number(value)?);
                }
                b"GNU.sparse.map" => pax.sparse.map = Some(value.to_vec()),
                b"GNU.sparse.major" => major = Some(number(value)?),
                b"GNU.sparse.offset" | b"GNU.sparse.numbytes" => {
                    return Err(Error::Header("sparse format 0.0 is not supported"));
                }
                _ => pax.note_xattr(key, value),
            }
        }
        pax.sparse.in_data = major == Some(1);
        Ok(pax)
    }

    fn note_xattr(&mut self, key: &[u8], value: &[u8]) {
        if let Some(name) = key.strip_prefix(XATTR) {
            self.xattrs.retain(|(known, _)| known != name);
            self.xattrs.push((name.to_vec(), value.to_vec()));
        }
    }
}

/// The key and the value of a record, and what is behind it.
pub(crate) type Record<'a> = (&'a [u8], &'a [u8], &'a [u8]);

/// Splits `"<length> <key>=<value>\n"` off.
pub(crate) fn record(data: &[u8]) -> Result<Record<'_>, Error> {
    const BAD: Error = Error::Header("malformed PAX record");
    let space = data
        .iter()
        .take(20)
        .position(|byte| *byte == b' ')
        .ok_or(BAD)?;
    let (digits, _) = data.split_at(space);
    let length = usize::try_from(number(digits)?).map_err(|_too_large| BAD)?;
    let (record, rest) = data.split_at_checked(length).ok_or(BAD)?;
    let record = record
        .get(space + 1..)
        .ok_or(BAD)?
        .strip_suffix(b"\n")
        .ok_or(BAD)?;
    let equals = record.iter().position(|byte| *byte == b'=').ok_or(BAD)?;
    let (key, value) = record.split_at(equals);
    let value = value.get(1..).unwrap_or_default();
    let is_text = !key.starts_with(XATTR) && key != b"GNU.sparse.map";
    if key.is_empty() || key.contains(&0) || (is_text && value.contains(&0)) {
        return Err(BAD);
    }
    Ok((key, value, rest))
}

/// Reads a decimal number.
pub(crate) fn number(digits: &[u8]) -> Result<u64, Error> {
    let text = std::str::from_utf8(digits)
        .ok()
        .filter(|text| !text.starts_with('+'));
    text.and_then(|text| text.parse().ok())
        .ok_or(Error::Header("malformed PAX number"))
}

/// Reads seconds with a fraction, which may be negative, as seconds and nanoseconds.
pub(crate) fn time(value: &[u8]) -> Result<(i64, u32), Error> {
    const BAD: Error = Error::Header("malformed PAX time");
    let text = std::str::from_utf8(value).map_err(|_not_text| BAD)?;
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let whole: i64 = seconds.parse().map_err(|_not_a_number| BAD)?;
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(BAD);
    }
    let digits: String = fraction
        .chars()
        .chain(std::iter::repeat('0'))
        .take(9)
        .collect();
    let nanoseconds: u32 = digits.parse().map_err(|_not_a_number| BAD)?;
    if text.starts_with('-') && nanoseconds > 0 {
        return Ok((whole.saturating_sub(1), 1_000_000_000 - nanoseconds));
    }
    Ok((whole, nanoseconds))
}

/// Adds a record: the length that it begins with counts itself.
pub(crate) fn push(data: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while rest + length.to_string().len() != length {
        length = rest + length.to_string().len();
    }
    data.extend_from_slice(length.to_string().as_bytes());
    data.push(b' ');
    data.extend_from_slice(key);
    data.push(b'=');
    data.extend_from_slice(value);
    data.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_taken_apart() {
        let mut data = Vec::new();
        for (key, value) in [
            ("path", &b"some/f"[..]),
            ("mtime", b"-1.25"),
            ("SCHILY.xattr.user.a", b"= \0x\n"),
        ] {
            push(&mut data, key.as_bytes(), value);
        }
        let pax = Pax::parse(&data).unwrap();
        assert_eq!(pax.path.as_deref(), Some(&b"some/f"[..]));
        assert_eq!(pax.mtime, Some((-2, 750_000_000)));
        assert_eq!(pax.xattrs, [(b"user.a".to_vec(), b"= \0x\n".to_vec())]);
    }

    #[test]
    fn malformed_records_are_refused() {
        for data in [
            "x",
            "5 a=b",
            "6 a=b\n7",
            "99999999999999999999 a=b\n",
            "5 ab\n",
            "6 =ab\n",
        ] {
            assert!(Pax::parse(data.as_bytes()).is_err(), "{data:?}");
        }
    }
}
