//! Health: how it is probed, and what came of it.

use arca_types::Timestamp;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What a probe runs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum HealthTest {
    /// What the image says (an empty `Test`).
    #[default]
    Inherit,
    /// Nothing, also where the image has a probe.
    None,
    /// A command.
    Command(Vec<String>),
    /// A line for the shell.
    Shell(String),
}

impl HealthTest {
    /// From the words of the API: `["CMD", ..]`, `["CMD-SHELL", line]`, `["NONE"]`, `[]`.
    ///
    /// # Errors
    /// [`crate::Error::Invalid`] for any other first word.
    pub fn parse(words: &[String]) -> Result<Self, crate::Error> {
        match words {
            [] => Ok(Self::Inherit),
            [kind, ..] if kind == "NONE" => Ok(Self::None),
            [kind, command @ ..] if kind == "CMD" => Ok(Self::Command(command.to_vec())),
            [kind, line @ ..] if kind == "CMD-SHELL" => {
                Ok(Self::Shell(line.first().cloned().unwrap_or_default()))
            }
            [kind, ..] => Err(crate::Error::Invalid(format!(
                "Unknown healthcheck type '{kind}'"
            ))),
        }
    }

    /// Back to the words of the API.
    #[must_use]
    pub fn words(&self) -> Vec<String> {
        match self {
            Self::Inherit => Vec::new(),
            Self::None => vec!["NONE".into()],
            Self::Command(words) => std::iter::once("CMD".to_owned())
                .chain(words.iter().cloned())
                .collect(),
            Self::Shell(line) => vec!["CMD-SHELL".into(), line.clone()],
        }
    }
}

/// `Healthcheck` of the API; a zero duration or count means the default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Healthcheck {
    /// What to run.
    pub test: HealthTest,
    /// Between two probes; 30 s by default.
    pub interval: Duration,
    /// For one probe; 30 s by default.
    pub timeout: Duration,
    /// Failures in this time after the start do not count; 0 by default.
    pub start_period: Duration,
    /// Between two probes during the start period; 5 s by default.
    pub start_interval: Duration,
    /// Failures in a row that make the container unhealthy; 3 by default.
    pub retries: u32,
}

/// Health as a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are the API's")]
pub enum HealthStatus {
    Starting,
    Healthy,
    Unhealthy,
}

impl HealthStatus {
    /// The name that the API uses.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
        }
    }
}

/// One finished probe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeResult {
    /// When it began.
    pub start: Timestamp,
    /// When it ended.
    pub end: Timestamp,
    /// 0 healthy, 1 unhealthy, -1 when the probe could not be run or took too long.
    pub exit_code: i32,
    /// What it wrote, at most 4096 bytes.
    pub output: String,
}

/// Health of a running container (`State.Health`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// In a word.
    pub status: HealthStatus,
    /// Failed probes since the last good one.
    pub failing_streak: u32,
    /// The last five probes.
    pub log: Vec<ProbeResult>,
}
