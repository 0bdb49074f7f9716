//! Syslog: RFC 3164, RFC 5424, and what dockerd sends when no format is asked for.

use std::collections::BTreeMap;
use std::io::Write as _;

use arca_shim_proto::LogSpec;
use arca_types::Timestamp;

use super::address::{Target, target};
use super::encode::{Line, Messages, info};

type Options = BTreeMap<String, String>;

/// The facilities that have names, and their numbers.
const FACILITIES: [(&str, u8); 20] = [
    ("kern", 0),
    ("user", 1),
    ("mail", 2),
    ("daemon", 3),
    ("auth", 4),
    ("syslog", 5),
    ("lpr", 6),
    ("news", 7),
    ("uucp", 8),
    ("cron", 9),
    ("authpriv", 10),
    ("ftp", 11),
    ("local0", 16),
    ("local1", 17),
    ("local2", 18),
    ("local3", 19),
    ("local4", 20),
    ("local5", 21),
    ("local6", 22),
    ("local7", 23),
];
const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// The facility that the options name; `daemon` when they name none.
pub(crate) fn facility(options: &Options) -> Result<u8, String> {
    let name = options.get("syslog-facility").map_or("", String::as_str);
    if name.is_empty() {
        return Ok(3);
    }
    let named = FACILITIES.iter().find(|(known, _)| *known == name);
    named
        .map(|(_, number)| *number)
        .or_else(|| name.parse().ok().filter(|number| *number <= 23))
        .ok_or_else(|| "invalid syslog facility".to_owned())
}

/// The format of messages (`syslog-format`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// Time and tag, without a host.
    Unix,
    Rfc3164,
    Rfc5424 {
        micros: bool,
    },
}

impl Format {
    pub(crate) fn of(options: &Options) -> Result<Self, String> {
        match options.get("syslog-format").map_or("", String::as_str) {
            "" => Ok(Self::Unix),
            "rfc3164" => Ok(Self::Rfc3164),
            "rfc5424" => Ok(Self::Rfc5424 { micros: false }),
            "rfc5424micro" => Ok(Self::Rfc5424 { micros: true }),
            _ => Err("Invalid syslog format".to_owned()),
        }
    }
}

/// Writes messages.
#[derive(Debug)]
pub(crate) struct Syslog {
    format: Format,
    facility: u8,
    /// Each message has its length before it (RFC 5425).
    counted: bool,
    hostname: String,
    tag: String,
    pid: u32,
    message: Vec<u8>,
}

impl Syslog {
    pub(crate) fn new(spec: &LogSpec) -> Result<Self, String> {
        let format = Format::of(&spec.options)?;
        let is_tls = matches!(target("syslog", &spec.options), Ok(Target::Tls(_)));
        Ok(Self {
            format,
            facility: facility(&spec.options)?,
            counted: is_tls && matches!(format, Format::Rfc5424 { .. }),
            hostname: info(spec, "hostname").to_owned(),
            tag: info(spec, "tag").to_owned(),
            pid: std::process::id(),
            message: Vec::new(),
        })
    }

    pub(crate) fn encode(&mut self, line: &Line<'_>, out: &mut Messages) {
        if line.text.is_empty() {
            return;
        }
        let priority = self.facility * 8 + line.level();
        let head = self.head(priority, line.entry.at);
        self.message.clear();
        self.message.extend_from_slice(head.as_bytes());
        self.message.extend_from_slice(line.text);
        self.message.push(b'\n');
        out.push(|bytes| {
            if self.counted {
                // Writing to memory cannot fail.
                drop(write!(bytes, "{} ", self.message.len()));
            }
            bytes.extend_from_slice(&self.message);
        });
    }

    fn head(&self, priority: u8, at: Timestamp) -> String {
        let Self {
            hostname, tag, pid, ..
        } = self;
        match self.format {
            Format::Unix => format!("<{priority}>{} {tag}[{pid}]: ", stamp(at)),
            Format::Rfc3164 => format!("<{priority}>{} {hostname} {tag}[{pid}]: ", stamp(at)),
            Format::Rfc5424 { micros } => {
                let mut time = Timestamp::from_unix(at.seconds(), 0).to_string();
                if micros {
                    time.pop();
                    time.push_str(&format!(".{:06}Z", at.nanoseconds() / 1000));
                }
                format!("<{priority}>1 {time} {hostname} {tag} {pid} {tag} - ")
            }
        }
    }
}

/// The time as `Jan _2 15:04:05`.
fn stamp(at: Timestamp) -> String {
    let text = Timestamp::from_unix(at.seconds(), 0).to_string();
    let number = |from: usize, to: usize| text.get(from..to).and_then(|digits| digits.parse().ok());
    let month: usize = number(5, 7).unwrap_or(1);
    let day: usize = number(8, 10).unwrap_or(1);
    let month = MONTHS.get(month.saturating_sub(1)).unwrap_or(&"Jan");
    format!("{month} {day:2} {}", text.get(11..19).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{Entry, Source};

    fn message(format: &str, address: &str) -> String {
        let spec = LogSpec {
            driver: "syslog".to_owned(),
            options: [("syslog-format", format), ("syslog-address", address)]
                .map(|(k, v)| (k.to_owned(), v.to_owned()))
                .into(),
            info: [("hostname", "host"), ("tag", "t")]
                .map(|(k, v)| (k.to_owned(), v.to_owned()))
                .into(),
            ..LogSpec::default()
        };
        let mut out = Messages::default();
        let entry = Entry {
            at: Timestamp::from_unix(1_700_000_000, 123_456_789),
            source: Source::Stderr,
            line: b"a line\n",
            attrs: b"",
        };
        let line = Line {
            entry,
            text: b"a line",
            part: None,
        };
        Syslog::new(&spec).unwrap().encode(&line, &mut out);
        let text = String::from_utf8(out.bytes().to_vec()).unwrap();
        text.replace(&std::process::id().to_string(), "PID")
    }

    #[test]
    fn messages_are_what_dockerd_sends() {
        let udp = "udp://a";
        assert_eq!(message("", udp), "<27>Nov 14 22:13:20 t[PID]: a line\n");
        assert_eq!(
            message("rfc3164", udp),
            "<27>Nov 14 22:13:20 host t[PID]: a line\n"
        );
        assert_eq!(
            message("rfc5424", udp),
            "<27>1 2023-11-14T22:13:20Z host t PID t - a line\n"
        );
        assert_eq!(
            message("rfc5424micro", udp),
            "<27>1 2023-11-14T22:13:20.123456Z host t PID t - a line\n"
        );
        let counted = message("rfc5424", "tcp+tls://a");
        let (length, rest) = counted.split_once(' ').unwrap();
        let written = rest.replace("PID", &std::process::id().to_string()).len();
        assert_eq!(length, written.to_string());
    }
}
