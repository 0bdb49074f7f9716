//! The stages of a build while it is converted: what each begins with, and which others it needs.

use std::collections::{BTreeMap, BTreeSet};

use arca_dockerfile::{Instruction, Kind, Lexer, Lines, NoVariables};

use super::stage::{Command, Stage, State};
use crate::Error;

/// All stages, in order; implicit ones at the end.
#[derive(Debug, Default)]
pub(super) struct Stages {
    all: Vec<Stage>,
    by_name: BTreeMap<String, usize>,
    /// Paths that are taken of stages; see [`Stage::paths`].
    paths: Vec<BTreeSet<String>>,
}

impl Stages {
    /// Adds a stage; one before it that has the name of its base becomes its base.
    pub(super) fn add(&mut self, mut stage: Stage) -> usize {
        let number = self.all.len();
        if let Some(base) = self.by_name.get(&stage.base_name).copied() {
            stage.base = Some(base);
            stage.outline = self
                .get(base)
                .map(|base| base.outline.clone())
                .unwrap_or_default();
        }
        if !stage.name.is_empty() {
            self.by_name.insert(stage.name.to_lowercase(), number);
        }
        stage.paths = number;
        self.paths.push(BTreeSet::new());
        self.all.push(stage);
        number
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn get(&self, number: usize) -> Option<&Stage> {
        self.all.get(number)
    }

    pub(super) fn get_mut(&mut self, number: usize) -> Option<&mut Stage> {
        self.all.get_mut(number)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Stage> {
        self.all.iter_mut()
    }

    /// Takes a stage out to work on it; what others see of it meanwhile is a stage that is not done.
    pub(super) fn take(&mut self, number: usize) -> Option<Stage> {
        let stage = self.all.get_mut(number)?;
        let (name, lines, paths) = (stage.base_name.clone(), stage.lines, stage.paths);
        Some(std::mem::replace(
            stage,
            Stage {
                paths,
                ..Stage::implicit(&name, lines)
            },
        ))
    }

    /// Puts a stage back.
    pub(super) fn put(&mut self, number: usize, stage: Stage) {
        if let Some(place) = self.all.get_mut(number) {
            *place = stage;
        }
    }

    pub(super) fn named(&self, name: &str) -> Option<usize> {
        self.by_name.get(&name.to_lowercase()).copied()
    }

    /// The labels of all stages that have one.
    pub(super) fn labels(&self) -> Vec<&str> {
        let labels = self.all.iter().map(|stage| stage.label.as_str());
        labels.filter(|label| !label.is_empty()).collect()
    }

    /// Notes that `path` of a stage is taken.
    pub(super) fn takes(&mut self, number: usize, path: &str) {
        let Some(place) = self.get(number).map(|stage| stage.paths) else {
            return;
        };
        if let Some(paths) = self.paths.get_mut(place) {
            paths.insert(super::naming::rooted(path));
        }
    }

    /// The paths that are taken of a stage.
    pub(super) fn taken(&self, number: usize) -> BTreeSet<String> {
        let place = self.get(number).map(|stage| stage.paths);
        place
            .and_then(|place| self.paths.get(place))
            .cloned()
            .unwrap_or_default()
    }

    /// Finds where the instructions of all stages take files from.
    pub(super) fn connect(
        &mut self,
        file: &[arca_dockerfile::Stage],
        lexer: &Lexer,
    ) -> Result<(), (Error, Vec<Lines>)> {
        let unlocated = |error: Error| (error, Vec::new());
        for (number, stage) in file.iter().enumerate() {
            for instruction in &stage.instructions {
                let command = self.command(instruction, lexer, false).map_err(unlocated)?;
                self.need(number, &command);
                if let Some(stage) = self.get_mut(number) {
                    stage.commands.push(command);
                }
            }
        }
        self.check_cycles()?;
        if let [only] = self.all.as_mut_slice() {
            only.label.clear();
        }
        Ok(())
    }

    fn need(&mut self, number: usize, command: &Command) {
        if let Some(stage) = self.get_mut(number) {
            let lines = command.instruction.lines;
            stage
                .needs
                .extend(command.sources.iter().map(|source| (*source, lines)));
        }
    }

    /// An instruction with the stages it takes files from. An image among them becomes a stage.
    fn command(
        &mut self,
        instruction: &Instruction,
        lexer: &Lexer,
        trigger: bool,
    ) -> Result<Command, Error> {
        let lines = instruction.lines;
        let sources = match &instruction.kind {
            Kind::Copy(copy) if !copy.from.is_empty() => {
                vec![self.copy_source(&copy.from, lines, lexer)?]
            }
            Kind::Run(run) => {
                let from = |name: &str| if name.is_empty() { "scratch" } else { name }.to_owned();
                let names: Vec<String> = run.mounts.iter().map(|mount| from(&mount.from)).collect();
                names
                    .iter()
                    .map(|name| self.stage_or_image(name, lines))
                    .collect()
            }
            _ => Vec::new(),
        };
        Ok(Command {
            instruction: instruction.clone(),
            sources,
            trigger,
        })
    }

    fn copy_source(&mut self, from: &str, lines: Lines, lexer: &Lexer) -> Result<usize, Error> {
        let plain = lexer.expand(from, &NoVariables);
        let plain = plain.map_err(|error| Error::Invalid(error.to_string()))?;
        if plain.text != from {
            let text = "variable expansion is not supported for --from, define a new stage with FROM using ARG from global scope as a workaround";
            return Err(Error::Invalid(text.to_owned()));
        }
        match from.parse::<i64>() {
            Ok(number) => usize::try_from(number)
                .ok()
                .filter(|number| *number < self.all.len())
                .ok_or_else(|| Error::Invalid(format!("invalid stage index {number}"))),
            Err(_not_a_number) => Ok(self.stage_or_image(from, lines)),
        }
    }

    fn stage_or_image(&mut self, name: &str, lines: Lines) -> usize {
        self.named(name)
            .unwrap_or_else(|| self.add(Stage::implicit(name, lines)))
    }

    /// No stage may need itself. The error has the lines of the instructions that make it so.
    fn check_cycles(&self) -> Result<(), (Error, Vec<Lines>)> {
        let mut seen = BTreeSet::new();
        for number in 0..self.all.len() {
            if let Some(path) = self.cycle(number, &mut seen) {
                let label = self
                    .get(number)
                    .map(|stage| stage.label.clone())
                    .unwrap_or_default();
                let text = format!("circular dependency detected on stage: {label}");
                let pairs = path.iter().zip(path.iter().skip(1));
                let lines = pairs.filter_map(|(from, to)| self.get(*from)?.needs.get(to).copied());
                return Err((Error::Invalid(text), lines.collect()));
            }
        }
        Ok(())
    }

    /// Walks what a stage needs until one comes again: the way to there. Without recursion, since a
    /// file may have thousands of stages.
    fn cycle(&self, start: usize, seen: &mut BTreeSet<usize>) -> Option<Vec<usize>> {
        enum Step {
            Enter(usize),
            Leave,
        }
        let mut path = Vec::new();
        let mut steps = vec![Step::Enter(start)];
        while let Some(step) = steps.pop() {
            match step {
                Step::Leave => {
                    path.pop();
                }
                Step::Enter(number) if path.contains(&number) => {
                    path.push(number);
                    return Some(path);
                }
                Step::Enter(number) if seen.insert(number) => {
                    path.push(number);
                    steps.push(Step::Leave);
                    let needs = self
                        .get(number)
                        .into_iter()
                        .flat_map(|stage| stage.needs.keys());
                    steps.extend(needs.map(|need| Step::Enter(*need)));
                }
                Step::Enter(_) => {}
            }
        }
        None
    }

    /// The stages that `target` is made of, itself included.
    pub(super) fn reachable(&self, target: usize) -> BTreeSet<usize> {
        let mut found = BTreeSet::new();
        let mut open = vec![target];
        while let Some(number) = open.pop() {
            if let (true, Some(stage)) = (found.insert(number), self.get(number)) {
                open.extend(stage.base);
                open.extend(stage.needs.keys());
            }
        }
        found
    }

    /// Puts what the base left for others before the instructions of a stage. Returns whether that
    /// takes files from further stages.
    pub(super) fn add_triggers(
        &mut self,
        number: usize,
        triggers: &[String],
        lexer: &Lexer,
    ) -> Result<bool, Error> {
        let Some(lines) = self.get(number).map(|stage| stage.lines) else {
            return Ok(false);
        };
        let mut commands = Vec::new();
        for trigger in triggers {
            let instruction = Instruction::trigger(trigger, lines)
                .map_err(|error| Error::Invalid(error.to_string()))?;
            let command = self.command(&instruction, lexer, true)?;
            self.need(number, &command);
            commands.push(command);
        }
        let further = commands.iter().any(|command| !command.sources.is_empty());
        if let Some(stage) = self.get_mut(number) {
            stage.steps += commands.len();
            stage.commands.splice(0..0, commands);
        }
        Ok(further)
    }

    /// Takes over what the base of a stage has become.
    pub(super) fn inherit(&mut self, number: usize) {
        let Some(base) = self.get(number).and_then(|stage| stage.base) else {
            return;
        };
        let Some(base) = self.get(base) else { return };
        let (state, platform, paths) = (base.state.clone(), base.platform.clone(), base.paths);
        let Some(stage) = self.get_mut(number) else {
            return;
        };
        stage.state = State {
            cmd: None,
            entrypoint: None,
            healthcheck: None,
            ..state
        };
        stage.state.image.config.on_build.clear();
        stage.platform = platform;
        stage.paths = paths;
    }
}
