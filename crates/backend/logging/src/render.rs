//! Entries as clients of `GET /containers/{id}/logs` get them.

use crate::batch::{Batch, Entry, Source};
use crate::timetext::TimeWriter;

/// What a client wants to see of a log, and how.
#[derive(Debug, Default)]
pub struct Render {
    /// Entries of standard output.
    pub stdout: bool,
    /// Entries of standard error.
    pub stderr: bool,
    /// Put the time before each entry.
    pub timestamps: bool,
    /// Put the attributes before each entry.
    pub details: bool,
    /// Put Docker's 8-byte header before each entry: the container has no terminal.
    pub framed: bool,
    time: TimeWriter,
}

impl Render {
    /// Appends the entries of a batch to `out`.
    pub fn append(&mut self, batch: &Batch, out: &mut Vec<u8>) {
        out.reserve(batch.arena.len() + batch.len() * 8);
        for entry in batch.entries() {
            self.entry(&entry, out);
        }
    }

    fn entry(&mut self, entry: &Entry<'_>, out: &mut Vec<u8>) {
        let (wanted, stream) = match entry.source {
            Source::Stdout => (self.stdout, 1),
            Source::Stderr => (self.stderr, 2),
        };
        if !wanted {
            return;
        }
        let header = out.len();
        if self.framed {
            out.extend_from_slice(&[stream, 0, 0, 0, 0, 0, 0, 0]);
        }
        let start = out.len();
        if self.timestamps {
            self.time.fixed(entry.at, out);
            out.push(b' ');
        }
        if self.details {
            details(entry, out);
            out.push(b' ');
        }
        out.extend_from_slice(entry.line);
        if self.framed {
            let length = u32::try_from(out.len() - start).unwrap_or(u32::MAX);
            if let Some(field) = out.get_mut(header + 4..header + 8) {
                field.copy_from_slice(&length.to_be_bytes());
            }
        }
    }
}

/// `name=value,name=value`, escaped as in a URL's query.
fn details(entry: &Entry<'_>, out: &mut Vec<u8>) {
    for (index, (name, value)) in entry.attributes().iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        escape(name, out);
        out.push(b'=');
        escape(value, out);
    }
}

/// Go's `url.QueryEscape`.
pub(crate) fn escape(text: &str, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let digit = |nibble: u8| HEX.get(usize::from(nibble)).copied().unwrap_or(b'0');
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(byte),
            b' ' => out.push(b'+'),
            _ => out.extend_from_slice(&[b'%', digit(byte >> 4), digit(byte & 0xf)]),
        }
    }
}

#[cfg(test)]
mod tests {
    use arca_types::Timestamp;

    use super::*;

    fn batch() -> Batch {
        let mut batch = Batch::default();
        batch
            .arena
            .extend_from_slice(b"out\n{\"b\":\"1 2\",\"a\":\"&\"}err");
        let at = Timestamp::from_unix(1_700_000_000, 5);
        batch.push(at, Source::Stdout, 4, 19);
        batch.push(at, Source::Stderr, 3, 0);
        batch
    }

    #[test]
    fn frames_carry_stream_and_length() {
        let mut out = Vec::new();
        let mut render = Render {
            stdout: true,
            stderr: true,
            framed: true,
            ..Render::default()
        };
        render.append(&batch(), &mut out);
        assert_eq!(out, b"\x01\0\0\0\0\0\0\x04out\n\x02\0\0\0\0\0\0\x03err");
    }

    #[test]
    fn time_and_details_come_first() {
        let mut out = Vec::new();
        let mut render = Render {
            stdout: true,
            timestamps: true,
            details: true,
            ..Render::default()
        };
        render.append(&batch(), &mut out);
        assert_eq!(out, b"2023-11-14T22:13:20.000000005Z a=%26,b=1+2 out\n");
    }
}
