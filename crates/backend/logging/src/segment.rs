//! One file of a log that is being read, compressed or not.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use flate2::read::MultiGzDecoder;

use crate::files::{Rotated, compressed, list_rotated, rotated};

/// What tells a file from others, whatever its name.
pub(crate) type Identity = (u64, u64);

/// A file that is being read from its beginning to its end.
#[derive(Debug)]
pub(crate) struct Segment {
    input: Input,
    pub(crate) identity: Identity,
    /// When it was last written, in seconds since 1970.
    pub(crate) written: i64,
}

#[derive(Debug)]
enum Input {
    Plain(File),
    Compressed(Box<MultiGzDecoder<File>>),
}

impl Segment {
    fn open(path: &Path, gz: bool) -> io::Result<Self> {
        let file = File::open(path)?;
        let data = file.metadata()?;
        let identity = (data.dev(), data.ino());
        let written = data.mtime();
        let input = if gz {
            Input::Compressed(Box::new(MultiGzDecoder::new(file)))
        } else {
            Input::Plain(file)
        };
        Ok(Self {
            input,
            identity,
            written,
        })
    }

    /// The file, if it is not compressed.
    pub(crate) fn plain(&mut self) -> Option<&mut File> {
        match &mut self.input {
            Input::Plain(file) => Some(file),
            Input::Compressed(_) => None,
        }
    }

    /// Reads the next bytes; none at the end.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let result = match &mut self.input {
                Input::Plain(file) => file.read(buffer),
                Input::Compressed(decoder) => decoder.read(buffer),
            };
            match result {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // A file that a crash has cut short ends there.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(0),
                result => return result,
            }
        }
    }
}

/// The identity of the file at `path`, if there is one.
pub(crate) fn identity(path: &Path) -> io::Result<Option<Identity>> {
    match std::fs::metadata(path) {
        Ok(data) => Ok(Some((data.dev(), data.ino()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Opens all files of the log at `path`, the oldest first. `true` when the last is the current one;
/// there is none before the first start.
pub(crate) fn open_all(path: &Path) -> io::Result<(Vec<Segment>, bool)> {
    loop {
        // The current file last: if it is the same as before, nothing was rotated meanwhile.
        let before = identity(path)?;
        let mut segments = Vec::new();
        let mut missed = false;
        for (index, gz) in list_rotated(path)? {
            match open_rotated(path, (index, gz))? {
                Some(segment) => segments.push(segment),
                None => missed = true,
            }
        }
        let current = match Segment::open(path, false) {
            Ok(segment) => Some(segment),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let now = current.as_ref().map(|segment| segment.identity);
        if now == before && !missed {
            let live = current.is_some();
            segments.extend(current);
            return Ok((segments, live));
        }
    }
}

/// Opens a rotated file, which may just have been compressed; `None` when it is gone.
fn open_rotated(path: &Path, (index, gz): Rotated) -> io::Result<Option<Segment>> {
    let name = |gz: bool| {
        if gz {
            compressed(path, index)
        } else {
            rotated(path, index)
        }
    };
    for gz in [gz, true] {
        match Segment::open(&name(gz), gz) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            result => return result.map(Some),
        }
    }
    Ok(None)
}
