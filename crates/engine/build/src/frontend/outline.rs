//! What a target can be given: arguments, secrets, agents.

use std::collections::{BTreeMap, BTreeSet};

use arca_dockerfile::{Arg, Lines};

use super::stages::Stages;

/// What the stages so far can be given.
#[derive(Debug, Clone, Default)]
pub(super) struct Outline {
    pub(super) known: BTreeMap<String, ArgInfo>,
    pub(super) used: BTreeSet<String>,
    secrets: BTreeMap<String, Wanted>,
    ssh: BTreeMap<String, Wanted>,
}

/// An argument.
#[derive(Debug, Clone)]
pub(super) struct ArgInfo {
    pub(super) value: String,
    pub(super) description: String,
    /// The arguments that its default is made of.
    pub(super) needs: BTreeSet<String>,
    pub(super) lines: Lines,
}

/// A secret or an agent that is mounted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    pub(super) required: bool,
    pub(super) lines: Lines,
}

impl ArgInfo {
    pub(super) fn new(arg: &Arg, lines: Lines) -> Self {
        Self {
            value: String::new(),
            description: arg.description.clone(),
            needs: BTreeSet::new(),
            lines,
        }
    }
}

impl Outline {
    /// What is known of arguments before the first stage.
    pub(super) fn of_globals(known: BTreeMap<String, ArgInfo>) -> Self {
        Self {
            known,
            ..Self::default()
        }
    }

    /// Notes a secret; the first mount of it counts.
    pub(super) fn wants_secret(&mut self, id: &str, wanted: Wanted) {
        self.secrets.entry(id.to_owned()).or_insert(wanted);
    }

    /// Notes an agent; the first mount of it counts.
    pub(super) fn wants_ssh(&mut self, id: &str, wanted: Wanted) {
        self.ssh.entry(id.to_owned()).or_insert(wanted);
    }

    /// All that a stage and those it is made of can be given.
    pub(super) fn of(stages: &Stages, target: usize) -> Self {
        let mut all = Self::default();
        for number in stages.reachable(target) {
            let Some(stage) = stages.get(number) else {
                continue;
            };
            let outline = &stage.outline;
            for name in outline.used_with_needs() {
                if let Some(info) = outline.known.get(&name) {
                    all.known.entry(name).or_insert_with(|| info.clone());
                }
            }
            outline
                .secrets
                .iter()
                .for_each(|(id, wanted)| all.wants_secret(id, *wanted));
            outline
                .ssh
                .iter()
                .for_each(|(id, wanted)| all.wants_ssh(id, *wanted));
        }
        all
    }

    /// The arguments that are used, and those that their defaults are made of.
    fn used_with_needs(&self) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        let mut open: Vec<&String> = self.used.iter().collect();
        while let Some(name) = open.pop() {
            if found.insert(name.clone())
                && let Some(info) = self.known.get(name)
            {
                open.extend(&info.needs);
            }
        }
        found
    }

    /// The arguments by their lines.
    pub(super) fn arguments(&self) -> Vec<(&str, &ArgInfo)> {
        let mut all: Vec<_> = self
            .known
            .iter()
            .map(|(name, info)| (name.as_str(), info))
            .collect();
        all.sort_by_key(|(_, info)| info.lines.start);
        all
    }

    /// The secrets by their lines.
    pub(super) fn secrets(&self) -> Vec<(&str, Wanted)> {
        by_line(&self.secrets)
    }

    /// The agents by their lines.
    pub(super) fn agents(&self) -> Vec<(&str, Wanted)> {
        by_line(&self.ssh)
    }
}

fn by_line(wanted: &BTreeMap<String, Wanted>) -> Vec<(&str, Wanted)> {
    let mut all: Vec<_> = wanted
        .iter()
        .map(|(id, wanted)| (id.as_str(), *wanted))
        .collect();
    all.sort_by_key(|(_, wanted)| wanted.lines.start);
    all
}
