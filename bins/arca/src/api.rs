//! The daemon's socket: who answers there, and which containers it knows.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use serde::Deserialize;

use crate::finding::Finding;

/// How long an operation on the whole store may take.
const LONG: Duration = Duration::from_secs(24 * 3600);

/// What is behind the socket.
#[derive(Debug)]
pub(crate) enum Daemon {
    /// A daemon that answers.
    Answers(Api),
    /// Somebody listens, but does not answer.
    Silent(String),
    /// Nobody.
    Absent(String),
}

/// A daemon that answers.
#[derive(Debug)]
pub(crate) struct Api {
    socket: PathBuf,
    mode: u32,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    id: String,
    state: String,
}

impl Daemon {
    /// Tries the socket.
    pub(crate) fn find(socket: &Path) -> Self {
        let shown = socket.display();
        let found = match std::fs::metadata(socket) {
            Ok(found) if found.file_type().is_socket() => found,
            Ok(_) => return Self::Absent(format!("{shown} is not a socket")),
            Err(error) => return Self::Absent(format!("{shown}: {error}")),
        };
        let api = Api {
            socket: socket.to_owned(),
            mode: found.permissions().mode() & 0o777,
        };
        match api.get("/_ping") {
            Ok(answer) if answer == "OK" => Self::Answers(api),
            Ok(answer) => Self::Silent(format!("{shown} answers with {answer:?}")),
            Err(error) if UnixStream::connect(socket).is_ok() => {
                Self::Silent(format!("{shown}: {error:#}"))
            }
            Err(error) => Self::Absent(format!("{error:#}")),
        }
    }

    /// Whether a daemon may be writing to the state.
    pub(crate) fn is_alive(&self) -> bool {
        !matches!(self, Self::Absent(_))
    }

    /// What this means.
    pub(crate) fn finding(&self) -> Finding {
        match self {
            Self::Answers(api) if api.mode & 0o007 != 0 => Finding::error(
                "socket",
                format!(
                    "{} has mode {:o}: everybody on this host is root",
                    api.socket.display(),
                    api.mode
                ),
            ),
            Self::Answers(api) => Finding::ok(
                "socket",
                format!("the daemon answers on {}", api.socket.display()),
            ),
            Self::Silent(why) => Finding::error("socket", why.clone()),
            Self::Absent(why) => {
                Finding::warning("socket", format!("the daemon is not running: {why}"))
            }
        }
    }
}

impl Api {
    /// The containers the daemon knows, and whether it says that they run.
    pub(crate) fn containers(&self) -> anyhow::Result<BTreeMap<String, bool>> {
        let listed: Vec<Listed> = serde_json::from_str(&self.get("/containers/json?all=1")?)?;
        Ok(listed
            .into_iter()
            .map(|container| {
                (
                    container.id,
                    ["running", "paused"].contains(&container.state.as_str()),
                )
            })
            .collect())
    }

    /// What the daemon warns of (`docker info`).
    pub(crate) fn warnings(&self) -> anyhow::Result<Vec<Finding>> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Info {
            warnings: Option<Vec<String>>,
        }
        let info: Info = serde_json::from_str(&self.get("/info")?)?;
        let warnings = info.warnings.unwrap_or_default().into_iter();
        let text = |warning: String| warning.trim_start_matches("WARNING: ").to_owned();
        Ok(warnings
            .map(|warning| Finding::warning("daemon", text(warning)))
            .collect())
    }

    fn get(&self, path: &str) -> anyhow::Result<String> {
        self.request("GET", path, Duration::from_secs(10))
    }

    /// Sends a request without a body and waits for the answer, however long it takes.
    pub(crate) fn post(&self, path: &str) -> anyhow::Result<String> {
        self.request("POST", path, LONG)
    }

    fn request(&self, method: &str, path: &str, limit: Duration) -> anyhow::Result<String> {
        let failed = || format!("{}{path}", self.socket.display());
        let mut stream = UnixStream::connect(&self.socket).with_context(failed)?;
        stream.set_read_timeout(Some(limit))?;
        let head = format!("{method} {path} HTTP/1.0\r\nHost: arca\r\nContent-Length: 0\r\n\r\n");
        stream.write_all(head.as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).with_context(failed)?;
        let (head, body) = answer.split_once("\r\n\r\n").with_context(failed)?;
        let status = head.split(' ').nth(1).unwrap_or_default();
        anyhow::ensure!(status.starts_with('2'), "{}: {status} {body}", failed());
        Ok(body.to_owned())
    }
}
