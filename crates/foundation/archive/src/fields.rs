//! Single fields of a header, where the `tar` crate does not say all of it.

use std::io;

use tar::{EntryType, Header};

use crate::error::{Error, text};
use crate::reader::{BLOCK, Kind};

/// The sum of all bytes with those of the checksum taken as spaces; some add them as signed.
pub(crate) fn check_sum(block: &[u8; BLOCK]) -> Result<(), Error> {
    let stored = Header::from_byte_slice(block).cksum();
    let stored = stored.map_err(|_error| Error::Header("checksum"))?;
    let (mut unsigned, mut signed) = (0_u32, 0_i32);
    for (at, byte) in block.iter().enumerate() {
        let byte = if (148..156).contains(&at) {
            b' '
        } else {
            *byte
        };
        unsigned += u32::from(byte);
        signed += i32::from(byte.cast_signed());
    }
    if stored == unsigned || i32::try_from(stored) == Ok(signed) {
        Ok(())
    } else {
        Err(Error::Header("checksum"))
    }
}

/// The numbers of a header: mode, owner, group, size, time, device.
const NUMBERS: [std::ops::Range<usize>; 7] = [
    100..108,
    108..116,
    116..124,
    124..136,
    136..148,
    329..337,
    337..345,
];

/// A number of which nothing is written is 0, as for Go and GNU tar.
pub(crate) fn fill_blanks(block: &mut [u8; BLOCK]) {
    for range in NUMBERS {
        let Some(field) = block.get_mut(range) else {
            continue;
        };
        if field.iter().all(|byte| matches!(byte, 0 | b' ')) {
            field.fill(b'0');
            if let Some(end) = field.last_mut() {
                *end = 0;
            }
        }
    }
}

pub(crate) fn kind(
    header: &Header,
    path: &[u8],
    long_link: Option<Vec<u8>>,
) -> Result<Kind, Error> {
    let link = || long_link.or_else(|| header.link_name_bytes().map(|name| name.into_owned()));
    let device = |number: io::Result<Option<u32>>| {
        number.ok().flatten().ok_or(Error::Header("device number"))
    };
    Ok(match header.entry_type() {
        // Archives of old mark a directory by the end of its name only.
        EntryType::Regular if path.ends_with(b"/") => Kind::Directory,
        EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => Kind::File,
        EntryType::Directory => Kind::Directory,
        EntryType::Symlink => Kind::Symlink(link().unwrap_or_default()),
        EntryType::Link => Kind::HardLink(link().unwrap_or_default()),
        EntryType::Char => Kind::Char(
            device(header.device_major())?,
            device(header.device_minor())?,
        ),
        EntryType::Block => Kind::Block(
            device(header.device_major())?,
            device(header.device_minor())?,
        ),
        EntryType::Fifo => Kind::Fifo,
        other => {
            return Err(Error::UnknownType {
                path: text(path),
                kind: other.as_byte(),
            });
        }
    })
}

/// The time of the header; GNU keeps times before 1970 as negative binary numbers.
pub(crate) fn mtime(header: &Header) -> Result<i64, Error> {
    let field = header.as_old().mtime;
    if let [0xff, rest @ ..] = field {
        let mut seconds = -1_i64;
        for byte in rest {
            seconds = (seconds << 8) | i64::from(byte);
        }
        return Ok(seconds);
    }
    let seconds = header.mtime().map_err(|_error| Error::Header("mtime"))?;
    i64::try_from(seconds).map_err(|_too_large| Error::Header("mtime"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Reader;

    #[test]
    fn numbers_left_blank_are_zero() {
        let mut header = Header::new_ustar();
        header.set_path("file").unwrap();
        header.set_mode(0o644);
        header.set_size(0);
        for (field, blank) in [(108..116, b' '), (116..124, 0), (136..148, b' ')] {
            header.as_mut_bytes()[field].fill(blank);
        }
        header.set_cksum();
        let archive = [header.as_bytes().as_slice(), &[0; 1024]].concat();
        let mut reader = Reader::new(archive.as_slice());
        let entry = reader.next_entry().unwrap().unwrap();
        assert_eq!(
            (entry.uid, entry.gid, entry.mtime, entry.mode),
            (0, 0, (0, 0), 0o644)
        );
    }
}
