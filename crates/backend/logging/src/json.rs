//! The format of `json-file`: one JSON object a line, byte for byte as dockerd writes it.

use std::collections::BTreeMap;

use arca_types::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::batch::{Batch, Piece, Source};
use crate::timetext::{TimeReader, TimeWriter};

/// Writes entries.
#[derive(Debug, Default)]
pub(crate) struct JsonEncoder {
    /// `"attrs":{..},`, or nothing.
    attrs: Vec<u8>,
    time: TimeWriter,
    /// What follows the text of an entry of this stream and time.
    end: Vec<u8>,
    end_of: Option<(Source, Timestamp)>,
}

impl JsonEncoder {
    pub(crate) fn new(attrs: &BTreeMap<String, String>) -> Self {
        let mut bytes = Vec::new();
        if !attrs.is_empty() {
            bytes.extend_from_slice(b"\"attrs\":{");
            for (index, (name, value)) in attrs.iter().enumerate() {
                if index > 0 {
                    bytes.push(b',');
                }
                bytes.push(b'"');
                escape(name.as_bytes(), &mut bytes);
                bytes.extend_from_slice(b"\":\"");
                escape(value.as_bytes(), &mut bytes);
                bytes.push(b'"');
            }
            bytes.extend_from_slice(b"},");
        }
        Self {
            attrs: bytes,
            ..Self::default()
        }
    }

    /// Appends one entry.
    pub(crate) fn encode(&mut self, piece: Piece<'_>, out: &mut Vec<u8>) {
        let Piece { at, source, .. } = piece;
        if self.end_of != Some((source, at)) {
            self.end.clear();
            self.end.extend_from_slice(match source {
                Source::Stdout => b"\",\"stream\":\"stdout\",",
                Source::Stderr => b"\",\"stream\":\"stderr\",",
            });
            self.end.extend_from_slice(&self.attrs);
            self.end.extend_from_slice(b"\"time\":\"");
            self.time.shortest(at, &mut self.end);
            self.end.extend_from_slice(b"\"}\n");
            self.end_of = Some((source, at));
        }
        out.extend_from_slice(b"{\"log\":\"");
        escape(piece.text, out);
        if piece.complete {
            out.extend_from_slice(b"\\n");
        }
        out.extend_from_slice(&self.end);
    }
}

/// Does the byte need a look? Everything else stands for itself in JSON.
const fn special(byte: u8) -> bool {
    byte < 0x20 || byte >= 0x80 || matches!(byte, b'"' | b'\\' | b'<' | b'>' | b'&')
}

/// Does a block have a byte that needs a look? Made so that the compiler compares all at once.
fn any_special(block: &[u8; 16]) -> bool {
    block.iter().fold(0_u8, |seen, byte| {
        seen | u8::from(*byte < 0x20)
            | u8::from(*byte >= 0x80)
            | u8::from(*byte == b'"')
            | u8::from(*byte == b'\\')
            | u8::from(*byte == b'<')
            | u8::from(*byte == b'>')
            | u8::from(*byte == b'&')
    }) != 0
}

/// The number of bytes at the beginning that stand for themselves.
fn plain(bytes: &[u8]) -> usize {
    let (blocks, _) = bytes.as_chunks::<16>();
    let clean = blocks
        .iter()
        .take_while(|block| !any_special(block))
        .count()
        * 16;
    let rest = bytes.get(clean..).unwrap_or_default();
    clean + rest.iter().take_while(|byte| !special(**byte)).count()
}

/// Appends the text of a JSON string as Go's encoder with HTML escapes does; what is not UTF-8 becomes
/// U+FFFD byte by byte.
fn escape(mut bytes: &[u8], out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| HEX.get(usize::from(nibble)).copied().unwrap_or(b'0');
    loop {
        // In binary output hardly any byte stands for itself: then looking ahead costs more than it saves.
        let ahead = match bytes.first() {
            Some(first) if special(*first) => 0,
            _ => plain(bytes),
        };
        let (clean, rest) = bytes.split_at_checked(ahead).unwrap_or((bytes, &[]));
        out.extend_from_slice(clean);
        let Some((&byte, after)) = rest.split_first() else {
            return;
        };
        bytes = after;
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            0..0x80 => {
                out.extend_from_slice(&[
                    b'\\',
                    b'u',
                    b'0',
                    b'0',
                    digit(byte >> 4),
                    digit(byte & 15),
                ]);
            }
            0x80.. => {
                let length = escape_wide(rest, out);
                bytes = rest.get(length..).unwrap_or_default();
            }
        }
    }
}

/// Appends the character at the beginning of `bytes`, which is not ASCII; returns its length.
fn escape_wide(bytes: &[u8], out: &mut Vec<u8>) -> usize {
    // Most of what is not UTF-8 shows it in the first two bytes.
    let begins = matches!(bytes, [0xc2..=0xf4, 0x80..=0xbf, ..]);
    if !begins {
        out.extend_from_slice(b"\\ufffd");
        return 1;
    }
    let window = bytes.get(..4).unwrap_or(bytes);
    let valid = match std::str::from_utf8(window) {
        Ok(text) => text,
        Err(error) => std::str::from_utf8(window.get(..error.valid_up_to()).unwrap_or_default())
            .unwrap_or_default(),
    };
    match valid.chars().next() {
        None => {
            out.extend_from_slice(b"\\ufffd");
            1
        }
        Some('\u{2028}') => {
            out.extend_from_slice(b"\\u2028");
            3
        }
        Some('\u{2029}') => {
            out.extend_from_slice(b"\\u2029");
            3
        }
        Some(character) => {
            let length = character.len_utf8();
            out.extend_from_slice(bytes.get(..length).unwrap_or_default());
            length
        }
    }
}

/// Reads entries.
#[derive(Debug, Default)]
pub(crate) struct JsonDecoder {
    time: TimeReader,
}

/// An entry written by something else than dockerd or arca.
#[derive(Deserialize)]
struct Foreign<'a> {
    #[serde(default)]
    log: String,
    #[serde(default)]
    stream: String,
    #[serde(borrow, default)]
    attrs: Option<&'a RawValue>,
    time: String,
}

impl JsonDecoder {
    /// Reads one line, without its newline, into `batch`. Returns its time, or `None` when it is no
    /// entry, as after a crash of the host; then the batch is as it was.
    pub(crate) fn decode(&mut self, line: &[u8], batch: &mut Batch) -> Option<Timestamp> {
        let before = batch.arena.len();
        if let Some(at) = self.decode_usual(line, batch) {
            return Some(at);
        }
        batch.arena.truncate(before);
        let entry: Foreign<'_> = serde_json::from_slice(line).ok()?;
        let at = self.time.read(entry.time.as_bytes())?;
        let source = source(entry.stream.as_bytes())?;
        let attrs = entry.attrs.map_or("", RawValue::get);
        batch.arena.extend_from_slice(entry.log.as_bytes());
        batch.arena.extend_from_slice(attrs.as_bytes());
        batch.push(at, source, entry.log.len(), attrs.len());
        Some(at)
    }

    /// Reads the members in the order in which they are usually written.
    fn decode_usual(&mut self, line: &[u8], batch: &mut Batch) -> Option<Timestamp> {
        let before = batch.arena.len();
        let text = line.strip_prefix(b"{\"log\":\"")?;
        let rest = unescape(text, &mut batch.arena)?;
        let length = batch.arena.len() - before;
        let rest = rest.strip_prefix(b",\"stream\":\"std")?;
        let (stream, rest) = rest.split_at_checked(3)?;
        let source = match stream {
            b"out" => Source::Stdout,
            b"err" => Source::Stderr,
            _ => return None,
        };
        let rest = rest.strip_prefix(b"\",")?;
        let (attrs, time) = match rest.strip_prefix(b"\"attrs\":") {
            None => (&[][..], rest.strip_prefix(b"\"time\":\"")?),
            Some(rest) => {
                let name = b",\"time\":\"";
                let at = memchr::memmem::rfind(rest, name)?;
                (rest.get(..at)?, rest.get(at + name.len()..)?)
            }
        };
        let at = self.time.read(time.strip_suffix(b"\"}")?)?;
        batch.arena.extend_from_slice(attrs);
        batch.push(at, source, length, attrs.len());
        Some(at)
    }
}

fn source(stream: &[u8]) -> Option<Source> {
    match stream {
        b"stdout" => Some(Source::Stdout),
        b"stderr" => Some(Source::Stderr),
        _ => None,
    }
}

/// Appends the text of a JSON string up to its closing quote; returns what follows that.
fn unescape<'a>(mut text: &'a [u8], out: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        let at = memchr::memchr2(b'"', b'\\', text)?;
        let (clean, rest) = text.split_at_checked(at)?;
        out.extend_from_slice(clean);
        let (&byte, rest) = rest.split_first()?;
        if byte == b'"' {
            return Some(rest);
        }
        let (&kind, after) = rest.split_first()?;
        text = after;
        match kind {
            b'n' => out.push(b'\n'),
            b'r' => out.push(b'\r'),
            b't' => out.push(b'\t'),
            b'b' => out.push(8),
            b'f' => out.push(12),
            b'"' | b'\\' | b'/' => out.push(kind),
            b'u' => text = unescape_unicode(after, out)?,
            _ => return None,
        }
    }
}

/// Appends the character of four hexadecimal digits, or of two such escapes.
fn unescape_unicode<'a>(text: &'a [u8], out: &mut Vec<u8>) -> Option<&'a [u8]> {
    let unit = |text: &'a [u8]| {
        let (digits, rest) = text.split_first_chunk::<4>()?;
        let value = u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
        Some((value, rest))
    };
    let (first, rest) = unit(text)?;
    let second = rest.strip_prefix(b"\\u").and_then(unit);
    let (character, rest) = match second {
        Some((second, after)) if (0xd800..0xdc00).contains(&first) => {
            match char::decode_utf16([first, second]).next() {
                Some(Ok(character)) => (character, after),
                _ => (char::REPLACEMENT_CHARACTER, rest),
            }
        }
        _ => {
            let character = char::from_u32(first.into());
            (character.unwrap_or(char::REPLACEMENT_CHARACTER), rest)
        }
    };
    out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
    Some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Timestamp = Timestamp::from_unix(1_700_000_000, 500_000_000);

    fn encode(attrs: &[(&str, &str)], line: &[u8], complete: bool) -> String {
        let attrs = attrs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        let mut out = Vec::new();
        let piece = Piece {
            at: AT,
            source: Source::Stdout,
            text: line,
            complete,
        };
        JsonEncoder::new(&attrs).encode(piece, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn entries_are_what_dockerd_writes() {
        assert_eq!(
            encode(
                &[],
                b"a\tb<>&\"\\ \x01\x7f \xff \xc3\xa9\r\xe2\x80\xa8",
                true
            ),
            "{\"log\":\"a\\u0009b\\u003c\\u003e\\u0026\\\"\\\\ \\u0001\x7f \\ufffd \u{e9}\\r\\u2028\
             \\n\",\"stream\":\"stdout\",\"time\":\"2023-11-14T22:13:20.5Z\"}\n"
        );
        assert_eq!(
            encode(&[("tag", "x\"")], b"part", false),
            "{\"log\":\"part\",\"stream\":\"stdout\",\"attrs\":{\"tag\":\"x\\\"\"},\
             \"time\":\"2023-11-14T22:13:20.5Z\"}\n"
        );
    }

    #[test]
    fn what_is_not_utf8_is_replaced_byte_by_byte() {
        let cases: [(&[u8], &str); 7] = [
            (b"\xc3", "\\ufffd"),
            (b"\xc3(", "\\ufffd("),
            (b"\xe2\x80x", "\\ufffd\\ufffdx"),
            (b"\xed\xa0\x80", "\\ufffd\\ufffd\\ufffd"),
            (b"\xc0\x80", "\\ufffd\\ufffd"),
            (b"\xf4\x90\x80\x80", "\\ufffd\\ufffd\\ufffd\\ufffd"),
            (b"\xf0\x9f\x98\x80", "\u{1f600}"),
        ];
        for (bytes, text) in cases {
            let mut out = Vec::new();
            escape(bytes, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), text, "{bytes:?}");
        }
    }

    #[test]
    fn entries_are_read_back() {
        let mut line = "0123456789abcde\u{1f600}\t<\"\\>\u{2029}".repeat(9);
        line.push('\r');
        for attrs in [&[][..], &[("a", ",\"time\":\"")]] {
            let text = encode(attrs, line.as_bytes(), true);
            let mut batch = Batch::default();
            let at = JsonDecoder::default().decode(text.trim_end().as_bytes(), &mut batch);
            assert_eq!(at, Some(AT));
            let entry = batch.entries().next().unwrap();
            assert_eq!(entry.line, format!("{line}\n").as_bytes());
            assert_eq!(entry.attributes().len(), attrs.len());
        }
    }

    #[test]
    fn other_writers_are_understood_and_rubbish_is_not() {
        let mut batch = Batch::default();
        let mut decoder = JsonDecoder::default();
        let foreign =
            br#"{"time":"2023-11-14T22:13:20.5Z","stream":"stderr","log":"\ud83d\ude00\n"}"#;
        assert_eq!(decoder.decode(foreign, &mut batch), Some(AT));
        for rubbish in [
            &b"{\"log\":\"ab"[..],
            b"",
            b"\0\0\0",
            br#"{"log":"a","stream":"x","time":"y"}"#,
        ] {
            assert_eq!(decoder.decode(rubbish, &mut batch), None);
        }
        let entry = batch.entries().next().unwrap();
        assert_eq!(
            (entry.source, entry.line),
            (Source::Stderr, "\u{1f600}\n".as_bytes())
        );
        assert_eq!(batch.len(), 1);
    }
}
