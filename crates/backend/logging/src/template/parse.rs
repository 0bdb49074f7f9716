//! From a template's text to what is to be done.

use super::{Value, syntax};
use crate::functions;

/// What is done one after the other.
pub(super) type Block = Vec<Node>;

/// A part of a template.
#[derive(Debug)]
pub(super) enum Node {
    Text(String),
    /// Works something out, and shows it unless a variable takes it.
    Action(Pipeline),
    If(Branches),
    With(Branches),
    Range(Branches),
    Break,
    Continue,
}

/// One block or the other.
#[derive(Debug)]
pub(super) struct Branches {
    pub(super) decides: Pipeline,
    pub(super) then: Block,
    pub(super) otherwise: Block,
}

/// `$a, $b := words`
#[derive(Debug)]
pub(super) struct Pipeline {
    /// Variables that take the value, with their `$`.
    pub(super) variables: Vec<String>,
    /// Whether the variables are new.
    pub(super) declares: bool,
    pub(super) tokens: Vec<Token>,
    /// The words as they are written.
    pub(super) text: String,
    /// Where the action begins.
    pub(super) column: usize,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    Word(String),
    Literal(Value),
    Open,
    Close,
    Pipe,
}

#[derive(Debug)]
enum Piece {
    Text(String),
    /// An action, and where it begins.
    Action(String, usize),
}

/// What ends a block.
#[derive(Debug, PartialEq)]
enum End {
    Template,
    Block,
    /// With what is said after `else`, and where.
    Else(String, usize),
}

/// Takes a template apart.
///
/// # Errors
/// What is wrong with it, in Go's words.
pub(super) fn parse(template: &str) -> Result<Block, String> {
    let mut pieces = pieces(template)?;
    pieces.reverse();
    let mut parser = Parser {
        pieces,
        variables: Vec::new(),
        ranges: 0,
    };
    match parser.block()? {
        (block, End::Template) => Ok(block),
        (_, End::Block) => Err(syntax("unexpected {{end}}")),
        (_, End::Else(..)) => Err(syntax("unexpected {{else}}")),
    }
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

struct Parser {
    /// What is left, the next one last.
    pieces: Vec<Piece>,
    /// Variables that are known here.
    variables: Vec<String>,
    /// How many loops are around.
    ranges: usize,
}

impl Parser {
    /// Parses up to the end of a block; its variables end with it.
    fn block(&mut self) -> Result<(Block, End), String> {
        let known = self.variables.len();
        let mut block = Vec::new();
        let mut end = End::Template;
        while let Some(piece) = self.pieces.pop() {
            let (action, column) = match piece {
                Piece::Text(text) => {
                    block.push(Node::Text(text));
                    continue;
                }
                Piece::Action(action, column) => (action, column),
            };
            let (word, rest) = action
                .split_once(char::is_whitespace)
                .unwrap_or((&action, ""));
            match word {
                "end" => {
                    end = End::Block;
                    break;
                }
                "else" => {
                    end = End::Else(rest.trim().to_owned(), column);
                    break;
                }
                _ => block.push(self.node(word, rest, &action, column)?),
            }
        }
        self.variables.truncate(known);
        Ok((block, end))
    }

    fn node(&mut self, word: &str, rest: &str, all: &str, column: usize) -> Result<Node, String> {
        match word {
            "if" => self.branches(rest, column).map(Node::If),
            "with" => self.branches(rest, column).map(Node::With),
            "range" => {
                self.ranges += 1;
                let branches = self.branches(rest, column);
                self.ranges -= 1;
                branches.map(Node::Range)
            }
            "break" | "continue" if self.ranges == 0 => {
                Err(syntax(&format!("{{{{{word}}}}} outside {{{{range}}}}")))
            }
            "break" => Ok(Node::Break),
            "continue" => Ok(Node::Continue),
            _ => self.pipeline(all, column).map(Node::Action),
        }
    }

    /// What follows `if`, `with` or `range`, with its blocks.
    fn branches(&mut self, decides: &str, column: usize) -> Result<Branches, String> {
        let known = self.variables.len();
        let decides = self.pipeline(decides, column)?;
        let (then, end) = self.block()?;
        let otherwise = match end {
            End::Block => Vec::new(),
            End::Template => return Err(syntax("unexpected EOF")),
            End::Else(more, at) => self.otherwise(&more, at)?,
        };
        self.variables.truncate(known);
        Ok(Branches {
            decides,
            then,
            otherwise,
        })
    }

    /// What follows `else`, which may be another condition that ends with this one.
    fn otherwise(&mut self, more: &str, column: usize) -> Result<Block, String> {
        let (word, rest) = more.split_once(char::is_whitespace).unwrap_or((more, ""));
        match word {
            "if" => Ok(vec![Node::If(self.branches(rest, column)?)]),
            "with" => Ok(vec![Node::With(self.branches(rest, column)?)]),
            "" => match self.block()? {
                (block, End::Block) => Ok(block),
                (_, End::Template) => Err(syntax("unexpected EOF")),
                (_, End::Else(..)) => Err(syntax("expected end; found {{else}}")),
            },
            other => Err(syntax(&format!("unexpected {other:?} in else"))),
        }
    }

    fn pipeline(&mut self, text: &str, column: usize) -> Result<Pipeline, String> {
        let (variables, declares, words) = declaration(text);
        let tokens = tokens(words)?;
        if tokens.is_empty() {
            return Err(syntax("missing value for command"));
        }
        for token in &tokens {
            self.check(token)?;
        }
        for name in &variables {
            if declares {
                self.variables.push(name.clone());
            } else {
                self.known(name)?;
            }
        }
        Ok(Pipeline {
            variables,
            declares,
            tokens,
            text: words.to_owned(),
            column,
        })
    }

    fn check(&self, token: &Token) -> Result<(), String> {
        let Token::Word(word) = token else {
            return Ok(());
        };
        if word.starts_with('$') {
            return self.known(word.split('.').next().unwrap_or_default());
        }
        if word.starts_with('.') || is_constant(word) || functions::is_known(word) {
            return Ok(());
        }
        if matches!(word.as_str(), "define" | "template" | "block") {
            return Err(syntax(&format!("{word} is not supported in a log tag")));
        }
        Err(syntax(&format!("function {word:?} not defined")))
    }

    fn known(&self, name: &str) -> Result<(), String> {
        if name == "$" || self.variables.iter().any(|known| known == name) {
            return Ok(());
        }
        Err(syntax(&format!("undefined variable {name:?}")))
    }
}

/// Splits `$a, $b := words`: the variables, whether they are new, and the words.
fn declaration(text: &str) -> (Vec<String>, bool, &str) {
    let none = (Vec::new(), false, text);
    let Some((left, words)) = text.split_once('=') else {
        return none;
    };
    let (left, declares) = match left.strip_suffix(':') {
        Some(left) => (left, true),
        None => (left, false),
    };
    let names: Vec<String> = left.split(',').map(|name| name.trim().to_owned()).collect();
    let is_name = |name: &String| {
        let named = |c: char| c.is_alphanumeric() || c == '_';
        name.strip_prefix('$')
            .is_some_and(|name| !name.is_empty() && name.chars().all(named))
    };
    if names.iter().all(is_name) {
        (names, declares, words.trim())
    } else {
        none
    }
}

/// Whether a word is a truth value.
pub(super) fn is_constant(word: &str) -> bool {
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
    let name = word.strip_prefix('$').unwrap_or(word);
    match name.chars().find(|c| !named(*c)) {
        Some(bad) => Err(syntax(&format!("unexpected {bad:?} in command"))),
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
