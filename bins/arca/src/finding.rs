//! What a check found.

use serde::Serialize;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Level {
    /// As it should be.
    Ok,
    /// Something works less well.
    Warning,
    /// Something does not work.
    Error,
}

/// The outcome of one check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    /// How bad it is.
    pub(crate) level: Level,
    /// What was looked at.
    pub(crate) what: String,
    /// What was seen, and what to do about it.
    pub(crate) text: String,
}

impl Finding {
    pub(crate) fn ok(what: &str, text: impl Into<String>) -> Self {
        Self {
            level: Level::Ok,
            what: what.to_owned(),
            text: text.into(),
        }
    }

    pub(crate) fn warning(what: &str, text: impl Into<String>) -> Self {
        Self {
            level: Level::Warning,
            what: what.to_owned(),
            text: text.into(),
        }
    }

    pub(crate) fn error(what: &str, text: impl Into<String>) -> Self {
        Self {
            level: Level::Error,
            what: what.to_owned(),
            text: text.into(),
        }
    }

    /// An error unless `holds`.
    pub(crate) fn needed(what: &str, holds: bool, good: &str, bad: &str) -> Self {
        if holds {
            Self::ok(what, good)
        } else {
            Self::error(what, bad)
        }
    }
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mark = match self.level {
            Level::Ok => "ok     ",
            Level::Warning => "warning",
            Level::Error => "ERROR  ",
        };
        write!(f, "{mark}  {}: {}", self.what, self.text)
    }
}
