//! Reading a log back.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;

use arca_shim_proto::LogSpec;
use arca_types::Timestamp;
use serde::{Deserialize, Serialize};

use crate::batch::Batch;
use crate::compact::{self, Decoded};
use crate::error::Error;
use crate::follow::Watch;
use crate::json::JsonDecoder;
use crate::options::{Format, format, is_unreadable};
use crate::segment::{Segment, identity, open_all};
use crate::tail;

/// How much is read at once.
const CHUNK: usize = 256 << 10;

/// As much of a file's first entry tells it from others.
const HEAD: usize = 64;

/// A place between two entries of a log. It is found again after rotation and compression.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// How the file begins.
    head: Vec<u8>,
    /// Bytes of the file before the place, when it is not compressed.
    offset: u64,
}

/// Which entries are wanted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ReadOptions {
    /// Not those written before this time.
    pub since: Option<Timestamp>,
    /// Not those written after this time; the first one ends the reading.
    pub until: Option<Timestamp>,
    /// Of all that are there now, only the last so many.
    pub tail: Option<u64>,
    /// Go on with what is written from now on.
    pub follow: bool,
}

/// How far reading has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// There are entries in the batch, and there may be more.
    Entries,
    /// Everything that is there was read: ask again when [`Reader::notifier`] is readable.
    Pending,
    /// Everything was read, and nothing more is wanted.
    End,
}

/// Reads the log of one container, rotated files included, from the oldest entry on. It blocks for
/// the disk only.
#[derive(Debug)]
pub struct Reader {
    path: PathBuf,
    format: Format,
    options: ReadOptions,
    decoder: JsonDecoder,
    segments: VecDeque<Segment>,
    /// The last of the segments is the file that is being written.
    live: bool,
    watch: Option<Watch>,
    /// Bytes that were read and are not decoded: from `used` on.
    buffer: Vec<u8>,
    used: usize,
    /// Entries to pass over.
    skip: u64,
    /// The time of the last entry, and how many entries in a row had it.
    last: Option<(Timestamp, u64)>,
    /// After a rotation that went too far: entries up to this one were seen.
    seen: Option<(Timestamp, u64)>,
    done: bool,
    /// Where in the first segment the entries end that were read.
    at: Cursor,
}

impl Reader {
    /// Opens a log, which may not exist yet.
    ///
    /// # Errors
    /// [`Error::NoReading`] for the driver `none`, and for a log that is kept to be sent only;
    /// [`Error::File`].
    pub fn open(spec: &LogSpec, options: ReadOptions) -> Result<Self, Error> {
        if is_unreadable(spec) {
            return Err(Error::NoReading);
        }
        let mut reader = Self::begin(spec, options)?;
        reader
            .position()
            .map_err(Error::file("open log", &spec.path))?;
        Ok(reader)
    }

    /// Opens a log to go on at a place; where that is no more, at the oldest entry there is.
    pub(crate) fn resume(spec: &LogSpec, at: &Cursor, follow: bool) -> Result<Self, Error> {
        let options = ReadOptions {
            follow,
            ..ReadOptions::default()
        };
        let mut reader = Self::begin(spec, options)?;
        reader
            .seek(at)
            .map_err(Error::file("open log", &spec.path))?;
        Ok(reader)
    }

    fn begin(spec: &LogSpec, options: ReadOptions) -> Result<Self, Error> {
        let format = format(&spec.driver)?;
        if format == Format::None {
            return Err(Error::NoReading);
        }
        let failed = || Error::file("open log", &spec.path);
        // The watch comes first: what is written after the look at the files is noticed.
        let watch = options
            .follow
            .then(|| Watch::new(&spec.path))
            .transpose()
            .map_err(failed())?;
        let (segments, live) = open_all(&spec.path).map_err(failed())?;
        Ok(Self {
            path: spec.path.clone(),
            format,
            options,
            decoder: JsonDecoder::default(),
            segments: segments.into(),
            live,
            watch,
            buffer: Vec::new(),
            used: 0,
            skip: 0,
            last: None,
            seen: None,
            done: false,
            at: Cursor::default(),
        })
    }

    /// The place behind the entries that were read.
    pub(crate) fn cursor(&self) -> Cursor {
        self.at.clone()
    }

    /// Goes to a place; `false` when it is no more.
    fn seek(&mut self, at: &Cursor) -> io::Result<bool> {
        if at.head.is_empty() {
            return Ok(false);
        }
        for index in 0..self.segments.len() {
            let Some(segment) = self.segments.get_mut(index) else {
                break;
            };
            if segment.head(at.head.len())? == at.head {
                let offset = segment.skip(at.offset)?;
                self.segments.drain(..index);
                self.at = Cursor {
                    head: at.head.clone(),
                    offset,
                };
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Gets hold of all files there are: they can be read when they are removed.
    pub(crate) fn hold(&mut self) -> io::Result<()> {
        let (segments, live) = open_all(&self.path)?;
        let last = self.segments.back().map(|segment| segment.identity);
        let mut segments = VecDeque::from(segments);
        let known = segments
            .iter()
            .position(|segment| Some(segment.identity) == last);
        match known {
            Some(known) => drop(segments.drain(..=known)),
            // What is read now was rotated more than once: `reopen` passes over what was seen.
            None if last.is_some() => return Ok(()),
            None => {}
        }
        self.segments.extend(segments);
        self.live = live;
        Ok(())
    }

    /// Passes over what is not wanted, without decoding it.
    fn position(&mut self) -> io::Result<()> {
        if let Some(since) = self.options.since {
            while self.segments.len() > usize::from(self.live)
                && self
                    .segments
                    .front()
                    .is_some_and(|first| first.written < since.seconds())
                && self.options.tail.is_none()
            {
                self.segments.pop_front();
            }
        }
        if let Some(wanted) = self.options.tail {
            let path = self.path.clone();
            let reopen = || open_all(&path).map(|(segments, _)| segments.into());
            self.skip = tail::seek(&mut self.segments, reopen, self.format, wanted)?;
        }
        Ok(())
    }

    /// Becomes readable when there may be something new; only with [`ReadOptions::follow`].
    #[must_use]
    pub fn notifier(&self) -> Option<BorrowedFd<'_>> {
        self.watch.as_ref().map(AsFd::as_fd)
    }

    /// Nothing more will be written: stop following when what is there was read.
    pub fn finish(&mut self) {
        self.options.follow = false;
    }

    /// Reads the next entries into `batch`, which is cleared first.
    ///
    /// # Errors
    /// [`Error::File`] when a file cannot be read.
    pub fn next_batch(&mut self, batch: &mut Batch) -> Result<Progress, Error> {
        batch.clear();
        self.advance(batch)
            .map_err(Error::file("read log", &self.path))
    }

    fn advance(&mut self, batch: &mut Batch) -> io::Result<Progress> {
        if let Some(watch) = &self.watch {
            watch.drain()?;
        }
        while !self.done {
            if self.fill()? {
                self.decode(batch);
                if !batch.is_empty() {
                    return Ok(Progress::Entries);
                }
            } else if self.segments.len() > usize::from(self.live) {
                self.next_segment();
            } else if self.watch.is_some() && self.reopen()? {
                // Even when it is not followed any more: it may have been rotated since.
            } else if self.options.follow {
                return Ok(Progress::Pending);
            } else {
                self.done = true;
            }
        }
        Ok(Progress::End)
    }

    /// Reads more bytes of the first segment; `false` at its end.
    fn fill(&mut self) -> io::Result<bool> {
        let Some(segment) = self.segments.front_mut() else {
            return Ok(false);
        };
        self.buffer.drain(..self.used);
        self.used = 0;
        let held = self.buffer.len();
        self.buffer.resize(held + CHUNK, 0);
        let room = self.buffer.get_mut(held..).unwrap_or_default();
        let result = segment.read(room);
        let count = result.as_ref().map_or(0, |count| *count);
        self.buffer.truncate(held + count);
        if count == 0 && held == 0 {
            self.buffer = Vec::new();
        }
        result.map(|count| count > 0)
    }

    /// Goes on with the next file. What is left of the last one is torn.
    fn next_segment(&mut self) {
        self.segments.pop_front();
        self.buffer.clear();
        self.used = 0;
        self.skip = 0;
        self.at = Cursor::default();
    }

    /// Looks whether the file that is read is still the one that is written. `true` when there is
    /// something to read.
    fn reopen(&mut self) -> io::Result<bool> {
        let current = identity(&self.path)?;
        let own = self.segments.front().map(|segment| segment.identity);
        if current == own || current.is_none() {
            return Ok(false);
        }
        let (segments, live) = open_all(&self.path)?;
        let mut segments = VecDeque::from(segments);
        let at = segments
            .iter()
            .position(|segment| Some(segment.identity) == own);
        match at {
            // What was written to the old file before it was rotated is read first, through the
            // descriptor that is open already.
            Some(at) => {
                segments.drain(..=at);
                let old = self.segments.pop_front();
                segments.extend(old);
                segments.rotate_right(1);
            }
            // Rotated more than once, and compressed or removed.
            None => {
                self.buffer.clear();
                self.used = 0;
                (self.segments, self.live) = (segments, live);
                let at = std::mem::take(&mut self.at);
                if !self.seek(&at)? {
                    // All that is newer.
                    self.seen = self.last;
                }
                return Ok(true);
            }
        }
        self.segments = segments;
        self.live = live;
        Ok(true)
    }

    /// Decodes the bytes that were read, as far as they are whole entries.
    fn decode(&mut self, batch: &mut Batch) {
        while !self.done {
            let rest = self.buffer.get(self.used..).unwrap_or_default();
            let arena = batch.arena.len();
            let (length, at) = match self.format {
                Format::Local => match compact::decode(rest, batch) {
                    Decoded::Record(length, at) => (length, Some(at)),
                    Decoded::Incomplete => return,
                    Decoded::Damage => (rest.len(), None),
                },
                Format::JsonFile | Format::None => match memchr::memchr(b'\n', rest) {
                    None => return,
                    Some(end) => {
                        let line = rest.get(..end).unwrap_or_default();
                        (end + 1, self.decoder.decode(line, batch))
                    }
                },
            };
            if self.at.offset == 0 {
                self.at.head = rest.get(..length.min(HEAD)).unwrap_or_default().to_vec();
            }
            self.at.offset += u64::try_from(length).unwrap_or_default();
            self.used += length;
            if let Some(at) = at
                && !self.wanted(at)
            {
                batch.pop(arena);
            }
        }
    }

    /// Is the entry just decoded one that is asked for?
    fn wanted(&mut self, at: Timestamp) -> bool {
        if self.skip > 0 {
            self.skip -= 1;
            return false;
        }
        if let Some((last, count)) = self.seen {
            if at < last || (at == last && count > 0) {
                self.seen = Some((last, count - u64::from(at == last)));
                return false;
            }
            self.seen = None;
        }
        self.last = match self.last {
            Some((last, count)) if last == at => Some((at, count + 1)),
            _ => Some((at, 1)),
        };
        if self.options.until.is_some_and(|until| at > until) {
            self.done = true;
            return false;
        }
        self.options.since.is_none_or(|since| at >= since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::Source;
    use crate::writer::Writer;

    fn spec(directory: &std::path::Path) -> LogSpec {
        let options = [
            ("cache-max-size", "1000"),
            ("cache-max-file", "20"),
            ("cache-compress", "true"),
        ];
        LogSpec {
            driver: "syslog".to_owned(),
            options: options.map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
            path: directory.join("container-cached.log"),
            ..LogSpec::default()
        }
    }

    fn write(writer: &mut Writer, numbers: std::ops::Range<u32>) {
        for number in numbers {
            // The clock goes backwards: places are not found by time.
            let at = Timestamp::from_unix(2_000_000_000 - i64::from(number), 0);
            let line = format!("{number}\n");
            writer.write(Source::Stdout, line.as_bytes(), at).unwrap();
        }
        writer.flush().unwrap();
    }

    fn rotate_out(writer: &mut Writer) {
        while let Some(job) = writer.take_compression().unwrap() {
            crate::rotation::compress(&job.input, &job.output).unwrap();
            writer.compression_done(true).unwrap();
        }
    }

    fn read(reader: &mut Reader) -> Vec<u32> {
        let mut batch = Batch::default();
        let mut found = Vec::new();
        while reader.next_batch(&mut batch).unwrap() == Progress::Entries {
            let number = |line: &[u8]| {
                std::str::from_utf8(line)
                    .unwrap()
                    .trim()
                    .parse::<u32>()
                    .unwrap()
            };
            found.extend(batch.entries().map(|entry| number(entry.line)));
        }
        found
    }

    #[test]
    fn a_place_is_found_again_after_rotation_and_compression() {
        for (before, after) in [(0, 10), (5, 10), (30, 33), (5, 300), (100, 400), (200, 201)] {
            let directory = tempfile::tempdir().unwrap();
            let spec = spec(directory.path());
            let mut writer = Writer::open(&spec).unwrap();
            write(&mut writer, 0..before);
            let mut reader = Reader::resume(&spec, &Cursor::default(), true).unwrap();
            assert_eq!(read(&mut reader), (0..before).collect::<Vec<_>>());
            let bytes = serde_json::to_vec(&reader.cursor()).unwrap();
            write(&mut writer, before..after);
            rotate_out(&mut writer);
            let cursor: Cursor = serde_json::from_slice(&bytes).unwrap();
            let mut resumed = Reader::resume(&spec, &cursor, true).unwrap();
            let rest: Vec<u32> = (before..after).collect();
            assert_eq!(read(&mut resumed), rest, "{before}..{after}");
            // Nobody who went on all the time sees anything else.
            assert_eq!(read(&mut reader), rest, "{before}..{after}");
        }
    }

    #[test]
    fn a_place_that_is_no_more_is_the_oldest_there_is() {
        let directory = tempfile::tempdir().unwrap();
        let spec = spec(directory.path());
        let mut writer = Writer::open(&spec).unwrap();
        write(&mut writer, 0..5);
        let mut reader = Reader::resume(&spec, &Cursor::default(), true).unwrap();
        read(&mut reader);
        write(&mut writer, 5..3000);
        let mut resumed = Reader::resume(&spec, &reader.cursor(), true).unwrap();
        let found = read(&mut resumed);
        assert!(found[0] > 5 && found.len() > 500, "{found:?}");
        assert_eq!(found.last(), Some(&2999));
        assert!(found.is_sorted());
    }

    #[test]
    fn what_is_held_can_be_read_when_it_is_removed() {
        let directory = tempfile::tempdir().unwrap();
        let spec = spec(directory.path());
        let mut writer = Writer::open(&spec).unwrap();
        let mut reader = Reader::resume(&spec, &Cursor::default(), true).unwrap();
        write(&mut writer, 0..300);
        reader.finish();
        reader.hold().unwrap();
        drop(directory);
        assert_eq!(read(&mut reader), (0..300).collect::<Vec<_>>());
    }
}
