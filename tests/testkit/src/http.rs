//! A small HTTP/1.1 client over the engine's socket: for what the command line client cannot say.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

/// Makes requests, each on a connection of its own.
#[derive(Debug, Clone)]
pub struct Http {
    socket: PathBuf,
}

/// An answer whose head was read; the body follows on demand.
#[derive(Debug)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Header names in lower case, with their values.
    pub headers: Vec<(String, String)>,
    reader: BufReader<UnixStream>,
    body: Body,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Body {
    None,
    Sized(u64),
    Chunked,
    UntilEnd,
}

impl Http {
    /// A client of the engine that serves `socket`.
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self {
            socket: socket.into(),
        }
    }

    /// The path of the socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// A raw connection, for what is not HTTP.
    #[track_caller]
    pub fn connect(&self) -> UnixStream {
        let stream = UnixStream::connect(&self.socket)
            .unwrap_or_else(|error| panic!("{}: {error}", self.socket.display()));
        stream
            .set_read_timeout(Some(Duration::from_secs(120)))
            .unwrap();
        stream
    }

    /// Sends a request and reads the head of its answer.
    #[track_caller]
    pub fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Response {
        self.try_send(method, path, headers, body)
            .unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }

    /// Like [`Http::send`], for engines that may be dying.
    ///
    /// # Errors
    /// The connection failed or broke.
    pub fn try_send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> std::io::Result<Response> {
        let mut stream = UnixStream::connect(&self.socket)?;
        stream.set_read_timeout(Some(Duration::from_secs(120)))?;
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: docker\r\n");
        let upgrade = headers
            .iter()
            .any(|(name, _)| name.eq_ignore_ascii_case("upgrade"));
        if !upgrade {
            head.push_str("Connection: close\r\n");
        }
        if !body.is_empty() || method == "POST" {
            head.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        stream.write_all(head.as_bytes())?;
        stream.write_all(body)?;
        Response::read(stream, method)
    }

    /// `GET` of JSON.
    #[track_caller]
    pub fn get(&self, path: &str) -> (u16, Value) {
        self.send("GET", path, &[], b"").json()
    }

    /// `POST` of JSON.
    #[track_caller]
    pub fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let bytes = if body.is_null() {
            Vec::new()
        } else {
            serde_json::to_vec(body).unwrap()
        };
        self.send(
            "POST",
            path,
            &[("Content-Type", "application/json")],
            &bytes,
        )
        .json()
    }

    /// `DELETE`.
    #[track_caller]
    pub fn delete(&self, path: &str) -> (u16, Value) {
        self.send("DELETE", path, &[], b"").json()
    }

    /// `GET` of JSON from an engine that may be dying.
    ///
    /// # Errors
    /// The connection failed or broke.
    pub fn try_get(&self, path: &str) -> std::io::Result<(u16, Value)> {
        let mut response = self.try_send("GET", path, &[], b"")?;
        let bytes = response.try_bytes()?;
        Ok((
            response.status,
            serde_json::from_slice(&bytes).unwrap_or(Value::Null),
        ))
    }

    /// `POST` of JSON to an engine that may be dying.
    ///
    /// # Errors
    /// The connection failed or broke.
    pub fn try_post(&self, path: &str, body: &Value) -> std::io::Result<(u16, Value)> {
        let bytes = if body.is_null() {
            Vec::new()
        } else {
            serde_json::to_vec(body).unwrap()
        };
        let headers = [("Content-Type", "application/json")];
        let mut response = self.try_send("POST", path, &headers, &bytes)?;
        let bytes = response.try_bytes()?;
        Ok((
            response.status,
            serde_json::from_slice(&bytes).unwrap_or(Value::Null),
        ))
    }
}

impl Response {
    fn read(stream: UnixStream, method: &str) -> std::io::Result<Self> {
        let mut reader = BufReader::new(stream);
        let broken = || std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let status = line
            .split(' ')
            .nth(1)
            .and_then(|s| s.trim().parse().ok())
            .ok_or_else(broken)?;
        let mut headers = Vec::new();
        loop {
            line.clear();
            reader.read_line(&mut line)?;
            let Some((name, value)) = line.trim_end().split_once(':') else {
                break;
            };
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let find = |wanted: &str| headers.iter().find(|(name, _)| name == wanted);
        let body = if method == "HEAD" || status == 204 || status == 304 {
            Body::None
        } else if find("transfer-encoding").is_some_and(|(_, value)| value == "chunked") {
            Body::Chunked
        } else if let Some((_, length)) = find("content-length") {
            Body::Sized(length.parse().unwrap())
        } else {
            Body::UntilEnd
        };
        Ok(Self {
            status,
            headers,
            reader,
            body,
        })
    }

    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, value)| value.as_str())
    }

    /// The rest of the body.
    #[track_caller]
    pub fn bytes(&mut self) -> Vec<u8> {
        self.try_bytes().unwrap()
    }

    /// Like [`Response::bytes`], for engines that may be dying.
    ///
    /// # Errors
    /// The connection failed or broke.
    pub fn try_bytes(&mut self) -> std::io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        match self.body {
            Body::None => {}
            Body::Sized(size) => {
                (&mut self.reader).take(size).read_to_end(&mut bytes)?;
            }
            Body::UntilEnd => drop(self.reader.read_to_end(&mut bytes)?),
            Body::Chunked => while self.chunk(&mut bytes)? {},
        }
        Ok(bytes)
    }

    /// Appends one chunk; false at the end.
    fn chunk(&mut self, into: &mut Vec<u8>) -> std::io::Result<bool> {
        let mut line = String::new();
        if self.reader.read_line(&mut line)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        let size = u64::from_str_radix(line.trim(), 16)
            .map_err(|error| std::io::Error::other(format!("chunk size {line:?}: {error}")))?;
        (&mut self.reader).take(size).read_to_end(into)?;
        line.clear();
        self.reader.read_line(&mut line)?;
        Ok(size > 0)
    }

    /// The next line of a streamed body; none at its end.
    pub fn line(&mut self, pending: &mut Vec<u8>) -> Option<String> {
        loop {
            if let Some(end) = pending.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = pending.drain(..=end).collect();
                return Some(String::from_utf8_lossy(&line).trim_end().to_owned());
            }
            if self.body != Body::Chunked || !self.chunk(pending).unwrap_or(false) {
                return None;
            }
        }
    }

    /// The status and the body as JSON; null when it is none.
    #[track_caller]
    pub fn json(&mut self) -> (u16, Value) {
        let bytes = self.bytes();
        (
            self.status,
            serde_json::from_slice(&bytes).unwrap_or(Value::Null),
        )
    }

    /// The connection behind an upgraded answer, with what was read ahead.
    pub fn hijack(self) -> (Vec<u8>, UnixStream) {
        (self.reader.buffer().to_vec(), self.reader.into_inner())
    }
}

/// Takes a multiplexed stream apart into standard output and standard error.
///
/// # Panics
/// When it is not framed as the API says (attach, "Stream format").
#[track_caller]
pub fn demux(mut stream: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let mut parts = (Vec::new(), Vec::new());
    while !stream.is_empty() {
        let size = u32::from_be_bytes(stream[4..8].try_into().unwrap());
        let end = 8 + usize::try_from(size).unwrap();
        match stream[0] {
            1 => parts.0.extend_from_slice(&stream[8..end]),
            2 => parts.1.extend_from_slice(&stream[8..end]),
            other => panic!("a frame of stream {other}"),
        }
        stream = &stream[end..];
    }
    parts
}
