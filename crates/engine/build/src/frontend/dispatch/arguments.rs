//! `ARG`.

use arca_dockerfile::{Arg, Instruction};

use super::{invalid, is_no_variable};
use crate::Error;
use crate::frontend::checks;
use crate::frontend::convert::Converter;
use crate::frontend::outline::ArgInfo;
use crate::frontend::stage::Stage;

impl Converter<'_> {
    pub(super) fn arg(
        &mut self,
        stage: &mut Stage,
        instruction: &Instruction,
        args: &[Arg],
    ) -> Result<(), Error> {
        let mut said = String::from("ARG");
        for arg in args {
            let value = self.arg_value(stage, instruction, arg)?;
            said.push(' ');
            said.push_str(&arg.name);
            if let Some(value) = &value {
                said.push('=');
                said.push_str(value);
            }
            stage.state.arguments.push((arg.name.clone(), value));
        }
        self.note(stage, said, false);
        Ok(())
    }

    /// Sets one argument: to what was given, else to its default, else to what it has been set to
    /// before the first stage.
    fn arg_value(
        &mut self,
        stage: &mut Stage,
        instruction: &Instruction,
        arg: &Arg,
    ) -> Result<Option<String>, Error> {
        let lines = instruction.lines;
        checks::secret_name(self, "ARG", &arg.name, lines);
        let given = self.given(&arg.name);
        let inherited = match (&given, &arg.default) {
            (None, None) => self.global(&arg.name),
            _ => None,
        };
        let own = inherited.is_none();
        let value = match (given, &arg.default) {
            (Some(given), _) => Some(given),
            (None, Some(default)) => {
                let done = self.lexer.expand(default, &stage.state.env);
                let done = done.map_err(|error| invalid(&error))?;
                checks::undefined(self, &stage.state, &done.unset, lines);
                Some(done.text)
            }
            (None, None) => inherited,
        };
        let mut info = ArgInfo::new(arg, lines);
        if let Some(value) = &value {
            if !is_no_variable(&arg.name) {
                stage.state.env.set(&arg.name, value);
            }
            info.value.clone_from(value);
        }
        if own {
            stage.outline.known.insert(arg.name.clone(), info);
        }
        stage.outline.used.insert(arg.name.clone());
        Ok(value)
    }
}
