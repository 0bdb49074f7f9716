//! Variable expansion and word splitting, as Dockerfiles have them: much like a POSIX shell's, but for
//! what it leaves out (no commands, no arithmetic) and for the escape character, which may be changed.

mod env;
mod pattern;
mod word;

use std::collections::BTreeSet;

pub use env::{Env, NoVariables, Variables};

use crate::quote::quoted;

/// The longest text that an expansion may make, in bytes. A few lines of `ENV a=$a$a` would
/// otherwise fill any memory.
const LONGEST: usize = 4 << 20;

/// How deep `${a:-${b:-…}}` may be nested.
const DEEPEST: usize = 64;

/// Why a text could not be expanded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum ExpandError {
    #[error("failed to process {}: {cause}", quoted(text))]
    In {
        text: String,
        cause: Box<ExpandError>,
        /// Names that were asked for and are not set.
        unset: BTreeSet<String>,
    },
    #[error("unexpected end of statement while looking for matching {0}")]
    Unmatched(&'static str),
    #[error("syntax error: missing '{0}'{1}")]
    Missing(char, &'static str),
    #[error("syntax error: bad substitution")]
    BadSubstitution,
    #[error("unsupported modifier ({0}) in substitution")]
    Modifier(String),
    #[error("{0}: {1}")]
    Required(String, String),
    #[error("invalid pattern ({0}) in substitution")]
    Pattern(String),
    #[error("invalid pattern ({0}) in substitution: invalid escape '\\{1}'")]
    Escape(String, char),
    #[error("the expanded text is longer than 4 MiB")]
    TooLong,
    #[error("substitutions are nested too deeply")]
    TooDeep,
}

impl ExpandError {
    /// Names that were asked for and are not set.
    #[must_use]
    pub fn unset(&self) -> BTreeSet<String> {
        match self {
            Self::In { unset, .. } => unset.clone(),
            _ => BTreeSet::new(),
        }
    }
}

/// How to read a text. The default for instructions is [`Lexer::new`].
#[derive(Debug, Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "four independent switches")]
pub struct Lexer {
    /// The escape character: `\` or `` ` ``.
    pub escape: char,
    /// Quotes stay in the result.
    pub keep_quotes: bool,
    /// Escape characters stay in the result.
    pub keep_escapes: bool,
    /// Quotes mean nothing.
    pub ignore_quotes: bool,
    /// References to variables that are not set stay as they are.
    pub keep_unset: bool,
}

/// A text after expansion.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Expanded {
    /// The whole text, as one word.
    pub text: String,
    /// The text split at blanks that are not quoted, after expansion.
    pub words: Vec<String>,
    /// Names that were asked for and are set.
    pub used: BTreeSet<String>,
    /// Names that were asked for and are not set.
    pub unset: BTreeSet<String>,
}

impl Lexer {
    /// Quotes and escapes are taken away, unset variables are empty.
    #[must_use]
    pub fn new(escape: char) -> Self {
        Self {
            escape,
            keep_quotes: false,
            keep_escapes: false,
            ignore_quotes: false,
            keep_unset: false,
        }
    }

    /// Expands `text`.
    ///
    /// # Errors
    /// [`ExpandError::In`] with the text and what is wrong with it.
    pub fn expand(&self, text: &str, env: &dyn Variables) -> Result<Expanded, ExpandError> {
        let mut word = word::Word::new(*self, text, env);
        match word.whole() {
            Ok((text, words)) => Ok(word.found(text, words)),
            Err(cause) => {
                let unset = word.found(String::new(), Vec::new()).unset;
                Err(ExpandError::In {
                    text: text.to_owned(),
                    cause: Box::new(cause),
                    unset,
                })
            }
        }
    }
}

#[cfg(test)]
mod tests;
