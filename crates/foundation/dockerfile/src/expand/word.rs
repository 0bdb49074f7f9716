//! Reads one text, character by character.

use std::iter::Peekable;
use std::str::Chars;

use super::pattern::{self, Greed};
use super::{DEEPEST, ExpandError, Expanded, LONGEST, Lexer, Variables};

pub(super) struct Word<'a> {
    lexer: Lexer,
    chars: Peekable<Chars<'a>>,
    env: &'a dyn Variables,
    found: Expanded,
    keep_escapes: bool,
    depth: usize,
}

/// The two readings of a text: in one piece, and split into words.
#[derive(Default)]
struct Output {
    text: String,
    words: Vec<String>,
    word: String,
}

impl Output {
    /// A character that splits words when it is a blank.
    fn push(&mut self, ch: char) {
        self.text.push(ch);
        self.split(ch);
    }

    fn split(&mut self, ch: char) {
        if !ch.is_whitespace() {
            self.word.push(ch);
        } else if !self.word.is_empty() {
            self.words.push(std::mem::take(&mut self.word));
        }
    }

    /// A character that is part of a word whatever it is.
    fn push_literal(&mut self, ch: char) {
        self.text.push(ch);
        self.word.push(ch);
    }

    fn finish(mut self) -> (String, Vec<String>) {
        if !self.word.is_empty() {
            self.words.push(self.word);
        }
        (self.text, self.words)
    }
}

impl<'a> Word<'a> {
    pub(super) fn new(lexer: Lexer, text: &'a str, env: &'a dyn Variables) -> Self {
        Self {
            lexer,
            chars: text.chars().peekable(),
            env,
            found: Expanded::default(),
            keep_escapes: lexer.keep_escapes,
            depth: 0,
        }
    }

    pub(super) fn whole(&mut self) -> Result<(String, Vec<String>), ExpandError> {
        self.until(None, self.keep_escapes)
    }

    /// What has been found, with what it has come to.
    pub(super) fn found(self, text: String, words: Vec<String>) -> Expanded {
        Expanded {
            text,
            words,
            ..self.found
        }
    }

    /// Reads to `stop`, or to the end.
    fn until(
        &mut self,
        stop: Option<char>,
        keep_escapes: bool,
    ) -> Result<(String, Vec<String>), ExpandError> {
        if self.depth > DEEPEST {
            return Err(ExpandError::TooDeep);
        }
        self.depth += 1;
        let before = std::mem::replace(&mut self.keep_escapes, keep_escapes);
        let result = self.read(stop);
        self.keep_escapes = before;
        self.depth -= 1;
        result
    }

    fn read(&mut self, stop: Option<char>) -> Result<(String, Vec<String>), ExpandError> {
        let mut out = Output::default();
        while let Some(ch) = self.chars.next() {
            if Some(ch) == stop {
                return Ok(out.finish());
            }
            match ch {
                '$' => {
                    let value = self.dollar()?;
                    out.text.push_str(&value);
                    value.chars().for_each(|ch| out.split(ch));
                }
                '<' => self.angle().chars().for_each(|ch| out.push_literal(ch)),
                '\'' if !self.lexer.ignore_quotes => self.quoted(&mut out)?,
                '"' if !self.lexer.ignore_quotes => self.double_quoted(&mut out)?,
                ch if ch == self.lexer.escape => self.escaped(&mut out),
                ch => out.push(ch),
            }
            if out.text.len() > LONGEST {
                return Err(ExpandError::TooLong);
            }
        }
        match stop {
            None => Ok(out.finish()),
            Some(stop) => Err(unfinished(stop)),
        }
    }

    /// A part of a substitution. Whatever is wrong in one that never ends, its end is missing.
    fn part(&mut self, stop: char, keep_escapes: bool) -> Result<String, ExpandError> {
        match self.until(Some(stop), keep_escapes) {
            Ok((text, _)) => Ok(text),
            Err(ExpandError::TooDeep) => Err(ExpandError::TooDeep),
            Err(_) if self.chars.peek().is_none() => Err(unfinished(stop)),
            Err(error) => Err(error),
        }
    }

    /// An escape makes the next character literal; at the end of the text it is dropped.
    fn escaped(&mut self, out: &mut Output) {
        if self.keep_escapes {
            out.push_literal(self.lexer.escape);
        }
        if let Some(next) = self.chars.next() {
            out.push_literal(next);
        }
    }

    /// `<<` keeps the blanks after it, so that `<< EOF` is one word.
    fn angle(&mut self) -> String {
        let mut out = String::from("<");
        if self.chars.next_if_eq(&'<').is_some() {
            out.push('<');
            while let Some(blank) = self.chars.next_if(|ch| matches!(ch, '\t' | '\r' | ' ')) {
                out.push(blank);
            }
        }
        out
    }

    /// All that is between single quotes is literal.
    fn quoted(&mut self, out: &mut Output) -> Result<(), ExpandError> {
        if self.lexer.keep_quotes {
            out.push_literal('\'');
        }
        loop {
            match self.chars.next() {
                None => return Err(ExpandError::Unmatched("single-quote")),
                Some('\'') => break,
                Some(ch) => out.push_literal(ch),
            }
        }
        if self.lexer.keep_quotes {
            out.push_literal('\'');
        }
        Ok(())
    }

    /// Between double quotes `$` is special, and the escape before `"`, `$` and itself.
    fn double_quoted(&mut self, out: &mut Output) -> Result<(), ExpandError> {
        if self.lexer.keep_quotes {
            out.push_literal('"');
        }
        loop {
            match self.chars.next() {
                None => return Err(ExpandError::Unmatched("double-quote")),
                Some('"') => break,
                Some('$') => self.dollar()?.chars().for_each(|ch| out.push_literal(ch)),
                Some(ch) if ch == self.lexer.escape => {
                    if self.keep_escapes {
                        out.push_literal(ch);
                    }
                    let special = |next: &char| matches!(next, '"' | '$') || *next == ch;
                    match (self.chars.next_if(special), self.chars.peek()) {
                        (Some(next), _) => out.push_literal(next),
                        (None, Some(_)) => out.push_literal(ch),
                        (None, None) => {}
                    }
                }
                Some(ch) => out.push_literal(ch),
            }
        }
        if self.lexer.keep_quotes {
            out.push_literal('"');
        }
        Ok(())
    }

    /// What follows a `$`.
    fn dollar(&mut self) -> Result<String, ExpandError> {
        if self.chars.next_if_eq(&'{').is_some() {
            return self.braces();
        }
        let name = self.name();
        if name.is_empty() {
            return Ok("$".to_owned());
        }
        Ok(match self.lookup(&name) {
            Some(value) => value,
            None if self.lexer.keep_unset => format!("${name}"),
            None => String::new(),
        })
    }

    fn braces(&mut self) -> Result<String, ExpandError> {
        match self.chars.peek() {
            None => return Err(ExpandError::Missing('}', "")),
            Some('{' | '}' | ':') => return Err(ExpandError::BadSubstitution),
            Some(_) => {}
        }
        let name = self.name();
        match self.chars.next() {
            Some('}') => Ok(match self.lookup(&name) {
                Some(value) => value,
                None if self.lexer.keep_unset => format!("${{{name}}}"),
                None => String::new(),
            }),
            Some(':') => {
                let operator = self.chars.next();
                self.modified(&name, operator.unwrap_or('\u{fffd}'), true)
            }
            Some(operator @ ('+' | '-' | '?' | '#' | '%')) => self.modified(&name, operator, false),
            Some('/') => self.substituted(&name),
            other => Err(ExpandError::Modifier(
                other.unwrap_or('\u{fffd}').to_string(),
            )),
        }
    }

    /// `${name<operator>word}`; with `colon` an empty value counts as unset.
    fn modified(&mut self, name: &str, operator: char, colon: bool) -> Result<String, ExpandError> {
        let trims = matches!(operator, '#' | '%');
        let written = format!("{}{operator}", if colon { ":" } else { "" });
        if colon && trims {
            return Err(ExpandError::Modifier(written));
        }
        let word = self.part('}', trims)?;
        let value = self.lookup(name);
        if self.lexer.keep_unset && value.is_none() {
            return Ok(format!("${{{name}{written}{word}}}"));
        }
        let present = value.as_ref().filter(|value| !(colon && value.is_empty()));
        match operator {
            '-' => Ok(present.cloned().unwrap_or(word)),
            '+' => Ok(if present.is_some() {
                word
            } else {
                String::new()
            }),
            '?' => present.cloned().ok_or_else(|| {
                let missing = if value.is_none() { "unset" } else { "empty" };
                let default = format!("is not allowed to be {missing}");
                ExpandError::Required(
                    name.to_owned(),
                    if word.is_empty() { default } else { word },
                )
            }),
            '#' | '%' => trimmed(&value.unwrap_or_default(), operator, &word),
            _ => Err(ExpandError::Modifier(written)),
        }
    }

    /// `${name/pattern/text}` and `${name//pattern/text}`.
    fn substituted(&mut self, name: &str) -> Result<String, ExpandError> {
        let all = self.chars.next_if_eq(&'/').is_some();
        let pattern = self.part('/', true)?;
        let text = self.part('}', true)?;
        match self.lookup(name) {
            None if self.lexer.keep_unset => Ok(format!("${{{name}/{pattern}/{text}}}")),
            value => pattern::replaced(&value.unwrap_or_default(), &pattern, &text, all),
        }
    }

    /// A name, a number, or one of the shell's special parameters.
    fn name(&mut self) -> String {
        let mut name = String::new();
        let Some(first) = self.chars.peek().copied() else {
            return name;
        };
        if first.is_numeric() {
            while let Some(digit) = self.chars.next_if(|ch| ch.is_numeric()) {
                name.push(digit);
            }
        } else if matches!(first, '@' | '*' | '#' | '?' | '-' | '$' | '!') {
            name.extend(self.chars.next());
        } else {
            while let Some(ch) = self.chars.next_if(|ch| ch.is_alphanumeric() || *ch == '_') {
                name.push(ch);
            }
        }
        name
    }

    fn lookup(&mut self, name: &str) -> Option<String> {
        let value = self.env.value(name).map(str::to_owned);
        let names = if value.is_some() {
            &mut self.found.used
        } else {
            &mut self.found.unset
        };
        names.insert(name.to_owned());
        value
    }
}

fn unfinished(stop: char) -> ExpandError {
    match stop {
        '/' => ExpandError::Missing('/', " in ${}"),
        stop => ExpandError::Missing(stop, ""),
    }
}

/// One operator sign takes the shortest match away, two the longest.
fn trimmed(value: &str, operator: char, word: &str) -> Result<String, ExpandError> {
    let (pattern, greed) = match word.strip_prefix(operator) {
        Some(rest) => (rest, Greed::Longest),
        None => (word, Greed::Shortest),
    };
    match operator {
        '#' => pattern::without_prefix(value, pattern, greed),
        _ => pattern::without_suffix(value, pattern, greed),
    }
}
