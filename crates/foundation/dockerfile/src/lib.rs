//! Dockerfiles and ignore files: from text to checked instructions, without any I/O.
//!
//! [`Dockerfile::parse`] reads a file the way BuildKit's `docker/dockerfile:1` front end does, errors
//! in its words included. Variables are not expanded there: their values depend on what is built, so
//! whoever runs the instructions does that with [`Lexer`]. Patterns of ignore files are [`ignore_file`]
//! and [`PatternMatcher`]; lint rules that show from the text are reported while parsing.

mod csv;
mod directive;
mod duration;
mod error;
mod expand;
mod git;
mod heredoc;
mod ignore;
mod instruction;
mod lines;
mod lint;
mod mode;
mod parse;
mod ports;
mod quote;
mod suggest;
mod text;

pub use csv::csv_fields;
pub use directive::{Directive, directive, syntax};
pub use duration::{format_duration, parse_duration};
pub use error::{Error, FlagError, MountError, ParseError};
pub use expand::{Env, ExpandError, Expanded, Lexer, NoVariables, Variables};
pub use git::{GitError, GitUrl, git_url};
pub use heredoc::{Heredoc, heredoc};
pub use ignore::{ParentMatches, PatternError, PatternMatcher, ignore_file};
pub use instruction::{
    Add, Arg, CommandLine, Copy, Document, Healthcheck, Instruction, Kind, Pair, RawMount, Run,
    RunNetwork, RunSecurity, Stage, Transfer,
};
pub use lines::Lines;
pub use lint::{LintConfig, LintConfigError, Linter, Rule, Warning};
pub use mode::{Mode, ModeError, mode};
pub use parse::{Dockerfile, Mount, MountKind, Sharing};
pub use ports::{ExposedPort, PortError, exposed_ports};
pub use quote::{quoted, quoted_character, quoted_list};
pub use suggest::{hint, nearest, nearest_ignoring_case};
pub use text::{boolean, clean_path};
