//! From a Dockerfile to a graph: for one platform, the target stage and what it needs.

use std::collections::BTreeSet;

use arca_dockerfile::{
    Dockerfile, Env, Lexer, Lines, LintConfig, Linter, PatternMatcher, hint, nearest,
};
use arca_types::Platform;

use super::definition::Definition;
use super::image::Image;
use super::named::{LocalContext, NamedContext};
use super::options::Options;
use super::outline::{ArgInfo, Outline};
use super::plan::{Open, Plan, Planned};
use super::stage::Stage;
use super::stages::Stages;
use super::{Gateway, check_directive, checks};
use crate::Error;
use crate::graph::Edge;

/// How it is converted.
#[derive(Debug, Clone, Default)]
pub(super) struct Settings {
    /// For which platform; `None` for the machine's, or what the base image is made for.
    pub(super) target: Option<Platform>,
    /// All stages, not only what the target needs.
    pub(super) all_stages: bool,
}

/// What came of it.
#[derive(Debug)]
pub(super) struct Converted {
    pub(super) root: Option<Edge>,
    pub(super) image: Image,
    pub(super) base_image: Option<Image>,
    pub(super) outline: Outline,
    pub(super) name: String,
    pub(super) description: String,
}

/// A conversion that goes on.
pub(super) struct Converter<'a> {
    pub(super) options: &'a Options,
    pub(super) definition: &'a Definition,
    pub(super) gateway: &'a dyn Gateway,
    pub(super) linter: &'a mut Linter,
    pub(super) settings: Settings,
    /// What is built for.
    pub(super) target: Platform,
    pub(super) lexer: Lexer,
    /// The arguments that hold before the first stage.
    pub(super) globals: Env,
    pub(super) plan: Plan,
    pub(super) stages: Stages,
    /// Directories of the client that stand for stages.
    pub(super) locals: Vec<(LocalContext, usize)>,
    /// The build context.
    pub(super) context: Planned,
    /// The paths of it that are needed.
    pub(super) context_paths: BTreeSet<String>,
    pub(super) ignored: Option<PatternMatcher>,
}

/// The linter that options and Dockerfile ask for.
pub(super) fn linter(options: &Options, definition: &Definition) -> Result<Linter, Error> {
    let config = match &options.lint {
        Some(config) => config.clone(),
        None => LintConfig::parse(&check_directive(&definition.text))
            .map_err(|error| Error::Invalid(format!("failed to parse check options: {error}")))?,
    };
    Ok(Linter::new(config))
}

/// Converts the Dockerfile.
pub(super) async fn convert(
    options: &Options,
    definition: &Definition,
    gateway: &dyn Gateway,
    linter: &mut Linter,
    settings: Settings,
) -> Result<Converted, Error> {
    if definition.text.is_empty() {
        return Err(Error::Invalid("the Dockerfile cannot be empty".to_owned()));
    }
    let file = Dockerfile::parse(&definition.text, linter)
        .map_err(|error| definition.located(Error::Invalid(error.to_string()), &[error.lines]))?;
    let Some(last) = file.stages.last() else {
        return Err(Error::Invalid(
            "dockerfile contains no stages to build".to_owned(),
        ));
    };
    let target = settings
        .target
        .clone()
        .unwrap_or_else(|| gateway.platform());
    let stage = if options.target.is_empty() {
        &last.name
    } else {
        &options.target
    };
    let mut plan = Plan::default();
    let context = plan.open(Open::Context);
    let mut converter = Converter {
        options,
        definition,
        gateway,
        linter,
        settings,
        lexer: Lexer::new(file.escape),
        globals: default_arguments(options, &gateway.platform(), &target, stage),
        target,
        plan,
        stages: Stages::default(),
        locals: Vec::new(),
        context,
        context_paths: BTreeSet::new(),
        ignored: None,
    };
    converter.file(&file).await
}

/// The arguments that are always there.
fn default_arguments(options: &Options, build: &Platform, target: &Platform, stage: &str) -> Env {
    let variant = |platform: &Platform| platform.variant.clone().unwrap_or_default();
    let stage = if stage.is_empty() { "default" } else { stage };
    let all = [
        ("BUILDPLATFORM", build.to_string()),
        ("BUILDOS", build.os.clone()),
        ("BUILDOSVERSION", String::new()),
        ("BUILDARCH", build.architecture.clone()),
        ("BUILDVARIANT", variant(build)),
        ("TARGETPLATFORM", target.to_string()),
        ("TARGETOS", target.os.clone()),
        ("TARGETOSVERSION", String::new()),
        ("TARGETARCH", target.architecture.clone()),
        ("TARGETVARIANT", variant(target)),
        ("TARGETSTAGE", stage.to_owned()),
    ];
    let mut env = Env::new();
    for (name, value) in all {
        env.set(name, options.build_args.get(name).cloned().unwrap_or(value));
    }
    env
}

impl Converter<'_> {
    async fn file(&mut self, file: &Dockerfile) -> Result<Converted, Error> {
        checks::base_images(self, file);
        let outline = self.global_arguments(file)?;
        for (number, stage) in file.stages.iter().enumerate() {
            self.add_stage(number, stage, &outline)?;
        }
        let target = self.target_stage()?;
        let definition = self.definition;
        self.stages
            .connect(&file.stages, &self.lexer)
            .map_err(|(error, lines)| {
                if lines.is_empty() {
                    error
                } else {
                    definition.located(error, &lines)
                }
            })?;
        let reachable = self.resolve_bases(target).await?;
        let patterns = self.definition.ignored(self.options, self.gateway).await?;
        if !patterns.is_empty() {
            let matcher = PatternMatcher::new(patterns.iter().map(String::as_str))
                .map_err(|error| Error::Invalid(error.to_string()))?;
            self.ignored = Some(matcher);
        }
        for number in 0..self.stages.len() {
            let wanted = reachable.contains(&number)
                && self.stages.get(number).is_some_and(|stage| !stage.done);
            if wanted || self.settings.all_stages {
                self.dispatch_stage(number)?;
            }
        }
        if let Some(failure) = self.linter.failure() {
            return Err(Error::Invalid(failure));
        }
        self.finish(target, patterns)
    }

    /// The values of the arguments before the first stage.
    fn global_arguments(&mut self, file: &Dockerfile) -> Result<Outline, Error> {
        let build_args = &self.options.build_args;
        let found = global_arguments(&mut self.globals, file, &self.lexer, |name| {
            build_args.get(name)
        });
        let (known, error) = found;
        match error {
            Some((error, lines)) => Err(self
                .definition
                .located(Error::Invalid(error.to_string()), &[lines])),
            None => Ok(Outline::of_globals(known)),
        }
    }

    fn add_stage(
        &mut self,
        number: usize,
        written: &arca_dockerfile::Stage,
        outline: &Outline,
    ) -> Result<(), Error> {
        let lines = [written.lines];
        let invalid = |error: String| self.definition.located(Error::Invalid(error), &lines);
        let base = self.lexer.expand(&written.base, &self.globals);
        let base = base.map_err(|error| invalid(error.to_string()))?;
        if base.text.is_empty() {
            return Err(invalid(format!(
                "base name ({}) should not be blank",
                written.base
            )));
        }
        checks::undeclared(self, &outline.known, &base.unset, written.lines);
        let mut stage = Stage::of_file(written);
        stage.base_name = base.text;
        stage.outline = outline.clone();
        let mut used = base.used;
        used.extend(self.stage_platform(&mut stage, written, outline)?);
        let platform = stage
            .platform
            .clone()
            .unwrap_or_else(|| self.target.clone());
        if !stage.name.is_empty() {
            stage.named = NamedContext::find(self.options, &stage.name, &platform)?;
        }
        if stage.named.is_some() {
            let number = self.stages.add(stage);
            if let Some(stage) = self.stages.get_mut(number) {
                stage.base = None;
            }
            return Ok(());
        }
        if stage.name.is_empty() {
            stage.label = format!("stage-{number}");
        }
        stage.ignore_cache = self.options.ignores_cache(&stage.name);
        let number = self.stages.add(stage);
        if let Some(stage) = self.stages.get_mut(number) {
            stage.outline.used.extend(used);
            let base = stage.base.is_none() && stage.base_name != "scratch";
            let steps = written.instructions.iter().filter(|one| is_step(one));
            stage.steps = usize::from(base) + steps.count();
        }
        Ok(())
    }

    /// `FROM --platform`. Returns the variables it uses.
    fn stage_platform(
        &mut self,
        stage: &mut Stage,
        written: &arca_dockerfile::Stage,
        outline: &Outline,
    ) -> Result<BTreeSet<String>, Error> {
        let text = written.platform.as_str();
        if text.is_empty() {
            return Ok(BTreeSet::new());
        }
        let lines = [written.lines];
        let invalid = |error: String| self.definition.located(Error::Invalid(error), &lines);
        let done = self.lexer.expand(text, &self.globals).map_err(|error| {
            invalid(format!(
                "failed to process arguments for platform : {error}"
            ))
        })?;
        let meant = |name: &String| nearest(name, self.globals.names());
        let hint = hint(done.unset.iter().find_map(meant));
        if done.text.is_empty() {
            return Err(invalid(format!(
                "empty platform value from expression {text}{hint}"
            )));
        }
        let platform: Platform = done
            .text
            .parse()
            .map_err(|error| invalid(format!("failed to parse platform {text}: {error}{hint}")))?;
        checks::undeclared(self, &outline.known, &done.unset, written.lines);
        checks::platform(self, written, &done, &platform);
        stage.platform = Some(platform);
        Ok(done.used)
    }

    fn target_stage(&self) -> Result<usize, Error> {
        let target = self.options.target.as_str();
        if target.is_empty() {
            return Ok(self.stages.len().saturating_sub(1));
        }
        self.stages.named(target).ok_or_else(|| {
            let hint = hint(nearest(target, self.stages.labels()));
            Error::Invalid(format!("target stage {target:?} could not be found{hint}"))
        })
    }

    /// Closes the graph: what is needed of contexts is known now.
    fn finish(&mut self, target: usize, exclude: Vec<String>) -> Result<Converted, Error> {
        self.stages.takes(target, "/");
        let stage = self
            .stages
            .get(target)
            .ok_or_else(|| Error::Failed("no target".to_owned()))?;
        let mut image = stage.state.image.clone();
        image.config.labels.extend(self.options.labels.clone());
        if self.settings.target.is_some() {
            image.set_platform(&self.target);
        }
        let paths = followed(&self.context_paths);
        let root = stage.state.files.and_then(|files| {
            self.plan.finish(files, |open| match open {
                Open::Context => {
                    let (exclude, paths) = (exclude.clone(), paths.clone());
                    Some(self.definition.context(self.options, exclude, paths))
                }
                Open::Named(number) => self
                    .locals
                    .get(number)
                    .map(|(local, stage)| local.tree(followed(&self.stages.taken(*stage)))),
            })
        });
        Ok(Converted {
            root,
            image,
            base_image: stage.state.base_image.clone(),
            outline: Outline::of(&self.stages, target),
            name: stage.name.clone(),
            description: stage.description.clone(),
        })
    }
}

/// Does the instruction show as a vertex?
fn is_step(instruction: &arca_dockerfile::Instruction) -> bool {
    use arca_dockerfile::Kind;
    matches!(
        instruction.kind,
        Kind::Add(_) | Kind::Copy(_) | Kind::Run(_) | Kind::Workdir(_)
    )
}

/// The paths below the root of a context; none when all of it is needed.
fn followed(paths: &BTreeSet<String>) -> Vec<String> {
    if paths.contains("/") {
        return Vec::new();
    }
    paths
        .iter()
        .map(|path| path.trim_start_matches('/').to_owned())
        .collect()
}

/// What is known of arguments, and what stopped it.
type GlobalArguments = (
    std::collections::BTreeMap<String, ArgInfo>,
    Option<(arca_dockerfile::ExpandError, Lines)>,
);

/// Sets the arguments before the first stage: `given` has the values of the command line.
pub(super) fn global_arguments<'g>(
    env: &mut Env,
    file: &Dockerfile,
    lexer: &Lexer,
    given: impl Fn(&str) -> Option<&'g String>,
) -> GlobalArguments {
    let mut known: std::collections::BTreeMap<String, ArgInfo> = std::collections::BTreeMap::new();
    for instruction in &file.arguments {
        let arca_dockerfile::Kind::Arg(args) = &instruction.kind else {
            continue;
        };
        for arg in args {
            let mut info = ArgInfo::new(arg, instruction.lines);
            let value = match (given(&arg.name), &arg.default) {
                (Some(value), _) => Some(value.clone()),
                (None, None) => None,
                (None, Some(default)) => match lexer.expand(default, env) {
                    Ok(mut done) => {
                        if done.used.remove(&arg.name)
                            && let Some(before) = known.get(&arg.name)
                        {
                            done.used.extend(before.needs.iter().cloned());
                        }
                        info.needs = done.used;
                        Some(done.text)
                    }
                    Err(error) => return (known, Some((error, instruction.lines))),
                },
            };
            if let Some(value) = value {
                env.set(&arg.name, &value);
                info.value = value;
            }
            known.insert(arg.name.clone(), info);
        }
    }
    (known, None)
}
