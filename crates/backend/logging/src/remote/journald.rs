//! The journal's own protocol: a datagram of fields for each entry.

use arca_shim_proto::LogSpec;

use super::encode::{Line, Messages, info, random_id};

/// Where the journal listens.
pub(crate) const SOCKET: &str = "/run/systemd/journal/socket";

/// Writes messages.
#[derive(Debug)]
pub(crate) struct Journald {
    /// Fields that every message has.
    fixed: Vec<u8>,
    epoch: String,
    ordinal: u64,
}

impl Journald {
    pub(crate) fn new(spec: &LogSpec) -> Self {
        let id = info(spec, "id");
        let tag = info(spec, "tag");
        let short: String = id.chars().take(12).collect();
        let mut fixed = Vec::new();
        for (name, value) in [
            ("CONTAINER_ID", short.as_str()),
            ("CONTAINER_ID_FULL", id),
            ("CONTAINER_NAME", info(spec, "name")),
            ("CONTAINER_TAG", tag),
            ("IMAGE_NAME", info(spec, "image_name")),
            ("SYSLOG_IDENTIFIER", tag),
        ] {
            field(name, value.as_bytes(), &mut fixed);
        }
        for (name, value) in &spec.attrs {
            let name = field_name(name);
            if !name.is_empty() {
                field(&name, value.as_bytes(), &mut fixed);
            }
        }
        Self {
            fixed,
            epoch: random_id(),
            ordinal: 0,
        }
    }

    pub(crate) fn encode(&mut self, line: &Line<'_>, out: &mut Messages) {
        self.ordinal += 1;
        out.push(|bytes| {
            bytes.extend_from_slice(&self.fixed);
            let at = line.entry.at.to_string();
            field("SYSLOG_TIMESTAMP", at.as_bytes(), bytes);
            field("CONTAINER_LOG_EPOCH", self.epoch.as_bytes(), bytes);
            field(
                "CONTAINER_LOG_ORDINAL",
                self.ordinal.to_string().as_bytes(),
                bytes,
            );
            if let Some(part) = &line.part {
                field("CONTAINER_PARTIAL_ID", part.id.as_bytes(), bytes);
                field(
                    "CONTAINER_PARTIAL_ORDINAL",
                    part.ordinal.to_string().as_bytes(),
                    bytes,
                );
                field(
                    "CONTAINER_PARTIAL_LAST",
                    part.last.to_string().as_bytes(),
                    bytes,
                );
                if !part.last {
                    field("CONTAINER_PARTIAL_MESSAGE", b"true", bytes);
                }
            }
            field("PRIORITY", line.level().to_string().as_bytes(), bytes);
            field("MESSAGE", line.text, bytes);
        });
    }
}

/// Appends a field: on one line, or with its length when it has newlines.
fn field(name: &str, value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(name.as_bytes());
    if value.contains(&b'\n') {
        out.push(b'\n');
        let length = u64::try_from(value.len()).unwrap_or_default();
        out.extend_from_slice(&length.to_le_bytes());
    } else {
        out.push(b'=');
    }
    out.extend_from_slice(value);
    out.push(b'\n');
}

/// A label's or variable's name as the journal takes it.
fn field_name(name: &str) -> String {
    let upper = name.chars().map(|c| match c.to_ascii_uppercase() {
        c @ ('A'..='Z' | '0'..='9') => c,
        _ => '_',
    });
    upper.skip_while(|c| *c == '_').collect()
}

#[cfg(test)]
mod tests {
    use arca_types::Timestamp;

    use super::super::encode::Part;
    use super::*;
    use crate::batch::{Entry, Source};

    #[test]
    fn messages_have_dockerds_fields() {
        let text = |pairs: &[(&str, &str)]| {
            let owned = pairs
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
            owned.collect()
        };
        let spec = LogSpec {
            driver: "journald".to_owned(),
            attrs: text(&[("com.example", "x")]),
            info: text(&[
                ("id", "0123456789abcdef"),
                ("name", "web"),
                ("tag", "t"),
                ("image_name", "busybox"),
            ]),
            ..LogSpec::default()
        };
        let line = Line {
            entry: Entry {
                at: Timestamp::from_unix(1_700_000_000, 5),
                source: Source::Stderr,
                line: b"hi",
                attrs: b"",
            },
            text: b"hi",
            part: Some(Part {
                id: "p".to_owned(),
                ordinal: 2,
                last: false,
            }),
        };
        let mut out = Messages::default();
        Journald::new(&spec).encode(&line, &mut out);
        let message = String::from_utf8(out.bytes().to_vec()).unwrap();
        let fields: Vec<&str> = message.lines().collect();
        for field in [
            "CONTAINER_ID=0123456789ab",
            "CONTAINER_ID_FULL=0123456789abcdef",
            "CONTAINER_NAME=web",
            "CONTAINER_TAG=t",
            "IMAGE_NAME=busybox",
            "SYSLOG_IDENTIFIER=t",
            "COM_EXAMPLE=x",
            "SYSLOG_TIMESTAMP=2023-11-14T22:13:20.000000005Z",
            "CONTAINER_LOG_ORDINAL=1",
            "CONTAINER_PARTIAL_ID=p",
            "CONTAINER_PARTIAL_ORDINAL=2",
            "CONTAINER_PARTIAL_LAST=false",
            "CONTAINER_PARTIAL_MESSAGE=true",
            "PRIORITY=3",
            "MESSAGE=hi",
        ] {
            assert!(fields.contains(&field), "{field} is not in {message}");
        }
    }

    #[test]
    fn fields_are_written_as_the_journal_reads_them() {
        let mut out = Vec::new();
        field("A", b"1", &mut out);
        field("B", b"x\ny", &mut out);
        assert_eq!(out, b"A=1\nB\n\x03\0\0\0\0\0\0\0x\ny\n");
        assert_eq!(field_name("_com.x-y"), "COM_X_Y");
    }
}
