//! One file of a log that is being read, compressed or not.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
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
    /// Bytes that were read to look at them.
    unread: Vec<u8>,
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
            unread: Vec::new(),
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
        if !self.unread.is_empty() {
            let count = self.unread.len().min(buffer.len());
            for (to, from) in buffer.iter_mut().zip(self.unread.drain(..count)) {
                *to = from;
            }
            return Ok(count);
        }
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

impl Segment {
    /// Looks at the first bytes of a file that was not read yet; there may be fewer.
    pub(crate) fn head(&mut self, length: usize) -> io::Result<Vec<u8>> {
        let mut head = vec![0; length];
        let mut have = 0;
        while let Some(room) = head.get_mut(have..).filter(|room| !room.is_empty()) {
            match self.read(room)? {
                0 => break,
                count => have += count,
            }
        }
        head.truncate(have);
        self.unread.clone_from(&head);
        Ok(head)
    }

    /// Passes over the first bytes of a file of which only the head was looked at. Returns how many.
    pub(crate) fn skip(&mut self, length: u64) -> io::Result<u64> {
        if let Some(file) = self.plain() {
            let length = length.min(file.metadata()?.len());
            file.seek(SeekFrom::Start(length))?;
            self.unread.clear();
            return Ok(length);
        }
        let mut buffer = vec![0; 64 << 10];
        let mut passed = 0;
        while passed < length {
            let most = usize::try_from(length - passed).unwrap_or(usize::MAX);
            let most = most.min(buffer.len());
            match self.read(buffer.get_mut(..most).unwrap_or_default())? {
                0 => break,
                count => passed += u64::try_from(count).unwrap_or_default(),
            }
        }
        Ok(passed)
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
