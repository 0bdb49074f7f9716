//! Templates of tags: the part of Go's `text/template` that makes sense in one line, with dockerd's
//! functions.

use std::collections::BTreeMap;

use crate::functions;

/// What a template works on and with.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Text(String),
    Number(i64),
    Truth(bool),
    List(Vec<Self>),
    Map(BTreeMap<String, Self>),
}

impl Value {
    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// Does it count as true?
    pub(crate) fn is_true(&self) -> bool {
        match self {
            Self::Text(text) => !text.is_empty(),
            Self::Number(number) => *number != 0,
            Self::Truth(truth) => *truth,
            Self::List(list) => !list.is_empty(),
            Self::Map(map) => !map.is_empty(),
        }
    }
}

/// As Go prints it.
impl std::fmt::Display for Value {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Text(text) => to.write_str(text),
            Self::Number(number) => number.fmt(to),
            Self::Truth(truth) => truth.fmt(to),
            Self::List(list) => {
                let texts: Vec<_> = list.iter().map(Self::to_string).collect();
                write!(to, "[{}]", texts.join(" "))
            }
            Self::Map(map) => {
                let texts: Vec<_> = map.iter().map(|(k, v)| format!("{k}:{v}")).collect();
                write!(to, "map[{}]", texts.join(" "))
            }
        }
    }
}

/// Looks a field of the container up.
pub(crate) type Lookup<'a> = &'a dyn Fn(&str) -> Option<Value>;

/// Fills a template in.
///
/// # Errors
/// What is wrong with it, in Go's words where dockerd says something.
pub(crate) fn execute(template: &str, lookup: Lookup<'_>) -> Result<String, String> {
    let mut pieces = pieces(template)?;
    pieces.reverse();
    let mut out = String::new();
    match block(&mut pieces, lookup, true, &mut out)? {
        End::Template => Ok(out),
        End::Else | End::Block => Err(syntax("unexpected {{end}}")),
    }
}

fn syntax(what: &str) -> String {
    format!("template: log-tag:1: {what}")
}

#[derive(Debug)]
enum Piece {
    Text(String),
    /// An action, and where it begins.
    Action(String, usize),
}

/// Cuts a template into text and actions.
fn pieces(template: &str) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    let mut rest = template;
    let mut trim = false;
    while let Some((before, after)) = rest.split_once("{{") {
        let (action, after) = after
            .split_once("}}")
            .ok_or_else(|| syntax("unclosed action"))?;
        let column = template.len() - rest.len() + before.len() + 2;
        let before = if trim { before.trim_start() } else { before };
        let (before, action) = match action.strip_prefix("- ") {
            Some(action) => (before.trim_end(), action),
            None => (before, action),
        };
        trim = action.ends_with(" -");
        let action = action.strip_suffix(" -").unwrap_or(action).trim();
        pieces.push(Piece::Text(before.to_owned()));
        if !(action.starts_with("/*") && action.ends_with("*/")) {
            pieces.push(Piece::Action(action.to_owned(), column));
        }
        rest = after;
    }
    let rest = if trim { rest.trim_start() } else { rest };
    pieces.push(Piece::Text(rest.to_owned()));
    Ok(pieces)
}

/// What ends a block.
enum End {
    Template,
    Else,
    Block,
}

/// Fills in up to the end of a block; what is not wanted is parsed and not run.
fn block(
    pieces: &mut Vec<Piece>,
    lookup: Lookup<'_>,
    wanted: bool,
    out: &mut String,
) -> Result<End, String> {
    while let Some(piece) = pieces.pop() {
        let (action, column) = match piece {
            Piece::Text(text) => {
                if wanted {
                    out.push_str(&text);
                }
                continue;
            }
            Piece::Action(action, column) => (action, column),
        };
        let context = Context { lookup, column };
        if action == "end" {
            return Ok(End::Block);
        } else if action == "else" {
            return Ok(End::Else);
        } else if let Some(condition) = action.strip_prefix("if ") {
            let truth = wanted && context.pipeline(condition)?.is_true();
            let end = block(pieces, lookup, wanted && truth, out)?;
            if matches!(end, End::Else) {
                block(pieces, lookup, wanted && !truth, out)?;
            } else if matches!(end, End::Template) {
                return Err(syntax("unexpected EOF"));
            }
        } else if wanted {
            out.push_str(&context.pipeline(&action)?.to_string());
        }
    }
    Ok(End::Template)
}

struct Context<'a> {
    lookup: Lookup<'a>,
    column: usize,
}

#[derive(Debug, PartialEq)]
enum Token {
    Word(String),
    Literal(Value),
    Open,
    Close,
    Pipe,
}

impl Context<'_> {
    /// Works out `a b | c d`.
    fn pipeline(&self, text: &str) -> Result<Value, String> {
        let mut tokens = tokens(text)?;
        tokens.reverse();
        let value = self.commands(&mut tokens)?;
        if tokens.is_empty() {
            Ok(value)
        } else {
            Err(syntax("unexpected \")\""))
        }
    }

    fn commands(&self, tokens: &mut Vec<Token>) -> Result<Value, String> {
        let mut piped = None;
        loop {
            let value = self.command(tokens, piped.take())?;
            match tokens.last() {
                Some(Token::Pipe) => {
                    tokens.pop();
                    piped = Some(value);
                }
                _ => return Ok(value),
            }
        }
    }

    /// Works out one operand, or a function with its arguments.
    fn command(&self, tokens: &mut Vec<Token>, piped: Option<Value>) -> Result<Value, String> {
        let function = match tokens.last() {
            Some(Token::Word(word)) if !word.starts_with('.') && !is_constant(word) => {
                let word = word.clone();
                tokens.pop();
                Some(word)
            }
            _ => None,
        };
        if let Some(name) = &function
            && !functions::is_known(name)
        {
            return Err(syntax(&format!("function {name:?} not defined")));
        }
        let mut operands = Vec::new();
        while !matches!(tokens.last(), None | Some(Token::Pipe | Token::Close)) {
            operands.push(self.operand(tokens)?);
        }
        operands.extend(piped);
        match function {
            Some(name) => functions::call(&name, &operands).map_err(|why| {
                let column = self.column;
                format!(
                    "template: log-tag:1:{column}: executing \"log-tag\" at <{name}>: error \
                     calling {name}: {why}"
                )
            }),
            None => match <[Value; 1]>::try_from(operands) {
                Ok([value]) => Ok(value),
                Err(operands) if operands.is_empty() => Err(syntax("missing value for command")),
                Err(_many) => Err(syntax("can't give argument to non-function")),
            },
        }
    }

    fn operand(&self, tokens: &mut Vec<Token>) -> Result<Value, String> {
        match tokens.pop() {
            Some(Token::Literal(value)) => Ok(value),
            Some(Token::Word(word)) if is_constant(&word) => Ok(Value::Truth(word == "true")),
            Some(Token::Word(word)) => match word.strip_prefix('.') {
                Some(path) => self.field(path),
                None => functions::call(&word, &[])
                    .map_err(|_why| syntax(&format!("function {word:?} not defined"))),
            },
            Some(Token::Open) => {
                let value = self.commands(tokens)?;
                match tokens.pop() {
                    Some(Token::Close) => Ok(value),
                    _ => Err(syntax("unclosed left paren")),
                }
            }
            Some(Token::Close | Token::Pipe) | None => Err(syntax("missing value for command")),
        }
    }

    /// A field, and members of what it is.
    fn field(&self, path: &str) -> Result<Value, String> {
        let mut names = path.split('.');
        let name = names.next().unwrap_or_default();
        let Some(mut value) = (self.lookup)(name) else {
            let column = self.column;
            return Err(format!(
                "template: log-tag:1:{column}: executing \"log-tag\" at <.{name}>: can't evaluate \
                 field {name} in type *logger.Info"
            ));
        };
        for member in names {
            value = match value {
                Value::Map(mut map) => map
                    .remove(member)
                    .unwrap_or_else(|| Value::text("<no value>")),
                _ => {
                    let column = self.column;
                    return Err(format!(
                        "template: log-tag:1:{column}: executing \"log-tag\" at <.{path}>: can't \
                         evaluate field {member} in type string"
                    ));
                }
            };
        }
        Ok(value)
    }
}

fn is_constant(word: &str) -> bool {
    matches!(word, "true" | "false")
}

fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let (token, length) = match first {
            '(' => (Token::Open, 1),
            ')' => (Token::Close, 1),
            '|' => (Token::Pipe, 1),
            '"' => {
                let (text, length) = quoted(rest)?;
                (Token::Literal(Value::Text(text)), length)
            }
            '`' => {
                let body = rest.get(1..).unwrap_or_default();
                let end = body
                    .find('`')
                    .ok_or_else(|| syntax("unterminated raw quoted string"))?;
                let text = body.get(..end).unwrap_or_default();
                (Token::Literal(Value::text(text)), end + 2)
            }
            _ => {
                let end = rest.find(|c: char| c.is_whitespace() || matches!(c, '(' | ')' | '|'));
                let word = rest.get(..end.unwrap_or(rest.len())).unwrap_or_default();
                (word_token(word)?, word.len())
            }
        };
        tokens.push(token);
        rest = rest.get(length..).unwrap_or_default().trim_start();
    }
    Ok(tokens)
}

fn word_token(word: &str) -> Result<Token, String> {
    if let Ok(number) = word.parse() {
        return Ok(Token::Literal(Value::Number(number)));
    }
    let named = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.');
    match word.chars().find(|c| !named(*c)) {
        Some(bad) => Err(syntax(&format!("unexpected {bad:?} in command"))),
        None if matches!(
            word,
            "range" | "with" | "define" | "template" | "block" | "break"
        ) =>
        {
            Err(syntax(&format!("{word} is not supported in a log tag")))
        }
        None => Ok(Token::Word(word.to_owned())),
    }
}

/// A string in double quotes, and how many bytes it takes.
fn quoted(text: &str) -> Result<(String, usize), String> {
    let mut out = String::new();
    let mut characters = text.char_indices().skip(1);
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Ok((out, at + 1)),
            '\\' => match characters.next() {
                Some((_, 'n')) => out.push('\n'),
                Some((_, 't')) => out.push('\t'),
                Some((_, other)) => out.push(other),
                None => break,
            },
            other => out.push(other),
        }
    }
    Err(syntax("unterminated quoted string"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(template: &str) -> Result<String, String> {
        execute(template, &|name| match name {
            "Name" => Some(Value::text("web")),
            "Labels" => Some(Value::Map([("a".to_owned(), Value::text("1"))].into())),
            "Args" => Some(Value::List(vec![Value::text("x"), Value::text("y")])),
            "Empty" => Some(Value::text("")),
            _ => None,
        })
    }

    #[test]
    fn fields_functions_and_conditions_are_filled_in() {
        for (template, text) in [
            ("plain", "plain"),
            ("{{.Name}}/{{ .Name }}", "web/web"),
            (
                "{{upper .Name}} {{.Name | upper | printf \"%s-%d\" \"a\" | lower}}",
                "WEB a-%!d(string=web)",
            ),
            ("{{printf \"%q:%v\" .Name 5}}", "\"web\":5"),
            (
                "{{index .Labels \"a\"}}{{.Labels.a}}{{.Labels.b}}",
                "11<no value>",
            ),
            (
                "{{join .Args \",\"}} {{.Args}} {{.Labels}}",
                "x,y [x y] map[a:1]",
            ),
            (
                "{{if .Empty}}no{{else}}yes{{end}}{{if eq .Name \"web\"}}!{{end}}",
                "yes!",
            ),
            (
                "{{truncate .Name 2}}{{pad .Name 1 2}}{{title .Name}}{{json .Args}}",
                "we web  Web[\"x\",\"y\"]",
            ),
            ("a {{- .Name -}} b {{/* nothing */}}", "awebb "),
            ("{{index (split \"a/b\" \"/\") 1}}{{len .Name}}", "b3"),
        ] {
            assert_eq!(run(template).as_deref(), Ok(text), "{template}");
        }
    }

    #[test]
    fn what_cannot_be_is_said_in_gos_words() {
        for (template, why) in [
            ("{{", "template: log-tag:1: unclosed action"),
            (
                "{{foo .Name}}",
                "template: log-tag:1: function \"foo\" not defined",
            ),
            (
                "a{{.Foo}}",
                "template: log-tag:1:3: executing \"log-tag\" at <.Foo>: can't evaluate field Foo in \
                 type *logger.Info",
            ),
            ("{{if .Name}}x", "template: log-tag:1: unexpected EOF"),
            ("{{end}}", "template: log-tag:1: unexpected {{end}}"),
            ("{{}}", "template: log-tag:1: missing value for command"),
            (
                "{{range .Args}}{{end}}",
                "template: log-tag:1: range is not supported in a log tag",
            ),
        ] {
            assert_eq!(run(template).unwrap_err(), why, "{template}");
        }
    }
}
