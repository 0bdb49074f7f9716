//! The Dockerfile front end: from a Dockerfile and options to a graph and an image configuration.
//!
//! Options, names of vertices, texts and results are those of BuildKit's `dockerfile.v0`. Nothing is
//! run here: the only questions asked outside go through [`Gateway`], and each of them is a vertex of
//! its own in the progress (`[internal] load …`).
//!
//! The way of a build: `options` → `definition` (the Dockerfile, the context, ignore patterns) →
//! `convert` (stages, base images, then instruction by instruction in `dispatch`) → `plan` (the graph) →
//! [`BuildResult`]. The same way ends in `requests` for `--check` and `--call`.

mod base;
mod checks;
mod convert;
mod definition;
mod dispatch;
mod image;
mod named;
mod naming;
mod options;
mod outline;
mod plan;
mod requests;
mod sheet;
mod stage;
mod stages;

use std::collections::BTreeMap;
use std::fmt;

use arca_dockerfile::{directive, syntax};
use arca_types::Platform;
use async_trait::async_trait;

use crate::graph::{Edge, ResolveMode};
use crate::progress;
use crate::{BuildResult, Error, ResolvedImage, SolveInput};
use definition::Definition;
use options::Options;

/// What the front end asks of the build that it is part of.
#[async_trait]
pub trait Gateway: Send + Sync + fmt::Debug {
    /// The platform of the machine that runs the build.
    fn platform(&self) -> Platform;

    /// The configuration of an image.
    ///
    /// # Errors
    /// When there is no such image, or not for the platform.
    async fn resolve_image(&self, request: &ImageRequest) -> Result<ResolvedImage, Error>;

    /// Makes `tree` and reads a file of it; `None` when it has no such file.
    ///
    /// # Errors
    /// When the tree cannot be made, or the file cannot be read.
    async fn read_file(&self, tree: &Edge, path: &str) -> Result<Option<Vec<u8>>, Error>;

    /// Tells the client what is advised against.
    fn warn(&self, warning: progress::Warning);
}

/// An image whose configuration is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ImageRequest {
    /// Its name in full, with tag or digest.
    pub reference: String,
    /// For which platform; `None` for the machine's.
    pub platform: Option<Platform>,
    /// Whether a registry is asked.
    pub resolve: ResolveMode,
    /// The name of the vertex that people see.
    pub log_name: String,
    /// The OCI layout of the client that has it; `None` for images of this host and registries.
    pub layout: Option<Layout>,
}

/// An OCI layout of the client.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Layout {
    /// The session that serves it; empty for the build's own.
    pub session: String,
    /// Its name in the session.
    pub store: String,
}

/// Runs the front end.
///
/// # Errors
/// What is wrong with the options or the Dockerfile, or whatever `gateway` could not give.
pub async fn dockerfile(input: &SolveInput, gateway: &dyn Gateway) -> Result<BuildResult, Error> {
    check_capabilities(&input.frontend_attrs)?;
    let options = Options::parse(&input.frontend_attrs)?;
    let definition = Definition::load(&options, &input.frontend_inputs, gateway).await?;
    check_front_end(&options, &definition)?;
    if let Some(request) = options.all.get("requestid") {
        return requests::answer(request, &options, &definition, gateway).await;
    }
    let mut result = BuildResult::default();
    let mut platforms = Vec::new();
    let wanted: Vec<Option<Platform>> = if options.platforms.is_empty() {
        vec![None]
    } else {
        options.platforms.iter().cloned().map(Some).collect()
    };
    for (number, target) in wanted.into_iter().enumerate() {
        let settings = convert::Settings {
            target: target.clone(),
            all_stages: false,
        };
        // What is advised against is so on all platforms: it is told once.
        let mut linter = match number {
            0 => convert::linter(&options, &definition)?,
            _ => arca_dockerfile::Linter::silent(),
        };
        let converted =
            convert::convert(&options, &definition, gateway, &mut linter, settings).await;
        for warning in linter.warnings() {
            gateway.warn(definition.warning(warning));
        }
        let converted = converted?;
        let platform = target.unwrap_or_else(|| gateway.platform());
        let id = platform.to_string();
        let suffix = if options.multi_platform {
            format!("/{id}")
        } else {
            String::new()
        };
        let key = if options.multi_platform {
            id.clone()
        } else {
            String::new()
        };
        result.refs.insert(key, converted.root);
        let mut say = |key: &str, config: Vec<u8>| {
            result.metadata.insert(format!("{key}{suffix}"), config);
        };
        say("containerimage.config", json(&converted.image)?);
        if let Some(base) = &converted.base_image {
            say("containerimage.base.config", json(base)?);
        }
        platforms.push(serde_json::json!({ "ID": id, "Platform": platform }));
    }
    let platforms = json(&serde_json::json!({ "Platforms": platforms }))?;
    result
        .metadata
        .insert("refs.platforms".to_owned(), platforms);
    Ok(result)
}

fn json(value: &impl serde::Serialize) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(value).map_err(|error| Error::Failed(error.to_string()))
}

/// The client may only rely on what this front end can do (`frontend.caps`).
fn check_capabilities(attrs: &BTreeMap<String, String>) -> Result<(), Error> {
    const KNOWN: [&str; 4] = ["inputs", "subrequests", "contexts", "gitquerystring"];
    let asked = attrs
        .get("frontend.caps")
        .map(String::as_str)
        .unwrap_or_default();
    for asked in asked.split(',').filter(|asked| !asked.is_empty()) {
        let name = asked.split('+').next().unwrap_or_default();
        let known = name.strip_prefix("moby.buildkit.frontend.");
        if !known.is_some_and(|known| KNOWN.contains(&known)) {
            let text = format!("unsupported frontend capability {name}");
            return Err(Error::Unsupported(text));
        }
    }
    Ok(())
}

/// Only this front end is served: `docker/dockerfile` in any version is taken to mean it.
fn check_front_end(options: &Options, definition: &Definition) -> Result<(), Error> {
    let (asked, what) = match options.build_args.get("BUILDKIT_SYNTAX") {
        Some(asked) => (asked.clone(), None),
        None => match syntax(&definition.text) {
            Some(asked) => (asked.value.clone(), Some(asked.line)),
            None => return Ok(()),
        },
    };
    let name = asked.split_whitespace().next().unwrap_or_default();
    if is_dockerfile(name) {
        return Ok(());
    }
    let text = format!(
        "front end {name} is not supported: front-end images cannot be run, only docker/dockerfile is built in"
    );
    let error = Error::Unsupported(text);
    Err(match what {
        Some(line) => definition.located(error, &[arca_dockerfile::Lines::one(line)]),
        None => error.context(format!("failed with build-arg:BUILDKIT_SYNTAX = {asked}")),
    })
}

/// `docker/dockerfile`, its upstream variant and its experimental channel, from Docker's hub.
fn is_dockerfile(name: &str) -> bool {
    let Ok(reference) = name.parse::<arca_types::Reference>() else {
        return false;
    };
    let repository = reference.repository();
    let known = ["docker/dockerfile", "docker/dockerfile-upstream"];
    repository.domain() == "docker.io" && known.contains(&repository.path())
}

/// The lint options that a Dockerfile has in itself.
fn check_directive(text: &str) -> String {
    let found = directive("check", text)
        .map(|found| found.value)
        .unwrap_or_default();
    found.split(' ').next().unwrap_or_default().to_owned()
}

/// Metadata of a vertex that only has a name.
fn named(name: impl Into<String>) -> crate::graph::Metadata {
    crate::graph::Metadata {
        name: name.into(),
        ..Default::default()
    }
}

/// A description of a vertex: the instruction it comes from.
fn described(text: &str) -> BTreeMap<String, String> {
    BTreeMap::from([(
        "com.docker.dockerfile.v1.command".to_owned(),
        text.to_owned(),
    )])
}

#[cfg(test)]
mod goldens;
#[cfg(test)]
mod tests;
