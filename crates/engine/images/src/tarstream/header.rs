//! Headers of a tar archive: POSIX ustar and pax, GNU's long names and large numbers.

use crate::error::Error;
use crate::tarstream::{BLOCK, truncated};

/// What extended headers say of the next member.
#[derive(Default)]
pub(super) struct Extension {
    pub(super) path: Option<String>,
    pub(super) link: Option<String>,
    pub(super) size: Option<u64>,
}

/// The fields of a header that matter.
pub(super) struct Header {
    pub(super) path: String,
    pub(super) link: String,
    pub(super) kind: u8,
    pub(super) size: u64,
}

impl Header {
    pub(super) fn parse(block: &[u8]) -> Result<Self, Error> {
        if block.len() < BLOCK {
            return Err(truncated());
        }
        if !checksum_is_right(block) {
            return Err(Error::Archive("invalid tar header".to_owned()));
        }
        let name = text(block, 0, 100);
        let is_ustar = block.get(257..263) == Some(b"ustar\0".as_slice());
        let prefix = if is_ustar {
            text(block, 345, 155)
        } else {
            String::new()
        };
        let path = if prefix.is_empty() {
            name
        } else {
            format!("{prefix}/{name}")
        };
        let kind = block.get(156).copied().unwrap_or_default();
        let size = number(block.get(124..136).unwrap_or_default())
            .ok_or_else(|| Error::Archive("invalid tar header".to_owned()))?;
        Ok(Self {
            path,
            link: text(block, 157, 100),
            kind,
            size,
        })
    }
}

/// Is this a tar header, by its checksum?
pub(crate) fn checksum_is_right(block: &[u8]) -> bool {
    let Some(stored) = block.get(148..156).and_then(number) else {
        return false;
    };
    let unsigned: u64 = block
        .iter()
        .take(BLOCK)
        .enumerate()
        .map(|(at, byte)| {
            if (148..156).contains(&at) {
                u64::from(b' ')
            } else {
                u64::from(*byte)
            }
        })
        .sum();
    block.len() >= BLOCK && stored == unsigned
}

fn text(block: &[u8], from: usize, length: usize) -> String {
    let field = block.get(from..from + length).unwrap_or_default();
    let end = field
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(field.len());
    String::from_utf8_lossy(field.get(..end).unwrap_or_default()).into_owned()
}

/// Octal, or GNU's binary form for large numbers. `None` for what is neither, or negative.
fn number(field: &[u8]) -> Option<u64> {
    if field.first().is_some_and(|first| first & 0x80 != 0) {
        let (first, rest) = field.split_first()?;
        if *first != 0x80 {
            return None;
        }
        return rest.iter().try_fold(0_u64, |value, byte| {
            value.checked_mul(256)?.checked_add(u64::from(*byte))
        });
    }
    let digits = field.iter().skip_while(|byte| **byte == b' ');
    let digits: Vec<u8> = digits
        .take_while(|byte| !matches!(**byte, 0 | b' '))
        .copied()
        .collect();
    digits.iter().try_fold(0_u64, |value, byte| match byte {
        b'0'..=b'7' => value.checked_mul(8)?.checked_add(u64::from(byte - b'0')),
        _ => None,
    })
}

impl Extension {
    pub(super) fn read(&mut self, kind: u8, content: &[u8]) -> Result<(), Error> {
        let whole = || text(content, 0, content.len());
        match kind {
            b'L' => self.path = Some(whole()),
            b'K' => self.link = Some(whole()),
            _ => self.read_pax(content)?,
        }
        Ok(())
    }

    /// `<length> <key>=<value>\n`, repeated (POSIX pax).
    fn read_pax(&mut self, content: &[u8]) -> Result<(), Error> {
        let malformed = || Error::Archive("invalid pax header".to_owned());
        let mut rest = content;
        while !rest.is_empty() {
            let space = rest
                .iter()
                .position(|byte| *byte == b' ')
                .ok_or_else(malformed)?;
            let digits = std::str::from_utf8(rest.get(..space).unwrap_or_default());
            let length: usize = digits
                .ok()
                .and_then(|digits| digits.parse().ok())
                .ok_or_else(malformed)?;
            let record = rest
                .get(space + 1..length.saturating_sub(1))
                .ok_or_else(malformed)?;
            let record = String::from_utf8_lossy(record);
            let (key, value) = record.split_once('=').ok_or_else(malformed)?;
            match key {
                "path" => self.path = Some(value.to_owned()),
                "linkpath" => self.link = Some(value.to_owned()),
                "size" => self.size = Some(value.parse().ok().ok_or_else(malformed)?),
                _ => {}
            }
            rest = rest.get(length..).ok_or_else(malformed)?;
        }
        Ok(())
    }
}
