//! The classic builder: a Dockerfile instruction by instruction, each one an image on top of the last
//! (`POST /build` without BuildKit).
//!
//! Files are changed by the same code as the solver's; a `RUN` is a container like any other, which
//! clients see. An instruction that was done before on the same image gives the same image.

mod args;
mod cache;
mod commit;
mod container;
mod context;
mod copy;
mod download;
mod instruction;
mod reader;
mod record;
mod stage;

use std::collections::{BTreeMap, VecDeque};

use arca_images::{Auth, ByteStream, Progress};
use arca_types::{ImageId, Platform, Reference};
use tokio::sync::mpsc;

use crate::Error;
use crate::builder::Builder;
use crate::request::Limits;
use context::Context;
use stage::Build;

/// So many lines of a quiet build are told when it fails.
const KEPT_LINES: usize = 10_000;

/// What is to be built (`ImageBuild`).
#[derive(Debug, Clone, Default)]
pub struct ClassicRequest {
    /// The path of the Dockerfile in the context; empty for `Dockerfile`.
    pub dockerfile: String,
    /// Names for the result.
    pub tags: Vec<String>,
    /// Only tell the ID at the end.
    pub quiet: bool,
    /// Do everything anew.
    pub no_cache: bool,
    /// Ask registries for base images in any case.
    pub pull: bool,
    /// Remove containers of instructions that succeeded.
    pub remove: bool,
    /// Remove all of them.
    pub force_remove: bool,
    /// Values of `ARG`s; `None` takes the default away.
    pub build_args: BTreeMap<String, Option<String>>,
    /// Labels of the result.
    pub labels: BTreeMap<String, String>,
    /// Images that may give results of instructions.
    pub cache_from: Vec<String>,
    /// The network of `RUN`, as of a container; empty for the default.
    pub network_mode: String,
    /// The stage to be built; empty for the last one.
    pub target: String,
    /// The platform of base images.
    pub platform: Option<Platform>,
    /// Lines of `/etc/hosts`, `host:ip`.
    pub extra_hosts: Vec<String>,
    /// Limits of `RUN`.
    pub limits: Limits,
    /// How processes are isolated: empty or `default`.
    pub isolation: String,
    /// Credentials by registry.
    pub auths: BTreeMap<String, Auth>,
}

/// Where files come from.
pub enum ClassicContext {
    /// An archive, perhaps compressed.
    Archive(ByteStream),
    /// An address: a git repository, an archive or a Dockerfile.
    Remote(String),
}

impl std::fmt::Debug for ClassicContext {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Archive(_) => f.write_str("Archive"),
            Self::Remote(address) => f.debug_tuple("Remote").field(address).finish(),
        }
    }
}

/// One line of what a build tells.
#[derive(Debug, Clone, PartialEq)]
pub enum ClassicLine {
    /// Text for people.
    Stream(String),
    /// Progress of a base image's pull.
    Pulling(Box<Progress>),
    /// The image of a stage.
    Image(ImageId),
}

/// Where lines go.
pub type ClassicSink = mpsc::Sender<ClassicLine>;

impl Builder {
    /// Builds an image. An error before the first line is one of the request. Dropping the future ends the
    /// build; nothing of it runs on.
    ///
    /// # Errors
    /// [`Error::Command`] when a command failed; others as they come, in dockerd's words.
    pub async fn build_classic(
        &self,
        request: ClassicRequest,
        context: ClassicContext,
        sink: ClassicSink,
    ) -> Result<ImageId, Error> {
        let names = names(&request.tags)?;
        let context = Context::prepare(self, &request, context, &sink).await?;
        let file = context.parse(&request)?;
        let quiet = request.quiet;
        let (told, lines) = mpsc::channel(16);
        let mut build = Build::new(self, request, context, told);
        let built = async move {
            let done = build.run(&file).await;
            build.remove_containers(done.is_ok()).await;
            done
        };
        let (done, kept) = tokio::join!(built, pass_on(lines, &sink, quiet));
        if done.is_err() {
            for line in kept {
                tell(&sink, line).await;
            }
        }
        let id = done?;
        let images = &self.0.backends.images;
        if quiet {
            tell(&sink, ClassicLine::Stream(format!("{id}\n"))).await;
        } else {
            let short = id.digest().short();
            tell(
                &sink,
                ClassicLine::Stream(format!("Successfully built {short}\n")),
            )
            .await;
        }
        for name in names {
            let repository = name.repository().familiar();
            let tagged = images.tag(id.as_str(), &repository, name.tag().unwrap_or("latest"));
            tagged
                .await
                .map_err(|error| Error::Images(Box::new(error)))?;
            if !quiet {
                let line = format!("Successfully tagged {}\n", name.familiar());
                tell(&sink, ClassicLine::Stream(line)).await;
            }
        }
        Ok(id)
    }
}

fn names(tags: &[String]) -> Result<Vec<Reference>, Error> {
    let mut names: Vec<Reference> = Vec::new();
    for tag in tags.iter().filter(|tag| !tag.is_empty()) {
        let name: Reference = tag
            .parse()
            .map_err(|error: arca_types::ReferenceError| Error::Failed(error.to_string()))?;
        if name.digest().is_some() {
            let text = "build tag cannot contain a digest";
            return Err(Error::Failed(text.to_owned()));
        }
        if !names.contains(&name) {
            names.push(name);
        }
    }
    Ok(names)
}

/// Tells a line; a client that does not listen any more does not matter here.
async fn tell(sink: &ClassicSink, line: ClassicLine) {
    if sink.send(line).await.is_err() {
        tracing::trace!("nobody listens to a build");
    }
}

/// Tells the lines of a build as they come. A quiet one's are kept, the last of them, to be told should it
/// fail.
async fn pass_on(
    mut lines: mpsc::Receiver<ClassicLine>,
    sink: &ClassicSink,
    quiet: bool,
) -> VecDeque<ClassicLine> {
    let mut kept = VecDeque::new();
    while let Some(line) = lines.recv().await {
        if !quiet {
            tell(sink, line).await;
            continue;
        }
        if kept.len() == KEPT_LINES {
            kept.pop_front();
        }
        kept.push_back(line);
    }
    kept
}
