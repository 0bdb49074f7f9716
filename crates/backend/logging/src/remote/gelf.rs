//! GELF: JSON in datagrams, in chunks when they are large and compressed, or ended by NUL over TCP.

use std::collections::BTreeMap;
use std::io::Write as _;

use arca_shim_proto::LogSpec;
use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use serde::Serialize;

use super::address::{Target, target};
use super::encode::{Line, Messages, info};

/// Bytes of a datagram, and of the head of a chunk.
const DATAGRAM: usize = 1420;
const HEAD: usize = 12;
/// Chunks of a message.
const MOST: usize = 128;

#[derive(Debug, Clone, Copy)]
enum Shape {
    Gzip(Compression),
    Zlib(Compression),
    Plain,
    /// Over TCP.
    Ended,
}

/// Writes messages.
#[derive(Debug)]
pub(crate) struct Gelf {
    shape: Shape,
    hostname: String,
    extra: BTreeMap<String, String>,
    chunked: u64,
}

#[derive(Serialize)]
struct Message<'a> {
    version: &'a str,
    host: &'a str,
    short_message: &'a str,
    timestamp: f64,
    level: u8,
    #[serde(flatten)]
    extra: &'a BTreeMap<String, String>,
}

impl Gelf {
    pub(crate) fn new(spec: &LogSpec) -> Self {
        let option = |name: &str| spec.options.get(name).map_or("", String::as_str);
        let level = match option("gelf-compression-level").parse::<i64>() {
            Ok(level @ 0..=9) => Compression::new(u32::try_from(level).unwrap_or(1)),
            Ok(_) => Compression::default(),
            Err(_none) => Compression::fast(),
        };
        let shape = match (
            target("gelf", &spec.options),
            option("gelf-compression-type"),
        ) {
            (Ok(Target::Tcp(_)), _) => Shape::Ended,
            (_, "zlib") => Shape::Zlib(level),
            (_, "none") => Shape::Plain,
            _ => Shape::Gzip(level),
        };
        let name = info(spec, "name");
        let mut extra: BTreeMap<String, String> = [
            ("_container_id", info(spec, "id").to_owned()),
            ("_container_name", name.to_owned()),
            ("_image_id", info(spec, "image_id").to_owned()),
            ("_image_name", info(spec, "image_name").to_owned()),
            ("_command", info(spec, "command").to_owned()),
            ("_tag", info(spec, "tag").to_owned()),
            ("_created", info(spec, "created").to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into();
        for (name, value) in &spec.attrs {
            let underscore = if name.starts_with('_') { "" } else { "_" };
            extra.insert(format!("{underscore}{name}"), value.clone());
        }
        Self {
            shape,
            hostname: info(spec, "hostname").to_owned(),
            extra,
            chunked: 0,
        }
    }

    pub(crate) fn encode(&mut self, line: &Line<'_>, out: &mut Messages) {
        let text = String::from_utf8_lossy(line.text);
        let at = line.entry.at;
        #[expect(clippy::cast_precision_loss, reason = "milliseconds since 1970 fit")]
        let timestamp = (at.unix_nanoseconds() / 1_000_000) as f64 / 1000.0;
        let message = Message {
            version: "1.1",
            host: &self.hostname,
            short_message: &text,
            timestamp,
            level: line.level(),
            extra: &self.extra,
        };
        // Texts and numbers always become JSON.
        let json = serde_json::to_vec(&message).unwrap_or_default();
        match self.shape {
            Shape::Ended => out.push(|bytes| {
                bytes.extend_from_slice(&json);
                bytes.push(0);
            }),
            Shape::Plain => self.datagrams(&json, out),
            Shape::Gzip(level) => {
                let mut encoder = GzEncoder::new(Vec::new(), level);
                drop(encoder.write_all(&json));
                self.datagrams(&encoder.finish().unwrap_or_default(), out);
            }
            Shape::Zlib(level) => {
                let mut encoder = ZlibEncoder::new(Vec::new(), level);
                drop(encoder.write_all(&json));
                self.datagrams(&encoder.finish().unwrap_or_default(), out);
            }
        }
    }

    /// One datagram, or several with a head.
    fn datagrams(&mut self, message: &[u8], out: &mut Messages) {
        if message.len() <= DATAGRAM {
            out.push(|bytes| bytes.extend_from_slice(message));
            return;
        }
        self.chunked += 1;
        let unique = (u64::from(std::process::id()) << 40 | self.chunked).to_be_bytes();
        let chunks = message.chunks(DATAGRAM - HEAD);
        let count = u8::try_from(chunks.len().min(MOST)).unwrap_or(u8::MAX);
        for (index, chunk) in (0..count).zip(chunks) {
            out.push(|bytes| {
                bytes.extend_from_slice(&[0x1e, 0x0f]);
                bytes.extend_from_slice(&unique);
                bytes.extend_from_slice(&[index, count]);
                bytes.extend_from_slice(chunk);
            });
        }
    }
}
