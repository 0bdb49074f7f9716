//! A stage while it is converted, and what its instructions have made of it so far.

use std::collections::BTreeMap;

use arca_dockerfile::{Env, Instruction, Lines};
use arca_types::Platform;

use super::image::Image;
use super::named::NamedContext;
use super::outline::Outline;
use super::plan::Files;

/// A stage, or an image that one copies or mounts from.
#[derive(Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent facts of its way through the conversion"
)]
pub(super) struct Stage {
    /// `AS name`, empty without.
    pub(super) name: String,
    /// How it is called in vertices: its name, or `stage-N`; empty when it is the only one.
    pub(super) label: String,
    /// What it begins with: a stage's name or an image; in full once that is known.
    pub(super) base_name: String,
    /// The stage it begins with.
    pub(super) base: Option<usize>,
    /// The `FROM` as written.
    pub(super) text: String,
    pub(super) lines: Lines,
    pub(super) description: String,
    pub(super) platform: Option<Platform>,
    /// A context of that name takes its place.
    pub(super) named: Option<NamedContext>,
    /// Stages it copies or mounts from, and the instruction that does.
    pub(super) needs: BTreeMap<usize, Lines>,
    pub(super) commands: Vec<Command>,
    /// It has been converted.
    pub(super) done: bool,
    /// Its base image has been looked for.
    pub(super) resolved: bool,
    /// It is no stage of the file: an image that is copied from.
    pub(super) implicit: bool,
    pub(super) has_base_triggers: bool,
    pub(super) ignore_cache: bool,
    /// Steps that show as vertices, and how many of them have been named.
    pub(super) steps: usize,
    pub(super) step: usize,
    pub(super) in_trigger: bool,
    pub(super) state: State,
    pub(super) outline: Outline,
    /// Where the paths that others take of it are noted: stages that build upon each other share that.
    pub(super) paths: usize,
}

/// What instructions change.
#[derive(Debug, Clone, Default)]
pub(super) struct State {
    pub(super) files: Files,
    pub(super) env: Env,
    pub(super) dir: String,
    pub(super) user: String,
    pub(super) image: Image,
    /// The base image as it was.
    pub(super) base_image: Option<Image>,
    /// `ARG`s so far, in order.
    pub(super) arguments: Vec<(String, Option<String>)>,
    /// `WORKDIR` has been given an absolute path in this file.
    pub(super) has_workdir: bool,
    /// Where the last `CMD`, `ENTRYPOINT` and `HEALTHCHECK` of this stage are.
    pub(super) cmd: Option<Lines>,
    pub(super) entrypoint: Option<Lines>,
    pub(super) healthcheck: Option<Lines>,
}

/// An instruction and the stages it takes files from.
#[derive(Debug, Clone)]
pub(super) struct Command {
    pub(super) instruction: Instruction,
    /// For `COPY` its source, for `RUN` one for each mount.
    pub(super) sources: Vec<usize>,
    /// It comes from the base image.
    pub(super) trigger: bool,
}

impl Stage {
    /// An image that something is copied from.
    pub(super) fn implicit(base_name: &str, lines: Lines) -> Self {
        Self {
            name: String::new(),
            label: String::new(),
            base_name: base_name.to_owned(),
            base: None,
            text: String::new(),
            lines,
            description: String::new(),
            platform: None,
            named: None,
            needs: BTreeMap::new(),
            commands: Vec::new(),
            done: false,
            resolved: false,
            implicit: true,
            has_base_triggers: false,
            ignore_cache: false,
            steps: 0,
            step: 0,
            in_trigger: false,
            state: State::default(),
            outline: Outline::default(),
            paths: 0,
        }
    }

    /// A stage of the file.
    pub(super) fn of_file(stage: &arca_dockerfile::Stage) -> Self {
        Self {
            name: stage.name.clone(),
            label: stage.name.clone(),
            text: stage.text.clone(),
            description: stage.description.clone(),
            implicit: false,
            ..Self::implicit(&stage.base, stage.lines)
        }
    }
}
