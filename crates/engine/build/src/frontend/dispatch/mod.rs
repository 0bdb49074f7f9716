//! Instruction by instruction: what each makes of the stage that it is in.

mod arguments;
mod config;
mod copy;
mod copy_source;
mod mounts;
mod run;
mod workdir;

use arca_dockerfile::{ExpandError, Kind, Lines, Transfer, Variables};
use arca_types::Platform;

use super::convert::Converter;
use super::image::DEFAULT_PATH;
use super::stage::{Command, Stage};
use super::{checks, naming};
use crate::Error;
use crate::graph::{Metadata, NetworkMode};

/// Arguments that say something to the builder and are no variables.
pub(super) fn is_no_variable(name: &str) -> bool {
    matches!(
        name,
        "BUILDKIT_SBOM_SCAN_CONTEXT" | "BUILDKIT_SBOM_SCAN_STAGE"
    )
}

/// An expansion that failed, as an error of the build.
fn invalid(error: &ExpandError) -> Error {
    Error::Invalid(error.to_string())
}

impl Converter<'_> {
    /// Runs all instructions of a stage.
    pub(super) fn dispatch_stage(&mut self, number: usize) -> Result<(), Error> {
        self.stages.inherit(number);
        let Some(mut stage) = self.stages.take(number) else {
            return Ok(());
        };
        let result = self.dispatch_all(number, &mut stage);
        stage.done = true;
        self.stages.put(number, stage);
        result
    }

    fn dispatch_all(&mut self, number: usize, stage: &mut Stage) -> Result<(), Error> {
        if stage.platform.is_none() {
            stage.platform = Some(self.target.clone());
        }
        let state = &mut stage.state;
        if state
            .image
            .config
            .env
            .iter()
            .all(|text| !text.starts_with("PATH="))
        {
            state.image.config.env.push(format!("PATH={DEFAULT_PATH}"));
        }
        for text in &state.image.config.env {
            let (name, value) = text.split_once('=').unwrap_or((text, ""));
            state.env.set(name, value);
        }
        if !state.image.config.working_dir.is_empty() {
            state.dir = workdir::joined(&state.dir, &state.image.config.working_dir);
            state.image.config.working_dir.clone_from(&state.dir);
        }
        state.user.clone_from(&state.image.config.user);
        for command in std::mem::take(&mut stage.commands) {
            stage.in_trigger = command.trigger;
            let lines = command.instruction.lines;
            self.dispatch(number, stage, &command)
                .map_err(|error| self.definition.located(error, &[lines]))?;
            stage.commands.push(command);
        }
        Ok(())
    }

    fn dispatch(
        &mut self,
        number: usize,
        stage: &mut Stage,
        command: &Command,
    ) -> Result<(), Error> {
        let instruction = &command.instruction;
        match &instruction.kind {
            Kind::Add(add) => self.add(stage, instruction, add),
            Kind::Arg(args) => self.arg(stage, instruction, args),
            Kind::Cmd(line) => {
                self.cmd(stage, instruction, line);
                Ok(())
            }
            Kind::Copy(copy) => self.copy(stage, command, copy),
            Kind::Entrypoint(line) => {
                self.entrypoint(stage, instruction, line);
                Ok(())
            }
            Kind::Env(pairs) => self.env(stage, instruction, pairs),
            Kind::Expose(ports) => self.expose(stage, instruction, ports),
            Kind::Healthcheck(check) => {
                self.healthcheck(stage, instruction, check);
                Ok(())
            }
            Kind::Label(pairs) => self.label(stage, instruction, pairs),
            Kind::Maintainer(author) => {
                self.maintainer(stage, author);
                Ok(())
            }
            Kind::Onbuild(text) => {
                stage.state.image.config.on_build.push(text.clone());
                Ok(())
            }
            Kind::Run(run) => self.run(number, stage, command, run),
            Kind::Shell(shell) => {
                self.shell(stage, shell);
                Ok(())
            }
            Kind::StopSignal(signal) => self.stop_signal(stage, instruction, signal),
            Kind::User(user) => self.user(stage, instruction, user),
            Kind::Volume(paths) => self.volume(stage, instruction, paths),
            Kind::Workdir(path) => self.workdir(stage, instruction, path),
        }
    }

    /// Replaces the variables of one word.
    fn expand(&mut self, stage: &Stage, lines: Lines, text: &str) -> Result<String, Error> {
        let done = self.lexer.expand(text, &stage.state.env);
        let unset = done
            .as_ref()
            .map_or_else(ExpandError::unset, |done| done.unset.clone());
        checks::undefined(self, &stage.state, &unset, lines);
        done.map(|done| done.text).map_err(|error| invalid(&error))
    }

    fn expand_all(
        &mut self,
        stage: &Stage,
        lines: Lines,
        texts: &[String],
    ) -> Result<Vec<String>, Error> {
        texts
            .iter()
            .map(|text| self.expand(stage, lines, text))
            .collect()
    }

    /// Replaces the variables of what `COPY` and `ADD` have in common.
    fn expand_transfer(
        &mut self,
        stage: &Stage,
        lines: Lines,
        transfer: &Transfer,
    ) -> Result<Transfer, Error> {
        let mut done = transfer.clone();
        done.chown = self.expand(stage, lines, &transfer.chown)?;
        done.chmod = self.expand(stage, lines, &transfer.chmod)?;
        done.sources = self.expand_all(stage, lines, &transfer.sources)?;
        done.destination = self.expand(stage, lines, &transfer.destination)?;
        for document in done.documents.iter_mut().filter(|document| document.expand) {
            let read = checks::document_lexer().expand(&document.text, &stage.state.env);
            let read = read.map_err(|error| invalid(&error))?;
            checks::undefined(self, &stage.state, &read.unset, lines);
            document.text = read.text;
        }
        Ok(done)
    }

    /// Notes a step in the image's history.
    fn note(&self, stage: &mut Stage, text: String, layer: bool) {
        let created = self.options.epoch_text();
        stage.state.image.note(text, layer, created.as_deref());
    }

    /// The platform to be named in vertices: only where several are built.
    fn shown_platform(&self, stage: &Stage) -> Option<Platform> {
        stage
            .platform
            .clone()
            .filter(|_| self.options.multi_platform)
    }

    /// The name of an instruction's vertex, the way all but `RUN` have it.
    fn step_text(&self, stage: &Stage, text: &str) -> String {
        naming::upper(&naming::shown(&self.lexer, text, &stage.state.env))
    }

    fn step_name(&self, stage: &mut Stage, text: &str) -> String {
        let (platform, env) = (self.shown_platform(stage), stage.state.env.clone());
        stage.step_name(text, platform.as_ref(), Some(&env))
    }

    /// What is said of an instruction's vertex.
    fn metadata(&self, stage: &Stage, name: String, lines: Lines) -> Metadata {
        Metadata {
            name,
            ignore_cache: stage.ignore_cache,
            location: Some(Box::new(self.definition.location(&[lines]))),
            ..Metadata::default()
        }
    }

    /// The network of processes that do not say.
    fn network(&self) -> NetworkMode {
        self.options.network
    }

    /// The value that a build argument has been given.
    fn given(&self, name: &str) -> Option<String> {
        self.options.build_args.get(name).cloned()
    }

    /// The value of an argument before the first stage.
    fn global(&self, name: &str) -> Option<String> {
        self.globals.value(name).map(str::to_owned)
    }
}
