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

/// How many bytes are looked at together.
const BLOCK: usize = 16;
/// How many bytes are escaped before what came of them is appended.
const PIECE: usize = 8 * BLOCK;
/// The longest escape is `\ufffd`; copies are of eight bytes.
const SPACE: usize = PIECE * 6 + 8;

/// What a byte becomes, filled up, and the length of that.
type Escape = ([u8; 8], u8);

/// What each byte becomes, unless it begins a character of several bytes.
static ESCAPES: [Escape; 256] = escapes();

#[expect(
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "evaluated by the compiler"
)]
const fn escapes() -> [Escape; 256] {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut table = [([0; 8], 0); 256];
    let mut byte = 0;
    while byte < 256 {
        let (high, low) = (HEX[byte >> 4], HEX[byte & 15]);
        table[byte] = match byte as u8 {
            b'"' => (*b"\\\"      ", 2),
            b'\\' => (*b"\\\\      ", 2),
            b'\n' => (*b"\\n      ", 2),
            b'\r' => (*b"\\r      ", 2),
            0..0x20 | b'<' | b'>' | b'&' => ([b'\\', b'u', b'0', b'0', high, low, 0, 0], 6),
            0x80.. => (*b"\\ufffd  ", 6),
            plain => ([plain, 0, 0, 0, 0, 0, 0, 0], 1),
        };
        byte += 1;
    }
    table
}

/// Does a block have a byte that does not stand for itself? Made so that the compiler compares all at
/// once.
fn any_special(block: &[u8; BLOCK]) -> bool {
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

/// The number of bytes at the beginning that stand for themselves, by whole blocks.
fn plain(bytes: &[u8]) -> usize {
    let (blocks, _) = bytes.as_chunks::<BLOCK>();
    let clean = blocks.iter().take_while(|block| !any_special(block));
    clean.count() * BLOCK
}

/// Appends the text of a JSON string as Go's encoder with HTML escapes does; what is not UTF-8 becomes
/// U+FFFD byte by byte.
fn escape(mut bytes: &[u8], out: &mut Vec<u8>) {
    loop {
        let (clean, rest) = bytes.split_at_checked(plain(bytes)).unwrap_or((bytes, &[]));
        out.extend_from_slice(clean);
        if rest.is_empty() {
            return;
        }
        let length = escape_piece(rest, out);
        bytes = rest.get(length..).unwrap_or_default();
    }
}

/// Escapes some bytes by the table, whatever they are: in binary output hardly any byte stands for
/// itself, and looking ahead costs more than it saves. Returns how many; at least one.
fn escape_piece(bytes: &[u8], out: &mut Vec<u8>) -> usize {
    let mut space = [0_u8; SPACE];
    let (mut read, mut written) = (0, 0);
    while read < PIECE {
        let Some(&byte) = bytes.get(read) else {
            break;
        };
        let next = bytes.get(read + 1).copied().unwrap_or_default();
        let Some(room) = space
            .get_mut(written..)
            .and_then(<[u8]>::first_chunk_mut::<8>)
        else {
            break;
        };
        // Most of what is not UTF-8 shows it in the first two bytes.
        if (0xc2..=0xf4).contains(&byte) & (0x80..=0xbf).contains(&next) {
            let rest = bytes.get(read + 2..).unwrap_or_default();
            if let Some((text, length)) = character([byte, next], rest) {
                *room = text;
                written += usize::from(length);
                read += if length == 6 { 3 } else { usize::from(length) };
                continue;
            }
        }
        if let Some((text, length)) = ESCAPES.get(usize::from(byte)) {
            *room = *text;
            written += usize::from(*length);
        }
        read += 1;
    }
    out.extend_from_slice(space.get(..written).unwrap_or_default());
    read
}

/// What the character of these bytes becomes: itself, but for line and paragraph separators. `None`
/// when they are no character.
fn character([first, second]: [u8; 2], rest: &[u8]) -> Option<Escape> {
    let itself = |third, fourth, length| Some(([first, second, third, fourth, 0, 0, 0, 0], length));
    if first < 0xe0 {
        return itself(0, 0, 2);
    }
    let (&third, rest) = rest.split_first().filter(|(byte, _)| is_inner(**byte))?;
    match (first, second) {
        (0xe2, 0x80) if third == 0xa8 => Some((*b"\\u2028  ", 6)),
        (0xe2, 0x80) if third == 0xa9 => Some((*b"\\u2029  ", 6)),
        (0xe0, 0xa0..) | (0xe1..=0xec | 0xee | 0xef, _) | (0xed, ..=0x9f) => itself(third, 0, 3),
        (0xf0, 0x90..) | (0xf1..=0xf3, _) | (0xf4, ..=0x8f) => {
            let &fourth = rest.first().filter(|byte| is_inner(**byte))?;
            itself(third, fourth, 4)
        }
        _ => None,
    }
}

/// Is it a byte of a character, but not the first?
fn is_inner(byte: u8) -> bool {
    (0x80..=0xbf).contains(&byte)
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

    /// One character or byte after another, as Go's encoder goes.
    fn slow(bytes: &[u8]) -> String {
        let mut out = String::new();
        for chunk in bytes.utf8_chunks() {
            for character in chunk.valid().chars() {
                match character {
                    '"' | '\\' => out.extend(['\\', character]),
                    '\n' => out.push_str("\\n"),
                    '\r' => out.push_str("\\r"),
                    '\0'..' ' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                        out.push_str(&format!("\\u{:04x}", u32::from(character)));
                    }
                    _ => out.push(character),
                }
            }
            out.push_str(&"\\ufffd".repeat(chunk.invalid().len()));
        }
        out
    }

    proptest::proptest! {
        #[test]
        fn fast_and_slow_escaping_agree(
            bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..700),
            text in "\\PC{0,200}|[ -~]{0,300}|[\u{2020}-\u{2030}a\"<]{0,99}",
        ) {
            let mixed = [text.as_bytes(), &bytes, text.as_bytes()].concat();
            for bytes in [&bytes, text.as_bytes(), &mixed] {
                let mut out = Vec::new();
                escape(bytes, &mut out);
                proptest::prop_assert_eq!(String::from_utf8(out).unwrap(), slow(bytes));
            }
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
