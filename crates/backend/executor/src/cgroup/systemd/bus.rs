//! As much of D-Bus as two calls to systemd need (dbus.freedesktop.org/doc/dbus-specification).

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use crate::error::{Context, ExecError};

const SOCKET: &str = "/run/dbus/system_bus_socket";
const PATIENCE: Duration = Duration::from_secs(10);
/// The specification's limit is 128 MiB; answers of systemd have some hundred bytes.
const LONGEST: u32 = 1 << 20;

/// The value of a unit's property.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    /// A string.
    Text(String),
    /// A boolean.
    Flag(bool),
    /// A 64-bit number.
    Long(u64),
    /// 32-bit numbers.
    Numbers(Vec<u32>),
}

/// A connection to the system bus.
#[derive(Debug)]
pub(super) struct Bus {
    stream: BufReader<UnixStream>,
    serial: u32,
}

/// A message's body, or any other run of D-Bus values, little-endian.
#[derive(Debug, Default)]
struct Writer(Vec<u8>);

impl Writer {
    fn align(&mut self, to: usize) {
        self.0.resize(self.0.len().next_multiple_of(to), 0);
    }

    fn number(&mut self, number: u32) {
        self.align(4);
        self.0.extend(number.to_le_bytes());
    }

    fn length(&mut self, length: usize) {
        self.number(u32::try_from(length).unwrap_or(u32::MAX));
    }

    fn text(&mut self, text: &str) {
        self.length(text.len());
        self.0.extend(text.as_bytes());
        self.0.push(0);
    }

    fn signature(&mut self, signature: &str) {
        self.0
            .push(u8::try_from(signature.len()).unwrap_or(u8::MAX));
        self.0.extend(signature.as_bytes());
        self.0.push(0);
    }

    /// Writes an array: its length counts from the first element's alignment on.
    fn array(&mut self, alignment: usize, elements: impl FnOnce(&mut Self)) {
        self.number(0);
        let length_at = self.0.len() - 4;
        self.align(alignment);
        let start = self.0.len();
        elements(self);
        let length = u32::try_from(self.0.len() - start).unwrap_or(u32::MAX);
        if let Some(place) = self.0.get_mut(length_at..length_at + 4) {
            place.copy_from_slice(&length.to_le_bytes());
        }
    }

    fn variant(&mut self, value: &Value) {
        match value {
            Value::Text(text) => {
                self.signature("s");
                self.text(text);
            }
            Value::Flag(flag) => {
                self.signature("b");
                self.number((*flag).into());
            }
            Value::Long(number) => {
                self.signature("t");
                self.align(8);
                self.0.extend(number.to_le_bytes());
            }
            Value::Numbers(numbers) => {
                self.signature("au");
                self.array(4, |array| {
                    numbers.iter().for_each(|&number| array.number(number))
                });
            }
        }
    }

    fn properties(&mut self, properties: &[(&str, Value)]) {
        self.array(8, |array| {
            for (name, value) in properties {
                array.align(8);
                array.text(name);
                array.variant(value);
            }
        });
    }
}

impl Bus {
    /// Connects and says hello.
    pub(super) fn system() -> Result<Self, ExecError> {
        let what = || format!("connect to {SOCKET}");
        let stream = UnixStream::connect(SOCKET).context(what)?;
        stream.set_read_timeout(Some(PATIENCE)).context(what)?;
        let mut bus = Self {
            stream: BufReader::new(stream),
            serial: 0,
        };
        let user: String = rustix::process::geteuid()
            .as_raw()
            .to_string()
            .bytes()
            .map(|digit| format!("{digit:02x}"))
            .collect();
        bus.send(format!("\0AUTH EXTERNAL {user}\r\n").as_bytes())?;
        let mut line = String::new();
        bus.stream.read_line(&mut line).context(what)?;
        if !line.starts_with("OK ") {
            return Err(ExecError::other(format!("{SOCKET}: {}", line.trim_end())));
        }
        bus.send(b"BEGIN\r\n")?;
        bus.call(
            [
                "org.freedesktop.DBus",
                "/org/freedesktop/DBus",
                "org.freedesktop.DBus",
                "Hello",
            ],
            "",
            &Writer::default(),
        )?;
        Ok(bus)
    }

    /// `StartTransientUnit` of systemd's manager.
    pub(super) fn start_transient_unit(
        &mut self,
        unit: &str,
        properties: &[(&str, Value)],
    ) -> Result<(), ExecError> {
        let mut body = Writer::default();
        body.text(unit);
        body.text("replace");
        body.properties(properties);
        body.array(8, |_none| {});
        self.manager("StartTransientUnit", "ssa(sv)a(sa(sv))", &body)
    }

    /// `SetUnitProperties` of systemd's manager, until the unit ends.
    pub(super) fn set_unit_properties(
        &mut self,
        unit: &str,
        properties: &[(&str, Value)],
    ) -> Result<(), ExecError> {
        let mut body = Writer::default();
        body.text(unit);
        body.number(1);
        body.properties(properties);
        self.manager("SetUnitProperties", "sba(sv)", &body)
    }

    /// `StopUnit` of systemd's manager.
    pub(super) fn stop_unit(&mut self, unit: &str) -> Result<(), ExecError> {
        let mut body = Writer::default();
        body.text(unit);
        body.text("replace");
        self.manager("StopUnit", "ss", &body)
    }

    fn manager(&mut self, method: &str, signature: &str, body: &Writer) -> Result<(), ExecError> {
        const NAME: &str = "org.freedesktop.systemd1";
        const MANAGER: &str = "org.freedesktop.systemd1.Manager";
        self.call(
            [NAME, "/org/freedesktop/systemd1", MANAGER, method],
            signature,
            body,
        )
    }

    /// Calls a method and waits for its answer.
    fn call(
        &mut self,
        [destination, path, interface, method]: [&str; 4],
        signature: &str,
        body: &Writer,
    ) -> Result<(), ExecError> {
        self.serial += 1;
        let serial = self.serial;
        let mut message = Writer(vec![b'l', 1, 0, 1]);
        message.length(body.0.len());
        message.number(serial);
        message.array(8, |fields| {
            for (code, kind, value) in [
                (1, "o", path),
                (6, "s", destination),
                (2, "s", interface),
                (3, "s", method),
            ] {
                fields.align(8);
                fields.0.push(code);
                fields.signature(kind);
                fields.text(value);
            }
            if !signature.is_empty() {
                fields.align(8);
                fields.0.push(8);
                fields.signature("g");
                fields.signature(signature);
            }
        });
        message.align(8);
        message.0.extend(&body.0);
        self.send(&message.0)?;
        loop {
            let answer = self.receive()?;
            if answer.reply_to == Some(serial) {
                return answer.result();
            }
        }
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), ExecError> {
        self.stream
            .get_mut()
            .write_all(bytes)
            .context(|| format!("write to {SOCKET}"))
    }

    fn receive(&mut self) -> Result<Answer, ExecError> {
        let what = || format!("read from {SOCKET}");
        let mut fixed = [0; 16];
        self.stream.read_exact(&mut fixed).context(what)?;
        let [
            endian,
            kind,
            _,
            _,
            b0,
            b1,
            b2,
            b3,
            _,
            _,
            _,
            _,
            f0,
            f1,
            f2,
            f3,
        ] = fixed;
        let (body, fields) = (
            u32::from_le_bytes([b0, b1, b2, b3]),
            u32::from_le_bytes([f0, f1, f2, f3]),
        );
        if endian != b'l' || body > LONGEST || fields > LONGEST {
            return Err(ExecError::other(format!("{SOCKET}: not understood")));
        }
        let mut header = vec![0; (fields as usize).next_multiple_of(8)];
        self.stream.read_exact(&mut header).context(what)?;
        let mut content = vec![0; body as usize];
        self.stream.read_exact(&mut content).context(what)?;
        Ok(Answer {
            error: kind == 3,
            reply_to: reply_to(&header),
            body: content,
        })
    }
}

/// A message from the bus.
#[derive(Debug)]
struct Answer {
    error: bool,
    reply_to: Option<u32>,
    body: Vec<u8>,
}

impl Answer {
    fn result(&self) -> Result<(), ExecError> {
        if !self.error {
            return Ok(());
        }
        // An error's body begins with its text.
        let text = self.body.get(4..).unwrap_or_default();
        let end = text
            .iter()
            .position(|&byte| byte == 0)
            .unwrap_or(text.len());
        let text = text.get(..end).unwrap_or_default();
        Err(ExecError::other(String::from_utf8_lossy(text).into_owned()))
    }
}

/// Finds the field `REPLY_SERIAL` (5): the only one that is a 32-bit number besides `UNIX_FDS` (9).
fn reply_to(header: &[u8]) -> Option<u32> {
    let mut fields = header.as_chunks::<8>().0.iter();
    fields.find_map(|field| match *field {
        [5, 1, b'u', _, a, b, c, d] => Some(u32::from_le_bytes([a, b, c, d])),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_aligned_as_the_specification_says() {
        let mut writer = Writer::default();
        writer.text("ab");
        writer.properties(&[("P", Value::Numbers(vec![7])), ("F", Value::Flag(true))]);
        let expected: Vec<u8> = [
            &b"\x02\0\0\0ab\0\0"[..],
            &b"\x24\0\0\0\0\0\0\0"[..][..4],
            b"\0\0\0\0",
            b"\x01\0\0\0P\0\x02au\0\0\0",
            b"\x04\0\0\0\x07\0\0\0",
            b"\0\0\0\0",
            b"\x01\0\0\0F\0\x01b\0\0\0\0",
            b"\x01\0\0\0",
        ]
        .concat();
        // The array's length: from its first element to its end.
        let start = 16;
        let length = u32::try_from(writer.0.len() - start).unwrap();
        assert_eq!(&writer.0[8..12], &length.to_le_bytes());
        assert_eq!(writer.0.len() % 4, 0);
        assert_eq!(&writer.0[..8], &expected[..8]);
        assert_eq!(&writer.0[start..start + 6], b"\x01\0\0\0P\0");
    }

    #[test]
    fn the_answer_to_a_call_is_recognised() {
        let header = b"\x06\x01s\0\x04\0\0\0:1.2\0\0\0\0\x05\x01u\0\x2a\0\0\0";
        assert_eq!(reply_to(header), Some(42));
        assert_eq!(reply_to(b"\x01\x01o\0\x01\0\0\0"), None);
    }

    #[test]
    fn an_error_has_its_text() {
        let body = b"\x04\0\0\0nope\0".to_vec();
        let answer = Answer {
            error: true,
            reply_to: Some(1),
            body,
        };
        assert_eq!(answer.result().unwrap_err().message, "nope");
    }
}
