//! The contents of regular files.

use std::io::BufRead;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::error::Error;
use crate::reader::{Entry, Reader};
use crate::sparse::Segment;

/// Makes the file `name`, which must not exist, for writing.
pub(super) fn create(parent: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(parent, name, flags, Mode::from_raw_mode(0o600))
}

/// Writes the data of `entry`, leaving holes where it has some.
pub(super) fn fill(
    file: &OwnedFd,
    entry: &Entry,
    data: &mut Reader<impl BufRead>,
) -> Result<(), Error> {
    let failed = || Error::tree("write", &entry.path);
    let Some(segments) = &entry.segments else {
        return copy(
            file,
            entry,
            data,
            Segment {
                offset: 0,
                length: entry.size,
            },
        );
    };
    for segment in segments {
        copy(file, entry, data, *segment)?;
    }
    rustix::fs::ftruncate(file, entry.size).map_err(failed())
}

/// Writes one part straight out of the reader's buffer.
fn copy(
    file: &OwnedFd,
    entry: &Entry,
    data: &mut Reader<impl BufRead>,
    mut part: Segment,
) -> Result<(), Error> {
    while part.length > 0 {
        let chunk = data.fill_buf().map_err(|error| match error.kind() {
            std::io::ErrorKind::UnexpectedEof => Error::Truncated,
            _ => Error::Read(error),
        })?;
        if chunk.is_empty() {
            return Err(Error::Truncated);
        }
        let limit = usize::try_from(part.length)
            .unwrap_or(usize::MAX)
            .min(chunk.len());
        let chunk = chunk.get(..limit).unwrap_or_default();
        let written = match rustix::io::pwrite(file, chunk, part.offset) {
            Err(Errno::INTR) => 0,
            written => written.map_err(Error::tree("write", &entry.path))?,
        };
        data.consume(written);
        part.offset += written as u64;
        part.length -= written as u64;
    }
    Ok(())
}
