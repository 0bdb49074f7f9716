//! What stages begin with: images, named contexts, nothing.

use std::collections::BTreeSet;

use arca_dockerfile::{Kind, hint, nearest};
use arca_types::{Platform, Reference};
use futures_util::future::try_join_all;

use super::convert::Converter;
use super::image::Image;
use super::named::{Loaded, NamedContext, config};
use super::plan::Open;
use super::{ImageRequest, checks, described};
use crate::Error;
use crate::graph::{ImageSource, Metadata, Op, Source};

/// A stage whose beginning has to be found.
struct Wanted {
    number: usize,
    base_name: String,
    platform: Platform,
    named: Option<NamedContext>,
    /// Its configuration matters: the target is made of it.
    reachable: bool,
}

/// What a stage begins with.
enum Found {
    Context(Loaded),
    /// An image by its full name, with its configuration if that was asked for.
    Image {
        reference: String,
        image: Option<Box<Image>>,
    },
}

impl Converter<'_> {
    /// Finds what each stage begins with, and what the images among them leave to those who build upon
    /// them. Returns the stages that the target is made of.
    pub(super) async fn resolve_bases(&mut self, target: usize) -> Result<BTreeSet<usize>, Error> {
        loop {
            let reachable = self.stages.reachable(target);
            let wanted = self.wanted(&reachable);
            let this = &*self;
            let found = try_join_all(wanted.iter().map(|wanted| this.find(wanted))).await?;
            for (wanted, found) in wanted.into_iter().zip(found) {
                self.begin(wanted, found)?;
            }
            let mut further = false;
            for number in &reachable {
                further |= self.add_triggers(*number)?;
            }
            if !further {
                return Ok(reachable);
            }
        }
    }

    /// The stages whose beginning is not known. Those that begin with nothing are done at once.
    fn wanted(&mut self, reachable: &BTreeSet<usize>) -> Vec<Wanted> {
        let (all, target) = (self.settings.all_stages, self.target.clone());
        let mut wanted = Vec::new();
        for (number, stage) in self.stages.iter_mut().enumerate() {
            if stage.base.is_some() || stage.done || stage.resolved {
                continue;
            }
            let reachable = all || reachable.contains(&number);
            stage.resolved = reachable;
            if stage.base_name == "scratch" && stage.named.is_none() {
                stage.state.image = Image::empty(&target);
                stage.platform = Some(target.clone());
                stage.done = stage.implicit;
                continue;
            }
            wanted.push(Wanted {
                number,
                base_name: stage.base_name.clone(),
                platform: stage.platform.clone().unwrap_or_else(|| target.clone()),
                named: stage.named.clone(),
                reachable,
            });
        }
        wanted
    }

    async fn find(&self, wanted: &Wanted) -> Result<Found, Error> {
        let lines = self.stages.get(wanted.number).map(|stage| stage.lines);
        let located = |error: Error| match lines {
            Some(lines) if lines.start > 0 => self.definition.located(error, &[lines]),
            _ => error,
        };
        self.find_unlocated(wanted).await.map_err(located)
    }

    async fn find_unlocated(&self, wanted: &Wanted) -> Result<Found, Error> {
        let name = wanted.base_name.as_str();
        let reference: Reference = name.parse().map_err(|error| {
            Error::Invalid(format!("failed to parse stage name {name:?}: {error}"))
        })?;
        let full = reference.to_string();
        if !wanted.reachable {
            return Ok(Found::Image {
                reference: full,
                image: None,
            });
        }
        let named = match &wanted.named {
            Some(named) => Some(named.clone()),
            None => NamedContext::find(self.options, &full, &wanted.platform)?,
        };
        if let Some(named) = named {
            let (options, definition) = (self.options, self.definition);
            let loaded = named
                .load(options, definition, self.gateway, &wanted.platform)
                .await?;
            return Ok(Found::Context(loaded));
        }
        let platform = if self.options.multi_platform {
            format!("{} ", wanted.platform)
        } else {
            String::new()
        };
        let request = ImageRequest {
            log_name: format!("[{platform}internal] load metadata for {full}"),
            reference: full,
            platform: Some(wanted.platform.clone()),
            resolve: self.options.resolve,
            layout: None,
        };
        let found = self
            .gateway
            .resolve_image(&request)
            .await
            .map_err(|error| {
                let hint = hint(self.meant(name).as_deref());
                let error = error.context(name);
                if hint.is_empty() {
                    error
                } else {
                    Error::Suffixed(Box::new(error), hint)
                }
            })?;
        let image = Some(Box::new(config(&found.config)?));
        Ok(Found::Image {
            reference: found.reference,
            image,
        })
    }

    /// The stage or well-known image that was meant by a name that is none.
    fn meant(&self, name: &str) -> Option<String> {
        const KNOWN: [&str; 7] = [
            "alpine", "busybox", "centos", "debian", "golang", "ubuntu", "fedora",
        ];
        let tagged = KNOWN.map(|known| format!("{known}:latest"));
        let known = KNOWN.into_iter().chain(tagged.iter().map(String::as_str));
        nearest(name, self.stages.labels().into_iter().chain(known)).map(str::to_owned)
    }

    fn begin(&mut self, wanted: Wanted, found: Found) -> Result<(), Error> {
        match found {
            Found::Image { reference, image } => {
                self.begin_with_image(&wanted, reference, image);
            }
            Found::Context(loaded) => self.begin_with_context(&wanted, loaded),
        }
        if let Some(stage) = self.stages.get_mut(wanted.number) {
            stage.done |= stage.implicit;
        }
        Ok(())
    }

    fn begin_with_image(&mut self, wanted: &Wanted, reference: String, image: Option<Box<Image>>) {
        let multi = self.options.multi_platform.then_some(&wanted.platform);
        let resolve = self.options.resolve;
        let Some(stage) = self.stages.get_mut(wanted.number) else {
            return;
        };
        stage.base_name.clone_from(&reference);
        stage.platform = Some(wanted.platform.clone());
        let scratch = image.as_ref().is_some_and(|image| !image.has_layers());
        if !scratch {
            let metadata = Metadata {
                name: stage.step_name(&format!("FROM {reference}"), multi, None),
                description: described(&stage.text),
                location: Some(Box::new(self.definition.location(&[stage.lines]))),
                ..Metadata::default()
            };
            let source = ImageSource {
                reference,
                resolve,
                layer_limit: None,
            };
            let op = Op::Source(Source::Image(source));
            let platform = Some(wanted.platform.clone());
            stage.state.files = Some(self.plan.op(op, Vec::new(), platform, metadata));
        }
        let Some(image) = image else { return };
        let (lines, actual) = (stage.lines, image.platform());
        stage.state.base_image = Some(Image::clone(&image));
        stage.state.image = Image {
            created: None,
            ..*image
        };
        if !scratch {
            checks::base_platform(self, &wanted.base_name, &wanted.platform, &actual, lines);
        }
    }

    fn begin_with_context(&mut self, wanted: &Wanted, loaded: Loaded) {
        let (files, image) = match loaded {
            Loaded::Scratch => (None, None),
            Loaded::Tree(tree, image) => (Some(self.plan.given(tree)), image),
            Loaded::Local(local) => {
                self.locals.push((local, wanted.number));
                (
                    Some(self.plan.open(Open::Named(self.locals.len() - 1))),
                    None,
                )
            }
        };
        let Some(stage) = self.stages.get_mut(wanted.number) else {
            return;
        };
        stage.state.files = files;
        // A context in place of a stage is all that the stage is; one in place of its base is built
        // upon.
        if wanted.named.is_some() {
            stage.done = true;
            if let Some(image) = image {
                if !image.architecture.is_empty() && !image.os.is_empty() {
                    stage.platform = Some(image.platform());
                }
                stage.state.image = Image {
                    created: None,
                    ..*image
                };
            }
            return;
        }
        let image = image.map_or_else(|| Image::empty(&wanted.platform), |image| *image);
        stage.state.base_image = Some(image.clone());
        stage.state.image = Image {
            created: None,
            ..image
        };
        stage.platform = Some(wanted.platform.clone());
    }

    /// Takes over what the base left to be done, once.
    fn add_triggers(&mut self, number: usize) -> Result<bool, Error> {
        self.stages.inherit(number);
        let Some(stage) = self.stages.get_mut(number) else {
            return Ok(false);
        };
        let mut triggers = std::mem::take(&mut stage.state.image.config.on_build);
        let first = !std::mem::replace(&mut stage.has_base_triggers, true);
        let (base, lines) = (stage.base.filter(|_| first), stage.lines);
        let base = base.and_then(|base| self.stages.get(base));
        let commands = base
            .map(|base| base.commands.as_slice())
            .unwrap_or_default();
        triggers.extend(
            commands
                .iter()
                .filter_map(|command| match &command.instruction.kind {
                    Kind::Onbuild(text) => Some(text.clone()),
                    _ => None,
                }),
        );
        if triggers.is_empty() {
            return Ok(false);
        }
        let added = self.stages.add_triggers(number, &triggers, &self.lexer);
        added.map_err(|error| self.definition.located(error, &[lines]))
    }
}
