//! What is sent: entries as messages of a protocol.

use arca_shim_proto::LogSpec;

use super::fluentd::Fluentd;
use super::gelf::Gelf;
use super::journald::Journald;
use super::syslog::Syslog;
use crate::batch::{Entry, Source};
use crate::writer::MAX_ENTRY;

/// Messages one behind the other.
#[derive(Debug, Default)]
pub(crate) struct Messages {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Messages {
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The messages, for receivers that take one at a time.
    pub(crate) fn each(&self) -> impl Iterator<Item = &[u8]> {
        let mut begin = 0;
        self.ends.iter().map(move |end| {
            let message = self.bytes.get(begin..*end).unwrap_or_default();
            begin = *end;
            message
        })
    }

    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }

    /// Appends a message that `write` writes.
    pub(crate) fn push(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        write(&mut self.bytes);
        self.ends.push(self.bytes.len());
    }
}

/// An entry that is sent: its text, and which part of a line it is.
#[derive(Debug, Clone)]
pub(crate) struct Line<'a> {
    pub(crate) entry: Entry<'a>,
    /// Without the newline.
    pub(crate) text: &'a [u8],
    pub(crate) part: Option<Part>,
}

/// A part of a line that is too long for one entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Part {
    /// The same for all parts.
    pub(crate) id: String,
    /// From 1 on.
    pub(crate) ordinal: u64,
    pub(crate) last: bool,
}

impl Line<'_> {
    /// The severity of syslog: error for standard error, else informational.
    pub(crate) fn level(&self) -> u8 {
        match self.entry.source {
            Source::Stdout => 6,
            Source::Stderr => 3,
        }
    }
}

/// Numbers the parts of long lines.
#[derive(Debug, Default)]
pub(crate) struct Parts {
    streams: [Option<(String, u64)>; 2],
}

impl Parts {
    /// What part of a line an entry is; none when it is all of it.
    pub(crate) fn of(&mut self, entry: &Entry<'_>) -> Option<Part> {
        let [stdout, stderr] = &mut self.streams;
        let stream = match entry.source {
            Source::Stdout => stdout,
            Source::Stderr => stderr,
        };
        // A shorter entry without a newline is the end of the stream.
        let goes_on = entry.is_partial() && entry.line.len() >= MAX_ENTRY;
        if !goes_on && stream.is_none() {
            return None;
        }
        let (id, before) = stream.take().unwrap_or_else(|| (random_id(), 0));
        if goes_on {
            *stream = Some((id.clone(), before + 1));
        }
        Some(Part {
            id,
            ordinal: before + 1,
            last: !goes_on,
        })
    }
}

/// 64 hexadecimal digits that nobody else has.
pub(crate) fn random_id() -> String {
    arca_types::ContainerId::random().to_string()
}

/// Makes messages of entries.
#[derive(Debug)]
pub(crate) enum Encoder {
    Syslog(Syslog),
    Gelf(Gelf),
    Fluentd(Fluentd),
    Journald(Journald),
}

impl Encoder {
    pub(crate) fn new(spec: &LogSpec) -> Result<Self, String> {
        Ok(match spec.driver.as_str() {
            "syslog" => Self::Syslog(Syslog::new(spec)?),
            "gelf" => Self::Gelf(Gelf::new(spec)),
            "fluentd" => Self::Fluentd(Fluentd::new(spec)),
            _ => Self::Journald(Journald::new(spec)),
        })
    }

    /// Appends the messages of one entry.
    pub(crate) fn encode(&mut self, line: &Line<'_>, out: &mut Messages) {
        match self {
            Self::Syslog(syslog) => syslog.encode(line, out),
            Self::Gelf(gelf) => gelf.encode(line, out),
            Self::Fluentd(fluentd) => fluentd.encode(line, out),
            Self::Journald(journald) => journald.encode(line, out),
        }
    }
}

/// The value of a name that the description of a log has.
pub(crate) fn info<'a>(spec: &'a LogSpec, name: &str) -> &'a str {
    spec.info.get(name).map_or("", String::as_str)
}
