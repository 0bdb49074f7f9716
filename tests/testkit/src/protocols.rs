//! The protocols of log receivers, decoded.

use std::collections::HashMap;
use std::io::Read;

use serde_json::{Map, Value, json};

use crate::receiver::Protocol;

/// Cuts what comes into records, each with what is to be answered.
pub(crate) struct Decoder {
    protocol: Protocol,
    datagrams: bool,
    pending: Vec<u8>,
}

impl Decoder {
    pub(crate) fn stream(protocol: Protocol) -> Self {
        Self {
            protocol,
            datagrams: false,
            pending: Vec::new(),
        }
    }

    pub(crate) fn datagrams(protocol: Protocol) -> Self {
        Self {
            datagrams: true,
            ..Self::stream(protocol)
        }
    }

    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Vec<(Value, Vec<u8>)> {
        self.pending.extend_from_slice(bytes);
        let mut records = Vec::new();
        while let Some((record, answer, length)) = self.next() {
            self.pending.drain(..length);
            records.push((record, answer));
        }
        records
    }

    fn next(&self) -> Option<(Value, Vec<u8>, usize)> {
        let bytes = &self.pending[..];
        if bytes.is_empty() {
            return None;
        }
        match self.protocol {
            Protocol::Syslog => syslog(bytes).map(|(text, length)| (text, Vec::new(), length)),
            Protocol::Gelf if self.datagrams => Some((
                serde_json::from_slice(bytes).unwrap(),
                Vec::new(),
                bytes.len(),
            )),
            Protocol::Gelf => {
                let end = bytes.iter().position(|byte| *byte == 0)?;
                let record = serde_json::from_slice(&bytes[..end]).unwrap();
                Some((record, Vec::new(), end + 1))
            }
            Protocol::Fluentd => fluentd(bytes),
            Protocol::Journal => Some((journal(bytes), Vec::new(), bytes.len())),
        }
    }
}

fn syslog(bytes: &[u8]) -> Option<(Value, usize)> {
    let text = |bytes: &[u8]| Value::from(String::from_utf8_lossy(bytes).trim_end_matches('\n'));
    if bytes[0] == b'<' {
        let end = bytes.iter().position(|byte| *byte == b'\n')?;
        return Some((text(&bytes[..end]), end + 1));
    }
    let space = bytes.iter().position(|byte| *byte == b' ')?;
    let length: usize = std::str::from_utf8(&bytes[..space])
        .unwrap()
        .parse()
        .unwrap();
    let message = bytes.get(space + 1..space + 1 + length)?;
    Some((text(message), space + 1 + length))
}

fn fluentd(bytes: &[u8]) -> Option<(Value, Vec<u8>, usize)> {
    let mut rest = bytes;
    let message = msgpack(&mut rest)?;
    let mut answer = Vec::new();
    if let Some(chunk) = message[3]["chunk"].as_str() {
        answer.extend_from_slice(b"\x81\xa3ack\xd9");
        answer.push(u8::try_from(chunk.len()).unwrap());
        answer.extend_from_slice(chunk.as_bytes());
    }
    Some((message, answer, bytes.len() - rest.len()))
}

/// Reads a value of MessagePack; an event time becomes `[seconds, nanoseconds]`.
fn msgpack(rest: &mut &[u8]) -> Option<Value> {
    let head = take(rest, 1)?[0];
    Some(match head {
        0x00..=0x7f => head.into(),
        0x80..=0x8f => map(rest, usize::from(head & 15))?,
        0x90..=0x9f => array(rest, usize::from(head & 15))?,
        0xa0..=0xbf => string(rest, usize::from(head & 31))?,
        0xc0 => Value::Null,
        0xc2 | 0xc3 => (head == 0xc3).into(),
        0xc4 | 0xd9 => {
            let length = number(rest, 1)?;
            string(rest, length)?
        }
        0xc5 | 0xda => {
            let length = number(rest, 2)?;
            string(rest, length)?
        }
        0xc6 | 0xdb => {
            let length = number(rest, 4)?;
            string(rest, length)?
        }
        0xcc | 0xd0 => number(rest, 1)?.into(),
        0xcd | 0xd1 => number(rest, 2)?.into(),
        0xce | 0xd2 => number(rest, 4)?.into(),
        0xcf | 0xd3 => number(rest, 8)?.into(),
        0xd7 => {
            take(rest, 1)?;
            json!([number(rest, 4)?, number(rest, 4)?])
        }
        0xc7 => {
            take(rest, 2)?;
            json!([number(rest, 4)?, number(rest, 4)?])
        }
        0xdc => {
            let length = number(rest, 2)?;
            array(rest, length)?
        }
        0xde => {
            let length = number(rest, 2)?;
            map(rest, length)?
        }
        other => panic!("MessagePack of kind {other:#x}"),
    })
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (taken, after) = rest.split_at_checked(count)?;
    *rest = after;
    Some(taken)
}

fn number(rest: &mut &[u8], bytes: usize) -> Option<usize> {
    let digits = take(rest, bytes)?;
    Some(
        digits
            .iter()
            .fold(0, |number, byte| number << 8 | usize::from(*byte)),
    )
}

fn string(rest: &mut &[u8], length: usize) -> Option<Value> {
    Some(String::from_utf8_lossy(take(rest, length)?).into())
}

fn array(rest: &mut &[u8], length: usize) -> Option<Value> {
    (0..length).map(|_| msgpack(rest)).collect()
}

fn map(rest: &mut &[u8], length: usize) -> Option<Value> {
    let mut map = Map::new();
    for _ in 0..length {
        let name = msgpack(rest)?.as_str()?.to_owned();
        map.insert(name, msgpack(rest)?);
    }
    Some(map.into())
}

fn journal(bytes: &[u8]) -> Value {
    let mut fields = Map::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let end = rest.iter().position(|byte| *byte == b'\n').unwrap();
        let line = String::from_utf8_lossy(&rest[..end]).into_owned();
        rest = &rest[end + 1..];
        let (name, value) = match line.split_once('=') {
            Some((name, value)) => (name.to_owned(), value.to_owned()),
            None => {
                let length = u64::from_le_bytes(rest[..8].try_into().unwrap());
                let length = usize::try_from(length).unwrap();
                let value = String::from_utf8_lossy(&rest[8..8 + length]).into_owned();
                rest = &rest[8 + length + 1..];
                (line, value)
            }
        };
        fields.insert(name, value.into());
    }
    fields.into()
}

/// Joins the chunks of GELF, and decompresses.
#[derive(Default)]
pub(crate) struct Chunks(HashMap<[u8; 8], Vec<Option<Vec<u8>>>>);

impl Chunks {
    /// The message, when it is complete.
    pub(crate) fn join(&mut self, protocol: Protocol, datagram: &[u8]) -> Option<Vec<u8>> {
        if protocol != Protocol::Gelf {
            return Some(datagram.to_owned());
        }
        if !datagram.starts_with(&[0x1e, 0x0f]) {
            return Some(decompressed(datagram));
        }
        let id: [u8; 8] = datagram[2..10].try_into().unwrap();
        let (index, count) = (usize::from(datagram[10]), usize::from(datagram[11]));
        let chunks = self.0.entry(id).or_insert_with(|| vec![None; count]);
        chunks[index] = Some(datagram[12..].to_owned());
        let whole: Option<Vec<Vec<u8>>> = chunks.iter().cloned().collect();
        let whole = whole?.concat();
        self.0.remove(&id);
        Some(decompressed(&whole))
    }
}

fn decompressed(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut reader: Box<dyn Read + '_> = match bytes {
        [0x1f, 0x8b, ..] => Box::new(flate2::read::GzDecoder::new(bytes)),
        [0x78, ..] => Box::new(flate2::read::ZlibDecoder::new(bytes)),
        _ => Box::new(bytes),
    };
    reader.read_to_end(&mut out).unwrap();
    out
}
