//! From text to stages of checked instructions.

mod flags;
mod healthcheck;
mod instruction;
mod mount;
pub(crate) mod source;
mod transfer;
pub(crate) mod words;

use crate::error::{Error, ParseError};
use crate::instruction::{Instruction, Kind, Stage};
use crate::lines::Lines;
use crate::lint::{Linter, Rule, structure};

pub use mount::{Mount, MountKind, Sharing};
use source::Statement;

/// A Dockerfile: what comes before the first `FROM`, and the stages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dockerfile {
    /// The escape character: `\` or `` ` ``.
    pub escape: char,
    /// The `ARG`s before the first `FROM`.
    pub arguments: Vec<Instruction>,
    /// The stages, in order. There may be none.
    pub stages: Vec<Stage>,
}

impl Dockerfile {
    /// Reads a Dockerfile and checks each instruction. What is allowed but not advised goes to `linter`.
    ///
    /// # Errors
    /// The first mistake, and where it is.
    pub fn parse(text: &str, linter: &mut Linter) -> Result<Self, ParseError> {
        let source = source::read(text)?;
        for line in &source.empty_continuations {
            linter.report(
                Rule::NoEmptyContinuation,
                &[Lines::one(*line)],
                "Empty continuation line",
            );
        }
        let mut file = Self {
            escape: source.escape,
            arguments: Vec::new(),
            stages: Vec::new(),
        };
        for statement in &source.statements {
            file.add(statement, linter)?;
        }
        structure::check(&file.stages, linter);
        Ok(file)
    }

    fn add(&mut self, statement: &Statement, linter: &mut Linter) -> Result<(), ParseError> {
        let lines = statement.lines;
        if statement.keyword.eq_ignore_ascii_case("from") {
            let stage = instruction::stage(statement, linter)
                .map_err(|cause| ParseError::in_instruction(lines, cause))?;
            self.stages.push(stage);
            return Ok(());
        }
        let instruction = instruction::instruction(statement, linter)
            .map_err(|cause| ParseError::in_instruction(lines, cause))?;
        match self.stages.last_mut() {
            Some(stage) => stage.instructions.push(instruction),
            None if matches!(instruction.kind, Kind::Arg(_)) => self.arguments.push(instruction),
            None => return Err(ParseError::in_text(lines, Error::NoStage)),
        }
        Ok(())
    }
}

impl Instruction {
    /// Reads the instruction that an image keeps for those who build upon it (`ONBUILD`), as if it
    /// were on `lines`.
    ///
    /// # Errors
    /// It is no instruction, or more than one.
    pub fn trigger(text: &str, lines: Lines) -> Result<Self, ParseError> {
        let at = |cause| ParseError::in_text(lines, cause);
        let source = source::read(text).map_err(|error| at(error.cause))?;
        let [statement] = source.statements.as_slice() else {
            return Err(at(Error::OnbuildSingle));
        };
        let statement = Statement {
            lines,
            ..statement.clone()
        };
        instruction::instruction(&statement, &mut Linter::silent()).map_err(at)
    }

    /// Reads one line as the `changes` of commit and import have it: any instruction but `FROM`.
    ///
    /// # Errors
    /// It is no instruction, or more than one.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        Self::trigger(text, Lines::one(1))
    }
}

#[cfg(test)]
mod tests;
