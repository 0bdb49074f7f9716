//! What can be wrong with a Dockerfile, in the words that clients know from BuildKit.

use crate::lines::Lines;
use crate::quote::quoted;

/// What is wrong with an instruction, or with the file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum Error {
    #[error("invalid escape token '{0}' does not match ` or \\")]
    EscapeToken(String),
    #[error("only one {0} parser directive can be used")]
    DirectiveTwice(String),
    #[error("dockerfile line greater than max allowed size of 65535")]
    LineTooLong,
    #[error("file with no instructions")]
    NoInstructions,
    #[error("unterminated heredoc")]
    UnterminatedHeredoc,
    #[error("when using JSON array syntax, arrays must be comprised of strings only")]
    NotStrings,
    #[error("{0} must have two arguments")]
    TwoArguments(&'static str),
    #[error("Syntax error - can't find = in {}. Must be of the form: name=value", quoted(.0))]
    NoEquals(String),
    #[error("unknown instruction: {0}{1}")]
    UnknownInstruction(String, String),
    #[error("{0} requires at least one argument")]
    AtLeastOneArgument(&'static str),
    #[error("{0} requires exactly one argument")]
    ExactlyOneArgument(&'static str),
    #[error(
        "{0} requires at least two arguments, but only one was provided. Destination could not be determined"
    )]
    NoDestination(&'static str),
    #[error("{0} cannot accept a heredoc as a destination")]
    HeredocDestination(&'static str),
    #[error("{0} names can not be blank")]
    BlankName(&'static str),
    #[error("{0} requires the arguments to be in JSON form")]
    NotJson(&'static str),
    #[error("FROM requires either one or three arguments")]
    FromArguments,
    #[error(
        "invalid name for build stage: {}, name can't start with a number or contain symbols",
        quoted(.0)
    )]
    StageName(String),
    #[error("no build stage in current context")]
    NoStage,
    #[error("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed")]
    OnbuildChain,
    #[error("{0} isn't allowed as an ONBUILD trigger")]
    OnbuildTrigger(String),
    #[error("onbuild trigger should be a single expression")]
    OnbuildSingle,
    #[error("VOLUME specified can not be an empty string")]
    EmptyVolume,
    #[error("HEALTHCHECK NONE takes no arguments")]
    HealthcheckNone,
    #[error("Missing command after HEALTHCHECK CMD")]
    HealthcheckCommand,
    #[error("Unknown type {} in HEALTHCHECK (try CMD)", quoted(.0))]
    HealthcheckType(String),
    #[error("Interval {} cannot be less than 1ms", quoted(.0))]
    Interval(&'static str),
    #[error("{0}")]
    Duration(String),
    #[error("strconv.ParseInt: parsing {}: {}", quoted(.0), .1)]
    Number(String, &'static str),
    #[error("--retries cannot be negative ({0})")]
    NegativeRetries(i64),
    #[error(transparent)]
    Flag(#[from] FlagError),
    #[error(transparent)]
    Mount(#[from] MountError),
    #[error("invalid network mode {}", quoted(.0))]
    Network(String),
    #[error("security {} is not valid", quoted(.0))]
    Security(String),
    #[error(transparent)]
    Expand(#[from] crate::expand::ExpandError),
}

/// What is wrong with the `--flags` of an instruction.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum FlagError {
    #[error("arg should start with -- : {0}")]
    Dashes(String),
    #[error("unknown flag: {0}{1}")]
    Unknown(String, String),
    #[error("duplicate flag specified: {0}")]
    Duplicate(String),
    #[error("missing a value on flag: {0}")]
    NoValue(String),
    #[error("expecting boolean value for flag {0}, not: {1}")]
    NotBoolean(String, String),
}

/// What is wrong with a `RUN --mount`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum MountError {
    #[error("failed to parse csv mounts: {0}")]
    Csv(String),
    #[error("invalid field '{0}' must be a key=value pair")]
    NoValue(String),
    #[error("unexpected key '{0}' for mount type '{1}'")]
    KeyForType(String, &'static str),
    #[error("unexpected key '{0}' in '{1}'{2}")]
    Key(String, String, String),
    #[error("'from' doesn't support variable expansion, define alias stage instead")]
    FromVariable,
    #[error("unsupported mount type {}{}", quoted(.0), .1)]
    Type(String, String),
    #[error("unsupported sharing value {}{}", quoted(.0), .1)]
    Sharing(String, String),
    #[error("invalid value for {0}: {1}")]
    Value(String, String),
    #[error("invalid value {1} for {0}")]
    Number(&'static str, String),
    #[error("{} not allowed for {} type mounts", .0, quoted(.1))]
    NotAllowed(&'static str, &'static str),
    #[error("secret mount should not have a from")]
    SecretFrom,
    #[error("secret mount should not define sharing")]
    SecretSharing,
    #[error("invalid secret mount. one of source, target required")]
    SecretName,
    #[error("both source and id can't be set")]
    SecretSourceAndId,
    #[error("invalid cache sharing set for {0} mount")]
    SharingForType(&'static str),
    #[error(transparent)]
    Expand(#[from] crate::expand::ExpandError),
}

/// An [`Error`] and where it is.
///
/// Its text names the line when an instruction was understood as such but is wrong in itself, as
/// BuildKit's does; `lines` is there for those who show the place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{cause}", self.prefix())]
pub struct ParseError {
    /// Where.
    pub lines: Lines,
    /// What.
    pub cause: Error,
    /// Whether the text says the line.
    pub(crate) tells_line: bool,
}

impl ParseError {
    pub(crate) fn in_text(lines: Lines, cause: Error) -> Self {
        Self {
            lines,
            cause,
            tells_line: false,
        }
    }

    pub(crate) fn in_instruction(lines: Lines, cause: Error) -> Self {
        Self {
            lines,
            cause,
            tells_line: true,
        }
    }

    fn prefix(&self) -> String {
        if self.tells_line {
            format!("dockerfile parse error on line {}: ", self.lines.start)
        } else {
            String::new()
        }
    }
}
