//! Fluentd's forward protocol: each entry a message, acknowledged when that is asked for.

use std::collections::VecDeque;
use std::io;

use arca_shim_proto::LogSpec;

use super::encode::{Line, Messages, info, random_id};
use super::link::Link;
use super::msgpack::{self, Answer};
use crate::batch::Source;
use crate::values::boolean;

/// Writes messages.
#[derive(Debug)]
pub(crate) struct Fluentd {
    tag: String,
    precise: bool,
    acknowledged: bool,
    /// The members of a record that never change.
    fixed: Vec<(String, String)>,
    /// Messages whose acknowledgement is awaited.
    awaited: VecDeque<String>,
    prefix: String,
    number: u64,
}

impl Fluentd {
    pub(crate) fn new(spec: &LogSpec) -> Self {
        let is_on = |name: &str| {
            let text = spec.options.get(name);
            text.is_some_and(|text| boolean(text) == Ok(true))
        };
        let mut fixed = vec![
            ("container_id".to_owned(), info(spec, "id").to_owned()),
            (
                "container_name".to_owned(),
                format!("/{}", info(spec, "name")),
            ),
        ];
        fixed.extend(spec.attrs.iter().map(|(k, v)| (k.clone(), v.clone())));
        Self {
            tag: info(spec, "tag").to_owned(),
            precise: is_on("fluentd-sub-second-precision"),
            acknowledged: is_on("fluentd-request-ack"),
            fixed,
            awaited: VecDeque::new(),
            prefix: random_id().chars().take(16).collect(),
            number: 0,
        }
    }

    pub(crate) fn encode(&mut self, line: &Line<'_>, out: &mut Messages) {
        let chunk = self.acknowledged.then(|| {
            self.number += 1;
            format!("{}-{}", self.prefix, self.number)
        });
        out.push(|bytes| {
            msgpack::array(4, bytes);
            msgpack::string(self.tag.as_bytes(), bytes);
            let at = line.entry.at;
            if self.precise {
                let seconds = u32::try_from(at.seconds()).unwrap_or(u32::MAX);
                msgpack::event_time(seconds, at.nanoseconds(), bytes);
            } else {
                msgpack::integer(at.seconds(), bytes);
            }
            self.record(line, bytes);
            msgpack::map(usize::from(chunk.is_some()), bytes);
            if let Some(chunk) = &chunk {
                msgpack::string(b"chunk", bytes);
                msgpack::string(chunk.as_bytes(), bytes);
            }
        });
        self.awaited.extend(chunk);
    }

    fn record(&self, line: &Line<'_>, bytes: &mut Vec<u8>) {
        let parts = if line.part.is_some() { 4 } else { 0 };
        msgpack::map(self.fixed.len() + 2 + parts, bytes);
        for (name, value) in &self.fixed {
            msgpack::string(name.as_bytes(), bytes);
            msgpack::string(value.as_bytes(), bytes);
        }
        let source: &[u8] = match line.entry.source {
            Source::Stdout => b"stdout",
            Source::Stderr => b"stderr",
        };
        msgpack::string(b"source", bytes);
        msgpack::string(source, bytes);
        msgpack::string(b"log", bytes);
        msgpack::string(line.text, bytes);
        if let Some(part) = &line.part {
            let members = [
                ("partial_message", "true".to_owned()),
                ("partial_id", part.id.clone()),
                ("partial_ordinal", part.ordinal.to_string()),
                ("partial_last", part.last.to_string()),
            ];
            for (name, value) in members {
                msgpack::string(name.as_bytes(), bytes);
                msgpack::string(value.as_bytes(), bytes);
            }
        }
    }

    /// Whether the receiver says what it has.
    pub(crate) fn is_acknowledged(&self) -> bool {
        self.acknowledged
    }

    /// Nothing that was sent is waited for any more.
    pub(crate) fn forget(&mut self) {
        self.awaited.clear();
    }

    /// Waits until the receiver has said that it has everything that was sent.
    pub(crate) fn confirm(&mut self, link: &mut Link) -> io::Result<()> {
        let mut received = Vec::new();
        let mut buffer = [0; 4096];
        while let Some(expected) = self.awaited.front() {
            match msgpack::answer(&received) {
                Answer::Ack(chunk, length) => {
                    if chunk != expected.as_bytes() {
                        return Err(io::Error::other("fluentd acknowledges something else"));
                    }
                    received.drain(..length);
                    self.awaited.pop_front();
                }
                Answer::Incomplete => {
                    let count = link.read(&mut buffer)?;
                    received.extend_from_slice(buffer.get(..count).unwrap_or_default());
                }
                Answer::Other => {
                    return Err(io::Error::other("fluentd answers something else"));
                }
            }
        }
        Ok(())
    }
}
