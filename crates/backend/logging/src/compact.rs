//! The format of `local`: records of a length, the time, the stream, the bytes, and the length again,
//! so that it can be read from the end. All numbers are little-endian.
//!
//! ```text
//! u32 length of time, stream and bytes | i64 seconds | u32 nanoseconds | u8 stream | bytes | u32 length
//! ```

use arca_types::Timestamp;

use crate::batch::{Batch, Piece, Source};

/// Time and stream.
const FIXED: usize = 13;
/// What a record has beside its bytes.
pub(crate) const OVERHEAD: usize = FIXED + 8;
/// A record that claims to be longer is damage.
pub(crate) const MAX_RECORD: usize = 1 << 20;

/// Appends one entry.
pub(crate) fn encode(piece: Piece<'_>, out: &mut Vec<u8>) {
    let length = FIXED + piece.text.len() + usize::from(piece.complete);
    let length = u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes();
    out.extend_from_slice(&length);
    out.extend_from_slice(&piece.at.seconds().to_le_bytes());
    out.extend_from_slice(&piece.at.nanoseconds().to_le_bytes());
    out.push(match piece.source {
        Source::Stdout => 1,
        Source::Stderr => 2,
    });
    out.extend_from_slice(piece.text);
    if piece.complete {
        out.push(b'\n');
    }
    out.extend_from_slice(&length);
}

/// What is at the beginning of some bytes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Decoded {
    /// A record of this many bytes, whose entry has this time.
    Record(usize, Timestamp),
    /// The beginning of a record.
    Incomplete,
    /// No record, as after a crash of the host: nothing behind it can be understood.
    Damage,
}

/// Reads the record at the beginning of `bytes` into `batch`.
pub(crate) fn decode(bytes: &[u8], batch: &mut Batch) -> Decoded {
    let Some((length, rest)) = bytes.split_first_chunk::<4>() else {
        return Decoded::Incomplete;
    };
    let size = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
    if !(FIXED..=MAX_RECORD).contains(&size) {
        return Decoded::Damage;
    }
    let Some((record, rest)) = rest.split_at_checked(size) else {
        return Decoded::Incomplete;
    };
    match rest.first_chunk::<4>() {
        None => Decoded::Incomplete,
        Some(again) if again != length => Decoded::Damage,
        Some(_) => match entry(record, batch) {
            Some(at) => Decoded::Record(size + 8, at),
            None => Decoded::Damage,
        },
    }
}

fn entry(record: &[u8], batch: &mut Batch) -> Option<Timestamp> {
    let (seconds, rest) = record.split_first_chunk::<8>()?;
    let (nanoseconds, rest) = rest.split_first_chunk::<4>()?;
    let (source, line) = match rest.split_first()? {
        (1, line) => (Source::Stdout, line),
        (2, line) => (Source::Stderr, line),
        _ => return None,
    };
    let at = Timestamp::from_unix(
        i64::from_le_bytes(*seconds),
        u32::from_le_bytes(*nanoseconds),
    );
    batch.arena.extend_from_slice(line);
    batch.push(at, source, line.len(), 0);
    Some(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_back_and_a_torn_one_is_awaited() {
        let at = Timestamp::from_unix(7, 9);
        let mut bytes = Vec::new();
        let piece = Piece {
            at,
            source: Source::Stderr,
            text: b"line",
            complete: true,
        };
        encode(piece, &mut bytes);
        let mut batch = Batch::default();
        assert_eq!(decode(&bytes, &mut batch), Decoded::Record(bytes.len(), at));
        let entry = batch.entries().next().unwrap();
        assert_eq!((entry.source, entry.line), (Source::Stderr, &b"line\n"[..]));
        for torn in 0..bytes.len() {
            assert_eq!(decode(&bytes[..torn], &mut batch), Decoded::Incomplete);
        }
        bytes[0] ^= 1;
        bytes.push(0);
        assert_eq!(decode(&bytes, &mut batch), Decoded::Damage);
    }
}
