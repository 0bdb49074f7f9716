//! Lint rules: what BuildKit allows but advises against, under its names, with its texts and URLs.
//! `structure` checks what shows from the file alone; what needs values of variables or base images is
//! reported by whoever evaluates the file.

mod rule;
pub(crate) mod structure;

use std::collections::BTreeSet;

pub use rule::Rule;

use crate::lines::Lines;
use crate::quote::quoted;
use crate::text::boolean;

/// Which rules are checked: the `check` directive or the build argument `BUILDKIT_DOCKERFILE_CHECK`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LintConfig {
    /// No rule is checked but experimental ones that are asked for.
    pub skip_all: bool,
    /// Names of rules that are not checked.
    pub skip: BTreeSet<String>,
    /// All experimental rules are checked.
    pub experimental_all: bool,
    /// Names of experimental rules that are checked.
    pub experimental: BTreeSet<String>,
    /// The build fails when a rule is broken.
    pub error: bool,
}

/// A `check` option that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum LintConfigError {
    #[error("invalid check option {}", quoted(.0))]
    Option(String),
    #[error(
        "failed to parse check option {}: strconv.ParseBool: parsing {}: invalid syntax",
        quoted(option),
        quoted(value)
    )]
    Boolean { option: String, value: String },
}

impl LintConfig {
    /// Reads `skip=Rule,Rule;error=true;experimental=all`.
    ///
    /// # Errors
    /// An option is unknown, or has no value.
    pub fn parse(text: &str) -> Result<Self, LintConfigError> {
        let mut config = Self::default();
        if text.trim().is_empty() {
            return Ok(config);
        }
        for option in text.trim().splitn(3, ';') {
            let (key, value) = option
                .split_once('=')
                .ok_or_else(|| LintConfigError::Option(option.to_owned()))?;
            let value = value.trim();
            let names = || {
                value
                    .split(',')
                    .map(|name| name.trim().to_owned())
                    .collect()
            };
            match key.trim() {
                "skip" if value == "all" => config.skip_all = true,
                "skip" => config.skip = names(),
                "experimental" if value == "all" => config.experimental_all = true,
                "experimental" => config.experimental = names(),
                "error" => {
                    config.error = boolean(value).ok_or_else(|| LintConfigError::Boolean {
                        option: option.to_owned(),
                        value: value.to_owned(),
                    })?;
                }
                key => return Err(LintConfigError::Option(key.to_owned())),
            }
        }
        Ok(config)
    }

    fn checks(&self, rule: Rule) -> bool {
        if rule.experimental() {
            self.experimental_all || self.experimental.contains(rule.name())
        } else {
            !self.skip_all && !self.skip.contains(rule.name())
        }
    }
}

/// A broken rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// Which.
    pub rule: Rule,
    /// Where, in ranges of lines.
    pub lines: Vec<Lines>,
    /// How.
    pub text: String,
}

impl Warning {
    /// The warning in one line: `Rule: text (line 3)`.
    #[must_use]
    pub fn short(&self) -> String {
        let line = self
            .lines
            .first()
            .map(|lines| format!(" (line {})", lines.start));
        format!(
            "{}: {}{}",
            self.rule.name(),
            self.text,
            line.unwrap_or_default()
        )
    }
}

/// Collects the warnings of the rules that are checked.
#[derive(Debug, Clone, Default)]
pub struct Linter {
    config: Option<LintConfig>,
    warnings: Vec<Warning>,
}

impl Linter {
    /// Checks what `config` says.
    #[must_use]
    pub fn new(config: LintConfig) -> Self {
        Self {
            config: Some(config),
            warnings: Vec::new(),
        }
    }

    /// Checks nothing.
    #[must_use]
    pub fn silent() -> Self {
        Self::default()
    }

    /// Notes that `rule` is broken, if it is checked.
    pub fn report(&mut self, rule: Rule, lines: &[Lines], text: impl Into<String>) {
        if self
            .config
            .as_ref()
            .is_some_and(|config| config.checks(rule))
        {
            self.warnings.push(Warning {
                rule,
                lines: lines.to_vec(),
                text: text.into(),
            });
        }
    }

    /// The warnings so far, in order.
    #[must_use]
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// Why the build has to fail, when broken rules are errors and there is one.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        if !self.config.as_ref().is_some_and(|config| config.error) || self.warnings.is_empty() {
            return None;
        }
        let names: BTreeSet<&str> = self
            .warnings
            .iter()
            .map(|warning| warning.rule.name())
            .collect();
        let names: Vec<&str> = names.into_iter().collect();
        Some(format!(
            "lint violation found for rules: {}",
            names.join(", ")
        ))
    }
}

#[cfg(test)]
mod tests;
