//! From lines to instructions: comments, continuation, here-documents.

use super::words::{self, Pair};
use crate::directive::Directives;
use crate::error::{Error, ParseError};
use crate::heredoc::{self, Heredoc};
use crate::lines::Lines;

/// The longest line that is read, in bytes with its line feed.
const LONGEST_LINE: usize = 65536;

/// An instruction as written, not yet checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Statement {
    pub(crate) keyword: String,
    /// The joined lines, as written.
    pub(crate) text: String,
    pub(crate) flags: Vec<String>,
    pub(crate) arguments: Arguments,
    pub(crate) heredocs: Vec<Heredoc>,
    pub(crate) lines: Lines,
    pub(crate) comments: Vec<String>,
}

/// What follows keyword and flags.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Arguments {
    Words(Vec<String>),
    Json(Vec<String>),
    Pairs(Vec<Pair>),
    /// `HEALTHCHECK`: its type and the command.
    Typed(String, Box<Arguments>),
    /// `ONBUILD`: the keyword of the trigger, and whether that may have here-documents.
    Trigger(String, bool),
}

/// All instructions of a file.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) escape: char,
    pub(crate) statements: Vec<Statement>,
    /// Last lines of the instructions that have an empty line among continued ones.
    pub(crate) empty_continuations: Vec<u32>,
}

/// Reads `text`.
pub(crate) fn read(text: &str) -> Result<Source, ParseError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut reader = Reader {
        lines: text.split_inclusive('\n'),
        line: 0,
        directives: Directives::new("#"),
        escape: '\\',
        comments: Vec::new(),
        empty_continuations: Vec::new(),
    };
    let mut statements = Vec::new();
    while let Some(statement) = reader.statement()? {
        statements.push(statement);
    }
    if statements.is_empty() {
        return Err(ParseError::in_text(
            Lines::one(reader.line),
            Error::NoInstructions,
        ));
    }
    let Reader {
        escape,
        empty_continuations,
        ..
    } = reader;
    Ok(Source {
        escape,
        statements,
        empty_continuations,
    })
}

struct Reader<'a> {
    lines: std::str::SplitInclusive<'a, char>,
    /// Lines read so far: the number of the current one.
    line: u32,
    directives: Directives,
    escape: char,
    comments: Vec<String>,
    empty_continuations: Vec<u32>,
}

impl<'a> Reader<'a> {
    /// The next line with its line ending.
    fn raw(&mut self) -> Result<Option<&'a str>, ParseError> {
        let Some(line) = self.lines.next() else {
            return Ok(None);
        };
        if line.len() > LONGEST_LINE || (line.len() == LONGEST_LINE && !line.ends_with('\n')) {
            return Err(ParseError::in_text(
                Lines::one(self.line),
                Error::LineTooLong,
            ));
        }
        self.line += 1;
        Ok(Some(line))
    }

    fn statement(&mut self) -> Result<Option<Statement>, ParseError> {
        while let Some(raw) = self.raw()? {
            if is_comment(raw) {
                self.comment(raw.get(1..).unwrap_or_default().trim());
            }
            let line = without_ending(raw).trim_start();
            if self.directive(line)? {
                self.comments.pop();
            }
            let line = if is_comment(line) { "" } else { line };
            let (line, continues) = self.continuation(line);
            if line.is_empty() && !continues {
                continue;
            }
            let start = self.line;
            let text = self.joined(line, continues)?;
            let mut statement = self.parsed(&text, start)?;
            if statement.may_have_heredocs() && text.contains("<<") {
                statement.heredocs = self.heredocs(&text, start)?;
            }
            statement.lines = Lines::new(start, self.line);
            return Ok(Some(statement));
        }
        Ok(None)
    }

    /// An empty comment takes those before it away from the next instruction.
    fn comment(&mut self, text: &str) {
        if text.is_empty() {
            self.comments.clear();
        } else {
            self.comments.push(text.to_owned());
        }
    }

    fn directive(&mut self, line: &str) -> Result<bool, ParseError> {
        // The place is the line before: that is where BuildKit says it is.
        let place = Lines::one(self.line.saturating_sub(1));
        let found = self
            .directives
            .next(line)
            .map_err(|name| ParseError::in_text(place, Error::DirectiveTwice(name)))?;
        match &found {
            Some(found) if found.name == "escape" => match found.value.as_str() {
                "\\" => self.escape = '\\',
                "`" => self.escape = '`',
                _ => {
                    return Err(ParseError::in_text(
                        place,
                        Error::EscapeToken(found.value.clone()),
                    ));
                }
            },
            _ => {}
        }
        Ok(found.is_some())
    }

    /// `line` without the escape character at its end, and whether there was one. Blanks may follow
    /// it; two of them are no continuation.
    fn continuation<'l>(&self, line: &'l str) -> (&'l str, bool) {
        match line.trim_end_matches([' ', '\t']).strip_suffix(self.escape) {
            Some(rest) if !rest.ends_with(self.escape) => (rest, true),
            _ => (line, false),
        }
    }

    /// Joins continued lines; comments and empty lines among them are left out.
    fn joined(&mut self, first: &str, mut continues: bool) -> Result<String, ParseError> {
        let mut text = first.to_owned();
        let mut empty = false;
        while continues {
            let Some(raw) = self.raw()? else { break };
            let line = without_ending(raw);
            // Directives end with the first instruction; this line only counts.
            self.directive(line)?;
            if is_comment(line) {
                continue;
            }
            if line.trim_start().is_empty() {
                empty = true;
                continue;
            }
            let (line, more) = self.continuation(line);
            text.push_str(line);
            continues = more;
        }
        if empty {
            self.empty_continuations.push(self.line);
        }
        Ok(text)
    }

    fn parsed(&mut self, text: &str, start: u32) -> Result<Statement, ParseError> {
        let split = words::split(text, self.escape);
        let arguments = arguments(&split.keyword, &split.rest, self.escape, 0)
            .map_err(|cause| ParseError::in_text(Lines::new(start, self.line), cause))?;
        Ok(Statement {
            keyword: split.keyword,
            text: text.to_owned(),
            flags: split.flags,
            arguments,
            heredocs: Vec::new(),
            lines: Lines::new(start, self.line),
            comments: std::mem::take(&mut self.comments),
        })
    }

    fn heredocs(&mut self, text: &str, start: u32) -> Result<Vec<Heredoc>, ParseError> {
        let mut found = heredoc::opened_by(text).map_err(|cause| {
            ParseError::in_text(Lines::new(start, self.line), Error::Expand(cause))
        })?;
        for doc in &mut found {
            loop {
                let Some(raw) = self.raw()? else {
                    let lines = Lines::new(start, self.line);
                    return Err(ParseError::in_text(lines, Error::UnterminatedHeredoc));
                };
                if doc.is_ended_by(raw) {
                    break;
                }
                doc.content.push_str(raw);
            }
        }
        Ok(found)
    }
}

impl Statement {
    fn may_have_heredocs(&self) -> bool {
        match &self.arguments {
            Arguments::Json(_) => false,
            Arguments::Trigger(_, may) => *may,
            _ => takes_heredocs(&self.keyword),
        }
    }
}

fn takes_heredocs(keyword: &str) -> bool {
    ["add", "copy", "run"]
        .iter()
        .any(|known| keyword.eq_ignore_ascii_case(known))
}

/// Reads what follows the keyword as that keyword demands. `depth` counts `ONBUILD`s.
fn arguments(keyword: &str, rest: &str, escape: char, depth: u32) -> Result<Arguments, Error> {
    Ok(match keyword.to_ascii_lowercase().as_str() {
        "add" | "copy" | "volume" => match words::json(rest)? {
            Some(items) => Arguments::Json(items),
            None => Arguments::Words(words::blank_separated(rest)),
        },
        "cmd" | "entrypoint" | "run" | "shell" => command(rest)?,
        "arg" => Arguments::Words(words::words(rest, escape)),
        "env" => Arguments::Pairs(words::pairs(rest, "ENV", escape)?),
        "label" => Arguments::Pairs(words::pairs(rest, "LABEL", escape)?),
        "expose" | "from" => Arguments::Words(words::blank_separated(rest)),
        "healthcheck" => {
            let (kind, command_text) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
            let command = command(command_text.trim_start())?;
            Arguments::Typed(kind.to_owned(), Box::new(command))
        }
        "onbuild" => trigger(rest, escape, depth)?,
        "maintainer" | "stopsignal" | "user" | "workdir" => whole(rest),
        _ => Arguments::Words(Vec::new()),
    })
}

fn command(text: &str) -> Result<Arguments, Error> {
    Ok(match words::json(text)? {
        Some(items) => Arguments::Json(items),
        None => whole(text),
    })
}

fn whole(text: &str) -> Arguments {
    Arguments::Words(if text.is_empty() {
        Vec::new()
    } else {
        vec![text.to_owned()]
    })
}

/// The instruction after `ONBUILD` has to be readable; what it is worth shows when it is run.
fn trigger(rest: &str, escape: char, depth: u32) -> Result<Arguments, Error> {
    if rest.is_empty() {
        return Ok(Arguments::Words(Vec::new()));
    }
    let split = words::split(rest, escape);
    if depth > 0 {
        return Ok(Arguments::Trigger(split.keyword, false));
    }
    let inner = arguments(&split.keyword, &split.rest, escape, depth + 1)?;
    let may = takes_heredocs(&split.keyword) && !matches!(inner, Arguments::Json(_));
    Ok(Arguments::Trigger(split.keyword, may))
}

fn without_ending(line: &str) -> &str {
    line.trim_end_matches(['\r', '\n'])
}

fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with('#')
}
