//! Writing a log.

use std::io;

use arca_shim_proto::LogSpec;
use arca_types::Timestamp;

use crate::batch::{Piece, Source};
use crate::compact;
use crate::error::Error;
use crate::json::JsonEncoder;
use crate::limits::limits;
use crate::options::{Format, buffer_size, format};
use crate::ring::Ring;
use crate::rotation::{Compression, LogFile, mend_lines, mend_records};

/// The longest entry in bytes; a longer line becomes several.
pub const MAX_ENTRY: usize = 16 << 10;

/// Entries are collected up to this many bytes before they are written.
const BUFFER: usize = 256 << 10;

/// Writes the log of one container. Nothing is lost as long as [`Writer::flush`] is called when there
/// is nothing more to write for now; lines that are not complete wait for their end.
#[derive(Debug)]
pub struct Writer {
    sink: Option<Sink>,
    out: Vec<u8>,
    lines: [Line; 2],
}

#[derive(Debug)]
struct Sink {
    encoder: Encoder,
    file: Output,
}

/// Who writes the file.
#[derive(Debug)]
enum Output {
    /// Whoever calls.
    Here(LogFile),
    /// A thread, when it comes to it.
    Later(Ring),
}

impl Output {
    /// As the option `mode` says.
    fn of(spec: &LogSpec, file: LogFile) -> io::Result<Self> {
        match buffer_size(&spec.options) {
            Some(most) => Ring::start(file, most).map(Self::Later),
            None => Ok(Self::Here(file)),
        }
    }

    fn is_full(&self, pending: usize) -> bool {
        match self {
            Self::Here(file) => file.is_full(pending),
            Self::Later(ring) => ring.is_full(pending),
        }
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Here(file) => file.append(bytes),
            Self::Later(ring) => ring.append(bytes),
        }
    }

    fn rotate(&mut self) -> io::Result<()> {
        match self {
            Self::Here(file) => file.rotate(),
            Self::Later(ring) => {
                ring.rotate();
                Ok(())
            }
        }
    }
}

#[derive(Debug)]
enum Encoder {
    Json(JsonEncoder),
    Compact,
}

/// The line of one stream that is not complete yet.
#[derive(Debug, Default)]
struct Line {
    held: Vec<u8>,
    /// When its first part was written; all parts get this time.
    began: Option<Timestamp>,
}

impl Writer {
    /// Opens the log, to go on at its end.
    ///
    /// # Errors
    /// [`Error::Initialize`] when the options make no sense, [`Error::File`].
    pub fn open(spec: &LogSpec) -> Result<Self, Error> {
        let limits = limits(&spec.driver, &spec.options)?;
        let failed = || Error::file("open log", &spec.path);
        let (encoder, file) = match format(&spec.driver)? {
            Format::None => (None, None),
            Format::JsonFile => (
                Some(Encoder::Json(JsonEncoder::new(&spec.attrs))),
                Some(LogFile::open(&spec.path, limits, mend_lines).map_err(failed())?),
            ),
            Format::Local => (
                Some(Encoder::Compact),
                Some(LogFile::open(&spec.path, limits, mend_records).map_err(failed())?),
            ),
        };
        let file = file.map(|file| Output::of(spec, file));
        let file = file.transpose().map_err(failed())?;
        let sink = encoder
            .zip(file)
            .map(|(encoder, file)| Sink { encoder, file });
        Ok(Self {
            sink,
            out: Vec::new(),
            lines: Default::default(),
        })
    }

    /// Takes what a stream has written at `at`. An error means that some entries are lost; writing
    /// may go on.
    ///
    /// # Errors
    /// What writing to the file, or rotating it, says.
    pub fn write(&mut self, source: Source, bytes: &[u8], at: Timestamp) -> io::Result<()> {
        let Self { sink, out, lines } = self;
        let Some(sink) = sink else {
            return Ok(());
        };
        let [stdout, stderr] = lines;
        let line = match source {
            Source::Stdout => stdout,
            Source::Stderr => stderr,
        };
        let mut outcome = Ok(());
        let mut emit = |text: &[u8], complete: bool, at: Timestamp| {
            let piece = Piece {
                at,
                source,
                text,
                complete,
            };
            let emitted = sink.emit(piece, out);
            if emitted.is_err() {
                outcome = emitted;
            }
        };
        line.split(bytes, at, &mut emit);
        outcome
    }

    /// A stream has ended: what is left of its last line is an entry without a newline.
    ///
    /// # Errors
    /// As [`Writer::write`].
    pub fn finish(&mut self, source: Source, at: Timestamp) -> io::Result<()> {
        let Self { sink, out, lines } = self;
        let [stdout, stderr] = lines;
        let line = match source {
            Source::Stdout => stdout,
            Source::Stderr => stderr,
        };
        let began = line.began.take().unwrap_or(at);
        let held = std::mem::take(&mut line.held);
        let piece = Piece {
            at: began,
            source,
            text: &held,
            complete: false,
        };
        match sink {
            Some(sink) if !held.is_empty() => sink.emit(piece, out),
            _ => Ok(()),
        }
    }

    /// Writes what was collected to the file.
    ///
    /// # Errors
    /// What writing says.
    pub fn flush(&mut self) -> io::Result<()> {
        let Self { sink, out, .. } = self;
        let outcome = match sink {
            Some(sink) if !out.is_empty() => sink.file.append(out),
            _ => Ok(()),
        };
        out.clear();
        outcome
    }

    /// Nothing more is written: waits until everything is in the file.
    ///
    /// # Errors
    /// What writing says.
    pub fn complete(&mut self) -> io::Result<()> {
        self.flush()?;
        match self.sink.as_mut().map(|sink| &mut sink.file) {
            Some(Output::Later(ring)) => ring.drain(),
            Some(Output::Here(_)) | None => Ok(()),
        }
    }

    /// Gives back memory that is kept for the next entries, when there are none for some time.
    pub fn release_memory(&mut self) {
        self.out.shrink_to_fit();
    }

    /// The next rotated file that is to be compressed: run [`crate::compress`] on it elsewhere, then
    /// call [`Writer::compression_done`]. There is at most one at a time.
    ///
    /// # Errors
    /// When the files cannot be opened; the rotated file stays as it is.
    pub fn take_compression(&mut self) -> io::Result<Option<Compression>> {
        match self.sink.as_mut().map(|sink| &mut sink.file) {
            Some(Output::Here(file)) => file.take_compression(),
            Some(Output::Later(_)) | None => Ok(None),
        }
    }

    /// A compression has ended.
    ///
    /// # Errors
    /// When the outcome cannot be put in its place.
    pub fn compression_done(&mut self, success: bool) -> io::Result<()> {
        match self.sink.as_mut().map(|sink| &mut sink.file) {
            Some(Output::Here(file)) => file.compression_done(success),
            Some(Output::Later(_)) | None => Ok(()),
        }
    }
}

impl Sink {
    fn emit(&mut self, piece: Piece<'_>, out: &mut Vec<u8>) -> io::Result<()> {
        let mut outcome = Ok(());
        if self.file.is_full(out.len()) {
            outcome = self.file.append(out).and_then(|()| self.file.rotate());
            out.clear();
        } else if out.len() >= BUFFER {
            outcome = self.file.append(out);
            out.clear();
        }
        match &mut self.encoder {
            Encoder::Json(encoder) => encoder.encode(piece, out),
            Encoder::Compact => compact::encode(piece, out),
        }
        outcome
    }
}

impl Line {
    /// Cuts what was written into entries of at most [`MAX_ENTRY`] bytes, and keeps what is not the
    /// end of a line yet.
    fn split(
        &mut self,
        mut bytes: &[u8],
        at: Timestamp,
        emit: &mut impl FnMut(&[u8], bool, Timestamp),
    ) {
        while let Some(end) = memchr::memchr(b'\n', bytes) {
            let (text, rest) = bytes.split_at_checked(end).unwrap_or_default();
            bytes = rest.get(1..).unwrap_or_default();
            if self.held.is_empty() && self.began.is_none() && text.len() < MAX_ENTRY {
                emit(text, true, at);
                continue;
            }
            self.hold(text, at, emit);
            emit(&self.held, true, self.began.unwrap_or(at));
            self.held.clear();
            self.began = None;
        }
        self.hold(bytes, at, emit);
        if self.held.is_empty() {
            self.held = Vec::new();
        }
    }

    /// Keeps the beginning of a line; what is too long for one entry goes out in parts.
    fn hold(
        &mut self,
        mut text: &[u8],
        at: Timestamp,
        emit: &mut impl FnMut(&[u8], bool, Timestamp),
    ) {
        while self.held.len() + text.len() >= MAX_ENTRY {
            let room = MAX_ENTRY - self.held.len();
            let (part, rest) = text.split_at_checked(room).unwrap_or_default();
            self.held.extend_from_slice(part);
            text = rest;
            let began = *self.began.get_or_insert(at);
            emit(&self.held, false, began);
            self.held.clear();
        }
        self.held.extend_from_slice(text);
    }
}
