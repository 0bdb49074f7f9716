//! The `--flags` of an instruction.

use crate::error::FlagError;
use crate::suggest::{hint, nearest};

/// How a flag is written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum FlagKind {
    /// `--link`, `--link=false`.
    Bool,
    /// `--from=x`, once.
    Text,
    /// `--mount=x`, any number of times.
    List,
}

/// The flags that were given.
pub(super) struct Flags {
    given: Vec<(String, String)>,
}

impl Flags {
    /// Checks `given` against what is allowed.
    pub(super) fn parse(
        given: &[String],
        allowed: &[(&'static str, FlagKind)],
    ) -> Result<Self, FlagError> {
        let mut flags = Self { given: Vec::new() };
        for text in given {
            let (flag, value) = match text.split_once('=') {
                Some((flag, value)) => (flag, Some(value)),
                None => (text.as_str(), None),
            };
            let name = flag
                .strip_prefix("--")
                .ok_or_else(|| FlagError::Dashes(text.clone()))?;
            let Some((_, kind)) = allowed.iter().find(|(known, _)| *known == name) else {
                let near = nearest(name, allowed.iter().map(|(known, _)| *known));
                return Err(FlagError::Unknown(flag.to_owned(), hint(near)));
            };
            if *kind != FlagKind::List && flags.text(name).is_some() {
                return Err(FlagError::Duplicate(flag.to_owned()));
            }
            let value = match (kind, value) {
                (FlagKind::Bool, value) => boolean(flag, value)?,
                (_, Some(value)) => value,
                (_, None) => return Err(FlagError::NoValue(flag.to_owned())),
            };
            flags.given.push((name.to_owned(), value.to_owned()));
        }
        Ok(flags)
    }

    /// No flag is allowed.
    pub(super) fn none(given: &[String]) -> Result<(), FlagError> {
        Self::parse(given, &[]).map(|_| ())
    }

    /// The value of a flag, if it was given.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.given
            .iter()
            .find(|(given, _)| given == name)
            .map(|(_, value)| value.as_str())
    }

    /// The value of a flag, empty when it was not given.
    pub(super) fn text_or_empty(&self, name: &str) -> String {
        self.text(name).unwrap_or_default().to_owned()
    }

    /// A yes or no, if it was given.
    pub(super) fn boolean(&self, name: &str) -> Option<bool> {
        self.text(name).map(|value| value == "true")
    }

    /// All values of a flag.
    pub(super) fn list(&self, name: &str) -> Vec<String> {
        let named = self.given.iter().filter(|(given, _)| given == name);
        named.map(|(_, value)| value.clone()).collect()
    }
}

fn boolean(flag: &str, value: Option<&str>) -> Result<&'static str, FlagError> {
    match value.map(str::to_lowercase).as_deref() {
        None | Some("true") => Ok("true"),
        Some("false") => Ok("false"),
        Some("") => Err(FlagError::NoValue(flag.to_owned())),
        Some(_) => Err(FlagError::NotBoolean(
            flag.to_owned(),
            value.unwrap_or_default().to_owned(),
        )),
    }
}
