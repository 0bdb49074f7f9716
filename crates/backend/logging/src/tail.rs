//! Finding the beginning of the last entries, from the end.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use crate::batch::Batch;
use crate::compact::{self, Decoded, MAX_RECORD, OVERHEAD};
use crate::options::Format;
use crate::segment::Segment;

const BLOCK: u64 = 64 << 10;

/// Positions `segments` so that `wanted` entries are left. Returns how many entries of the first
/// segment are to be skipped still.
pub(crate) fn seek(
    segments: &mut VecDeque<Segment>,
    reopen: impl Fn() -> io::Result<VecDeque<Segment>>,
    format: Format,
    wanted: u64,
) -> io::Result<u64> {
    let mut missing = wanted;
    let mut keep = 0;
    let mut skip = 0;
    for segment in segments.iter_mut().rev() {
        keep += 1;
        match segment.plain() {
            Some(file) => missing -= seek_file(file, format, missing)?,
            None => {
                let count = count(segment, format)?;
                skip = count.saturating_sub(missing);
                missing = missing.saturating_sub(count);
            }
        }
        if missing == 0 {
            break;
        }
    }
    // Counting has used up a compressed file: it can be the first one only, so open it again.
    let unused = segments.len().saturating_sub(keep);
    let identities: Vec<_> = segments
        .iter()
        .skip(unused)
        .map(|segment| segment.identity)
        .collect();
    let mut fresh = reopen()?;
    for (identity, segment) in identities.iter().zip(segments.iter_mut().skip(unused)) {
        if segment.plain().is_none() {
            let at = fresh.iter().position(|other| other.identity == *identity);
            if let Some(again) = at.and_then(|at| fresh.remove(at)) {
                *segment = again;
            }
        }
    }
    segments.drain(..unused);
    Ok(skip)
}

/// Positions a file before its last `wanted` entries; returns how many there are.
fn seek_file(file: &mut File, format: Format, wanted: u64) -> io::Result<u64> {
    let size = file.seek(SeekFrom::End(0))?;
    if wanted == 0 {
        return Ok(0);
    }
    match format {
        Format::Local => seek_records(file, size, wanted),
        Format::JsonFile | Format::None => seek_lines(file, size, wanted),
    }
}

/// Looks for newlines from the end. A line that is not complete yet does not count.
fn seek_lines(file: &mut File, size: u64, wanted: u64) -> io::Result<u64> {
    let mut block = vec![0; usize::try_from(BLOCK).unwrap_or(0)];
    let mut end = size;
    // The newline at the end of the last line is not between two lines.
    let mut seen = 0_u64;
    while end > 0 {
        let start = end.saturating_sub(BLOCK);
        let length = usize::try_from(end - start).unwrap_or(0);
        let bytes = block.get_mut(..length).unwrap_or_default();
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(bytes)?;
        for at in memchr::memrchr_iter(b'\n', bytes) {
            if seen == wanted {
                let at = u64::try_from(at).unwrap_or(0);
                file.seek(SeekFrom::Start(start + at + 1))?;
                return Ok(wanted);
            }
            seen += 1;
        }
        end = start;
    }
    file.seek(SeekFrom::Start(0))?;
    Ok(seen)
}

/// Goes back from record to record by the lengths at their ends.
fn seek_records(file: &mut File, size: u64, wanted: u64) -> io::Result<u64> {
    let mut at = whole_records(file, size)?;
    let mut seen = 0;
    while at > 0 && seen < wanted {
        let Some(length) = length_before(file, at)? else {
            break;
        };
        at -= length;
        seen += 1;
    }
    file.seek(SeekFrom::Start(at))?;
    Ok(seen)
}

/// The length of the record that ends at `at`, all included; `None` when there is none.
fn length_before(file: &mut File, at: u64) -> io::Result<Option<u64>> {
    let Some(field) = at.checked_sub(4) else {
        return Ok(None);
    };
    let after = number(file, field)?;
    let length = u64::from(after) + 8;
    let possible =
        usize::try_from(after).is_ok_and(|size| size + 8 >= OVERHEAD && size <= MAX_RECORD);
    match at.checked_sub(length).filter(|_| possible) {
        Some(start) if number(file, start)? == after => Ok(Some(length)),
        _ => Ok(None),
    }
}

fn number(file: &mut File, at: u64) -> io::Result<u32> {
    let mut bytes = [0; 4];
    file.seek(SeekFrom::Start(at))?;
    file.read_exact(&mut bytes)?;
    Ok(u32::from_le_bytes(bytes))
}

/// The number of bytes at the beginning of a file of `size` bytes that are whole records.
pub(crate) fn whole_records(file: &mut File, size: u64) -> io::Result<u64> {
    if size == 0 || length_before(file, size)?.is_some() {
        return Ok(size);
    }
    let mut at = 0;
    while size - at >= 4 {
        let length = u64::from(number(file, at)?) + 8;
        let end = at.checked_add(length).filter(|end| *end <= size);
        let Some(end) = end else {
            break;
        };
        if length_before(file, end)? != Some(length) {
            break;
        }
        at = end;
    }
    Ok(at)
}

/// Counts the entries of a compressed file.
fn count(segment: &mut Segment, format: Format) -> io::Result<u64> {
    let mut buffer = vec![0; usize::try_from(BLOCK).unwrap_or(0)];
    let mut held = Vec::new();
    let mut scratch = Batch::default();
    let mut entries = 0_u64;
    loop {
        let length = segment.read(&mut buffer)?;
        let bytes = buffer.get(..length).unwrap_or_default();
        if bytes.is_empty() {
            return Ok(entries);
        }
        if format != Format::Local {
            entries += u64::try_from(memchr::memchr_iter(b'\n', bytes).count()).unwrap_or(0);
            continue;
        }
        held.extend_from_slice(bytes);
        let mut used = 0;
        while let Decoded::Record(length, _) =
            compact::decode(held.get(used..).unwrap_or_default(), &mut scratch)
        {
            used += length;
            entries += 1;
        }
        scratch.clear();
        held.drain(..used);
    }
}
