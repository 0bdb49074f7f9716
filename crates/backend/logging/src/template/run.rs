//! Filling a template in.

use super::parse::{Block, Branches, Node, Pipeline, Token, is_constant};
use super::{Lookup, Value, syntax};
use crate::functions;

/// What may be done for one tag: a loop over a large number ends here.
const STEPS: usize = 100_000;

/// Fills in.
///
/// # Errors
/// What cannot be worked out, in Go's words where there are some.
pub(super) fn run(block: &Block, lookup: Lookup<'_>) -> Result<String, String> {
    let mut run = Run {
        lookup,
        variables: Vec::new(),
        dot: Value::Container,
        out: String::new(),
        steps: 0,
    };
    run.block(block)?;
    Ok(run.out)
}

/// How a block went on.
#[derive(Clone, Copy, PartialEq)]
enum Flow {
    On,
    Break,
    Continue,
}

struct Run<'a> {
    lookup: Lookup<'a>,
    /// The newest of a name counts.
    variables: Vec<(String, Value)>,
    /// What `.` is.
    dot: Value,
    out: String,
    steps: usize,
}

impl Run<'_> {
    /// Runs a block; its variables end with it.
    fn block(&mut self, block: &Block) -> Result<Flow, String> {
        let known = self.variables.len();
        let mut flow = Flow::On;
        for node in block {
            flow = self.node(node)?;
            if flow != Flow::On {
                break;
            }
        }
        self.variables.truncate(known);
        Ok(flow)
    }

    fn node(&mut self, node: &Node) -> Result<Flow, String> {
        self.step()?;
        match node {
            Node::Text(text) => self.out.push_str(text),
            Node::Action(pipeline) => {
                let value = self.value(pipeline)?;
                if pipeline.variables.is_empty() {
                    if value == Value::Container {
                        return Err(executing(pipeline, "the container is no text"));
                    }
                    self.out.push_str(&value.to_string());
                }
            }
            Node::If(branches) | Node::With(branches) => {
                let with = matches!(node, Node::With(_));
                return self.choose(branches, with);
            }
            Node::Range(branches) => return self.range(branches),
            Node::Break => return Ok(Flow::Break),
            Node::Continue => return Ok(Flow::Continue),
        }
        Ok(Flow::On)
    }

    fn step(&mut self) -> Result<(), String> {
        self.steps += 1;
        if self.steps > STEPS || self.out.len() > STEPS {
            return Err(syntax("the tag takes too long to fill in"));
        }
        Ok(())
    }

    fn choose(&mut self, branches: &Branches, with: bool) -> Result<Flow, String> {
        let known = self.variables.len();
        let value = self.value(&branches.decides)?;
        let flow = match (value.is_true(), with) {
            (true, true) => self.about(value, &branches.then),
            (true, false) => self.block(&branches.then),
            (false, _) => self.block(&branches.otherwise),
        };
        self.variables.truncate(known);
        flow
    }

    /// Runs a block with another `.`.
    fn about(&mut self, dot: Value, block: &Block) -> Result<Flow, String> {
        let before = std::mem::replace(&mut self.dot, dot);
        let flow = self.block(block);
        self.dot = before;
        flow
    }

    fn range(&mut self, branches: &Branches) -> Result<Flow, String> {
        let decides = &branches.decides;
        let known = self.variables.len();
        let items = match self.work_out(decides)? {
            Value::List(list) => Items::List(list.into_iter().enumerate()),
            Value::Map(map) => Items::Map(map.into_iter()),
            Value::Number(most) => Items::Numbers(0..most),
            other => {
                let what = format!("range can't iterate over {other}");
                return Err(executing(decides, &what));
            }
        };
        let mut empty = true;
        for (key, value) in items {
            empty = false;
            self.step()?;
            match decides.variables.as_slice() {
                [] => {}
                [one] => self.set(one, value.clone(), decides.declares),
                [first, second, ..] => {
                    self.set(first, key, decides.declares);
                    self.set(second, value.clone(), decides.declares);
                }
            }
            let flow = self.about(value, &branches.then)?;
            self.variables.truncate(known);
            if flow == Flow::Break {
                break;
            }
        }
        if empty {
            return self.block(&branches.otherwise);
        }
        Ok(Flow::On)
    }

    /// The value of a pipeline, which its variable takes.
    fn value(&mut self, pipeline: &Pipeline) -> Result<Value, String> {
        let value = self.work_out(pipeline)?;
        for name in &pipeline.variables {
            self.set(name, value.clone(), pipeline.declares);
        }
        Ok(value)
    }

    fn set(&mut self, name: &str, value: Value, declares: bool) {
        let mut known = self.variables.iter_mut().rev();
        match known.find(|(known, _)| known == name && !declares) {
            Some((_, old)) => *old = value,
            None => self.variables.push((name.to_owned(), value)),
        }
    }

    fn work_out(&self, pipeline: &Pipeline) -> Result<Value, String> {
        let mut tokens: Vec<&Token> = pipeline.tokens.iter().collect();
        tokens.reverse();
        let value = self.commands(&mut tokens, pipeline)?;
        if tokens.is_empty() {
            Ok(value)
        } else {
            Err(syntax("unexpected \")\""))
        }
    }

    /// Works out `a b | c d`.
    fn commands(&self, tokens: &mut Vec<&Token>, of: &Pipeline) -> Result<Value, String> {
        let mut piped = None;
        loop {
            let value = self.command(tokens, piped.take(), of)?;
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
    fn command(
        &self,
        tokens: &mut Vec<&Token>,
        piped: Option<Value>,
        of: &Pipeline,
    ) -> Result<Value, String> {
        let function = match tokens.last() {
            Some(Token::Word(word)) if functions::is_known(word) => Some(word),
            _ => None,
        };
        if function.is_some() {
            tokens.pop();
        }
        let mut operands = Vec::new();
        while !matches!(tokens.last(), None | Some(Token::Pipe | Token::Close)) {
            operands.push(self.operand(tokens, of)?);
        }
        operands.extend(piped);
        match function {
            Some(name) => functions::call(name, &operands).map_err(|why| {
                let column = of.column;
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

    fn operand(&self, tokens: &mut Vec<&Token>, of: &Pipeline) -> Result<Value, String> {
        match tokens.pop() {
            Some(Token::Literal(value)) => Ok(value.clone()),
            Some(Token::Word(word)) if is_constant(word) => Ok(Value::Truth(word == "true")),
            Some(Token::Word(word)) => self.word(word, of),
            Some(Token::Open) => {
                let value = self.commands(tokens, of)?;
                match tokens.pop() {
                    Some(Token::Close) => Ok(value),
                    _ => Err(syntax("unclosed left paren")),
                }
            }
            Some(Token::Close | Token::Pipe) | None => Err(syntax("missing value for command")),
        }
    }

    /// `.`, a variable, or a field of one of them, or a function without arguments.
    fn word(&self, word: &str, of: &Pipeline) -> Result<Value, String> {
        if word.starts_with('$') {
            let (name, path) = word.split_once('.').unwrap_or((word, ""));
            let variable = self.variables.iter().rev().find(|(known, _)| known == name);
            let value = variable.map_or(Value::Container, |(_, value)| value.clone());
            return self.field(value, path, of);
        }
        match word.strip_prefix('.') {
            Some(path) => self.field(self.dot.clone(), path, of),
            None => functions::call(word, &[]).map_err(|why| executing(of, &why)),
        }
    }

    /// A field, and members of what it is; nothing but the value itself for no path.
    fn field(&self, value: Value, path: &str, of: &Pipeline) -> Result<Value, String> {
        let mut value = value;
        for name in path.split('.').filter(|name| !name.is_empty()) {
            let missing = |kind: &str| {
                let what = format!("can't evaluate field {name} in type {kind}");
                Err(at(of.column, &format!(".{path}"), &what))
            };
            value = match value {
                Value::Container => match (self.lookup)(name) {
                    Some(value) => value,
                    None => return missing("*logger.Info"),
                },
                Value::Map(mut map) => map
                    .remove(name)
                    .unwrap_or_else(|| Value::text("<no value>")),
                Value::Number(_) => return missing("int"),
                Value::Truth(_) => return missing("bool"),
                Value::List(_) => return missing("[]string"),
                Value::Text(_) => return missing("string"),
            };
        }
        Ok(value)
    }
}

/// What a loop goes through, with the key or the number of each.
enum Items {
    List(std::iter::Enumerate<std::vec::IntoIter<Value>>),
    Map(std::collections::btree_map::IntoIter<String, Value>),
    Numbers(std::ops::Range<i64>),
}

impl Iterator for Items {
    type Item = (Value, Value);

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::List(list) => list.next().map(|(index, value)| {
                let index = i64::try_from(index).unwrap_or(i64::MAX);
                (Value::Number(index), value)
            }),
            Self::Map(map) => map.next().map(|(key, value)| (Value::Text(key), value)),
            Self::Numbers(numbers) => numbers
                .next()
                .map(|number| (Value::Number(number), Value::Number(number))),
        }
    }
}

fn executing(pipeline: &Pipeline, what: &str) -> String {
    at(pipeline.column, &pipeline.text, what)
}

fn at(column: usize, text: &str, what: &str) -> String {
    format!("template: log-tag:1:{column}: executing \"log-tag\" at <{text}>: {what}")
}
