//! A build under way: stages, and the instructions of each.

use std::collections::BTreeMap;

use arca_dockerfile::{Dockerfile, Env, Instruction, Kind, Lexer, Lines, Pair, Stage};
use arca_images::{Image, PullRequest, RunConfig};
use arca_types::{ContainerId, ImageId};
use tokio::sync::mpsc;

use super::args::Arguments;
use super::context::Context;
use super::{ClassicLine, ClassicRequest, ClassicSink, tell};
use crate::Error;
use crate::builder::Builder;

/// A build under way.
#[derive(Debug)]
pub(super) struct Build {
    pub(super) builder: Builder,
    pub(super) request: ClassicRequest,
    pub(super) context: Context,
    pub(super) args: Arguments,
    pub(super) state: State,
    pub(super) escape: char,
    /// The containers that instructions have left.
    pub(super) containers: Vec<ContainerId>,
    /// The one of the present instruction.
    pub(super) last_container: Option<String>,
    /// Results of stages, by number; names follow.
    pub(super) stages: Vec<Option<Image>>,
    pub(super) stage_names: BTreeMap<String, usize>,
    sink: ClassicSink,
    step: usize,
    steps: usize,
}

/// Where a stage is.
#[derive(Debug, Default)]
pub(super) struct State {
    /// The present image; none of an empty base.
    pub(super) image: Option<Image>,
    /// What the next image's containers inherit.
    pub(super) run: RunConfig,
    /// `MAINTAINER`.
    pub(super) author: String,
    /// `CMD` was said in this stage.
    pub(super) has_command: bool,
}

impl Build {
    pub(super) fn new(
        builder: &Builder,
        request: ClassicRequest,
        context: Context,
        sink: ClassicSink,
    ) -> Self {
        Self {
            builder: builder.clone(),
            args: Arguments::new(request.build_args.clone()),
            request,
            context,
            state: State::default(),
            escape: '\\',
            containers: Vec::new(),
            last_container: None,
            stages: Vec::new(),
            stage_names: BTreeMap::new(),
            sink,
            step: 0,
            steps: 0,
        }
    }

    /// Tells a line of text.
    pub(super) async fn line(&self, text: impl Into<String>) {
        tell(&self.sink, ClassicLine::Stream(text.into())).await;
    }

    /// Does everything up to the wanted stage.
    pub(super) async fn run(&mut self, file: &Dockerfile) -> Result<ImageId, Error> {
        let stages = self.wanted(file)?;
        self.escape = file.escape;
        let labels = usize::from(!self.request.labels.is_empty());
        let instructions: usize = stages
            .iter()
            .map(|stage| stage.instructions.len() + 1)
            .sum();
        self.steps = file.arguments.len() + instructions + labels;
        for argument in &file.arguments {
            self.announce(&argument.text).await;
            self.global(argument)?;
        }
        for (number, stage) in stages.iter().enumerate() {
            self.stage(stage).await?;
            if number + 1 == stages.len() {
                self.labels().await?;
            }
            let image = self.state.image.clone();
            if let Some(image) = &image {
                tell(&self.sink, ClassicLine::Image(image.id.clone())).await;
            }
            self.stages.push(image);
            if !stage.name.is_empty() {
                self.stage_names.insert(stage.name.clone(), number);
            }
        }
        let unused = self.args.unused();
        if !unused.is_empty() {
            let unused = unused.join(" ");
            let text = format!("[Warning] One or more build-args [{unused}] were not consumed\n");
            self.line(text).await;
        }
        let nothing =
            || Error::Failed("No image was generated. Is your Dockerfile empty?".to_owned());
        self.state
            .image
            .as_ref()
            .map(|image| image.id.clone())
            .ok_or_else(nothing)
    }

    /// The stages up to the one that is asked for.
    fn wanted<'a>(&self, file: &'a Dockerfile) -> Result<&'a [Stage], Error> {
        if file.stages.is_empty() {
            return Err(Error::Invalid(
                "no build stage in current context".to_owned(),
            ));
        }
        let target = self.request.target.to_lowercase();
        if target.is_empty() {
            return Ok(&file.stages);
        }
        let named = file.stages.iter().position(|stage| stage.name == target);
        let number = target.parse::<usize>().ok();
        let last = named.or(number.filter(|number| *number < file.stages.len()));
        last.and_then(|last| file.stages.get(..=last))
            .ok_or_else(|| {
                let target = &self.request.target;
                Error::Invalid(format!("target stage {target:?} could not be found"))
            })
    }

    async fn announce(&mut self, text: &str) {
        self.step += 1;
        let line = format!("Step {}/{} : {text}", self.step, self.steps);
        self.line(line).await;
        self.line("\n").await;
    }

    fn global(&mut self, argument: &Instruction) -> Result<(), Error> {
        let Kind::Arg(arguments) = &argument.kind else {
            return Ok(());
        };
        for argument in arguments {
            let env = self.args.globals();
            let default = argument.default.as_ref();
            let default = default
                .map(|text| self.expand_with(text, &env))
                .transpose()?;
            self.args.add_global(&argument.name, default);
        }
        Ok(())
    }

    async fn stage(&mut self, stage: &Stage) -> Result<(), Error> {
        self.announce(&stage.text).await;
        self.args.begin_stage();
        let triggers = self.from(stage).await?;
        if !triggers.is_empty() {
            self.triggers(&triggers).await?;
        }
        self.present().await;
        for instruction in &stage.instructions {
            self.announce(&instruction.text).await;
            self.perform(&instruction.kind).await?;
            self.present().await;
        }
        Ok(())
    }

    /// Does one instruction, and removes its container as asked.
    async fn perform(&mut self, kind: &Kind) -> Result<(), Error> {
        self.last_container = None;
        let done = self.instruction(kind).await;
        if self.request.force_remove || (self.request.remove && done.is_ok()) {
            self.remove_all().await;
        }
        done
    }

    async fn present(&self) {
        let id = self
            .state
            .image
            .as_ref()
            .map(|image| image.id.digest().short());
        self.line(format!(" ---> {}\n", id.unwrap_or_default()))
            .await;
    }

    /// Labels of the request, as an instruction of their own.
    async fn labels(&mut self) -> Result<(), Error> {
        if self.request.labels.is_empty() {
            return Ok(());
        }
        let labels = self.request.labels.clone();
        let shown: Vec<String> = labels
            .iter()
            .map(|(key, value)| format!("{key:?}='{value}'"))
            .collect();
        self.announce(&format!("LABEL {}", shown.join(" "))).await;
        let pairs = labels.into_iter().map(|(name, value)| Pair {
            name,
            value,
            legacy: false,
        });
        let done = self.label(pairs.collect()).await;
        if self.request.force_remove || (self.request.remove && done.is_ok()) {
            self.remove_all().await;
        }
        done?;
        self.present().await;
        Ok(())
    }

    /// Begins a stage; returns the instructions that its base keeps for it.
    async fn from(&mut self, stage: &Stage) -> Result<Vec<String>, Error> {
        let env = self.args.globals();
        let name = self.expand_with(&stage.base, &env)?;
        if name.is_empty() {
            let base = &stage.base;
            return Err(Error::Invalid(format!(
                "base name ({base}) should not be blank"
            )));
        }
        if !stage.platform.is_empty() {
            let text = self.expand_with(&stage.platform, &env)?;
            let platform = text
                .parse()
                .map_err(|error: arca_types::PlatformError| Error::Invalid(error.to_string()))?;
            self.request.platform = Some(platform);
        }
        self.state = State::default();
        if name == "scratch" {
            self.default_path();
            return Ok(Vec::new());
        }
        let image = match self.stage_of(&name) {
            Some(image) => image,
            None => Some(self.base(&name, self.request.pull).await?),
        };
        if let Some(image) = image {
            self.state.run = image.config.config.clone();
            self.state.image = Some(image);
        }
        self.default_path();
        let triggers = self.state.run.on_build.take();
        Ok(triggers.unwrap_or_default())
    }

    /// The result of an earlier stage of this name.
    fn stage_of(&self, name: &str) -> Option<Option<Image>> {
        let number = self.stage_names.get(&name.to_lowercase())?;
        self.stages.get(*number).cloned()
    }

    /// Without a search path, programs are found where they always are.
    fn default_path(&mut self) {
        const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        let env = self.state.run.env.get_or_insert_default();
        if !env.iter().any(|variable| variable.starts_with("PATH=")) {
            env.push(PATH.to_owned());
        }
    }

    /// An image by name: the one that is here, unless it is to be asked for, else the registry's.
    pub(super) async fn base(&mut self, name: &str, pull: bool) -> Result<Image, Error> {
        let failed = |error| Error::Images(Box::new(error));
        let images = self.builder.0.backends.images.clone();
        let platform = self.request.platform.clone();
        if !pull {
            match images.resolve(name, platform.as_ref()).await {
                Ok(image) => return Ok(image),
                Err(arca_images::Error::NotFound(_)) => {}
                Err(arca_images::Error::WrongPlatform { .. }) => {}
                Err(error) => return Err(failed(error)),
            }
        }
        let reference: arca_types::Reference = name
            .parse()
            .map_err(|error| failed(arca_images::Error::Reference(error)))?;
        let auth = self.auth(reference.repository().domain());
        let request = PullRequest::new(&reference.to_string(), "", platform.clone(), auth);
        let request = request.map_err(failed)?;
        let (sink, mut told) = mpsc::channel(64);
        let service = images.clone();
        let pulling = async move { service.pull(&request, &sink).await };
        let lines = self.sink.clone();
        let telling = async move {
            while let Some(progress) = told.recv().await {
                tell(&lines, ClassicLine::Pulling(Box::new(progress))).await;
            }
        };
        let (pulled, ()) = tokio::join!(pulling, telling);
        pulled.map_err(failed)?;
        images
            .resolve(name, platform.as_ref())
            .await
            .map_err(failed)
    }

    fn auth(&self, domain: &str) -> arca_images::Auth {
        let key = match domain {
            "docker.io" => "https://index.docker.io/v1/",
            domain => domain,
        };
        let auths = &self.request.auths;
        let found = auths.get(key).or_else(|| auths.get(domain));
        found.cloned().unwrap_or(arca_images::Auth::Anonymous)
    }

    /// Instructions that the base keeps for those who build upon it.
    async fn triggers(&mut self, triggers: &[String]) -> Result<(), Error> {
        let more = if triggers.len() == 1 { "" } else { "s" };
        let text = format!("# Executing {} build trigger{more}", triggers.len());
        self.line(text).await;
        self.line("\n").await;
        for trigger in triggers {
            let parsed = Instruction::trigger(trigger, Lines::one(1));
            let instruction = parsed.map_err(|error| Error::Invalid(error.to_string()))?;
            self.perform(&instruction.kind).await?;
        }
        Ok(())
    }

    /// Expands variables with those of the stage.
    pub(super) fn expand(&self, text: &str) -> Result<String, Error> {
        let env = self.state.run.env.as_deref().unwrap_or_default();
        self.expand_with(text, &self.args.environment(env))
    }

    fn expand_with(&self, text: &str, env: &Env) -> Result<String, Error> {
        let expanded = Lexer::new(self.escape).expand(text, env);
        expanded
            .map(|expanded| expanded.text)
            .map_err(|error| Error::Invalid(error.to_string()))
    }

    /// Expands variables; one text may become several words.
    pub(super) fn expand_words(&self, text: &str) -> Result<Vec<String>, Error> {
        let env = self.state.run.env.as_deref().unwrap_or_default();
        let env = self.args.environment(env);
        let expanded = Lexer::new(self.escape).expand(text, &env);
        expanded
            .map(|expanded| expanded.words)
            .map_err(|error| Error::Invalid(error.to_string()))
    }
}
