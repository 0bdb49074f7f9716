//! `POST /build?version=2`: a build by one HTTP request, as clients of before buildx make it.
//!
//! The client has a session ([`BuildKit::session`]) for its files, or sends them as an archive: in the body
//! of the request, or in that of a second one ([`BuildKit::upload`]).

use std::collections::BTreeMap;
use std::sync::Arc;

use arca_build::Error;
use arca_images::ByteStream;
use arca_types::random_hex;
use prost::Message as _;
use tokio::sync::mpsc::Sender;
use tonic::Status;

use crate::control::solve;
use crate::history::Told;
use crate::service::{BuildKit, Service};
use crate::session::Body;
use crate::{api, convert};

/// What is to be built.
pub struct ImageBuild {
    /// The client's name for the build, by which it can be cancelled; empty for none.
    pub id: String,
    /// The session's ID; empty for none.
    pub session: String,
    /// Where files come from.
    pub context: BuildContext,
    /// Options of the Dockerfile front end (`target`, `build-arg:…`), but for the context.
    pub frontend_attrs: BTreeMap<String, String>,
    /// What becomes of the result: `None` when nothing does.
    pub exporter: Option<BuildOutput>,
    /// Only tell the ID at the end, as text.
    pub quiet: bool,
    /// Images that may give results of steps.
    pub cache_from: Vec<String>,
    /// Whether the image says how its layers were made.
    pub inline_cache: bool,
    /// Whether steps may use the host's network.
    pub host_network: bool,
}

impl std::fmt::Debug for ImageBuild {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ImageBuild")
            .field("id", &self.id)
            .field("session", &self.session)
            .finish_non_exhaustive()
    }
}

/// Where the files of a build come from.
pub enum BuildContext {
    /// From the session.
    Session,
    /// An archive, or a Dockerfile alone.
    Body(ByteStream),
    /// The body of another request ([`BuildKit::upload`]) for this ID.
    Upload,
    /// An address.
    Remote(String),
}

impl std::fmt::Debug for BuildContext {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Session => "Session",
            Self::Body(_) => "Body",
            Self::Upload => "Upload",
            Self::Remote(address) => address,
        })
    }
}

/// What becomes of a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildOutput {
    /// Kind: `moby`, `local`, `tar`, ….
    pub kind: String,
    /// Options, such as `name`.
    pub attrs: BTreeMap<String, String>,
}

/// What a build tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BuildLine {
    /// A `moby.buildkit.v1.StatusResponse`, encoded.
    Trace(Vec<u8>),
    /// The image's ID.
    Image(String),
    /// The same for a client that wants nothing else; empty when no image was made.
    Quiet(String),
}

impl BuildKit {
    /// The address that `host-gateway` stands for, if there is one.
    #[must_use]
    pub fn host_gateway(&self) -> Option<&str> {
        self.0.config.host_gateway.as_deref()
    }

    /// Builds, and tells what happens. The build is cancelled when the answer is no longer waited for.
    ///
    /// # Errors
    /// When the session or the upload does not come, or the build fails.
    pub async fn build(&self, build: ImageBuild, sink: Sender<BuildLine>) -> Result<(), Error> {
        let ImageBuild {
            id,
            session,
            context,
            mut frontend_attrs,
            exporter,
            quiet,
            cache_from,
            inline_cache,
            host_network,
        } = build;
        let job = match id.as_str() {
            "" => random_hex(16),
            id => id.to_owned(),
        };
        let body = self.files(&id, context, &mut frontend_attrs).await?;
        let is_image = exporter
            .as_ref()
            .is_some_and(|output| matches!(output.kind.as_str(), "moby" | "image"));
        let request = api::SolveRequest {
            r#ref: job.clone(),
            session,
            frontend: "dockerfile.v0".to_owned(),
            frontend_attrs: frontend_attrs.into_iter().collect(),
            exporters: exporter
                .map(|output| api::Exporter {
                    r#type: output.kind,
                    attrs: output.attrs.into_iter().collect(),
                })
                .into_iter()
                .collect(),
            entitlements: host_network
                .then(|| "network.host".to_owned())
                .into_iter()
                .collect(),
            cache: Some(cache(cache_from, inline_cache)),
            ..api::SolveRequest::default()
        };
        let mut traces = Vec::new();
        let kept = quiet.then_some(&mut traces);
        let mut response = told(&self.0, &job, request, body, (&sink, kept)).await?;
        let image = response.exporter_response.remove("containerimage.digest");
        match image.filter(|_| is_image) {
            image if quiet => say(&sink, BuildLine::Quiet(image.unwrap_or_default())).await,
            Some(image) => say(&sink, BuildLine::Image(image)).await,
            None => {}
        }
        Ok(())
    }
}

impl BuildKit {
    /// What the build finds in requests, and the option that says where.
    async fn files(
        &self,
        id: &str,
        context: BuildContext,
        attrs: &mut BTreeMap<String, String>,
    ) -> Result<Option<Body>, Error> {
        let body = match context {
            BuildContext::Session => return Ok(None),
            BuildContext::Remote(address) => {
                attrs.insert("context".to_owned(), address);
                return Ok(None);
            }
            BuildContext::Body(body) => Body::new(body),
            BuildContext::Upload => self.0.uploads.take(id).await?,
        };
        attrs.insert("context".to_owned(), body.url());
        Ok(Some(body))
    }
}

fn cache(from: Vec<String>, inline: bool) -> api::CacheOptions {
    let import = |reference: String| api::CacheOptionsEntry {
        r#type: "registry".to_owned(),
        attrs: [("ref".to_owned(), reference)].into(),
    };
    let export = inline.then(|| api::CacheOptionsEntry {
        r#type: "inline".to_owned(),
        ..api::CacheOptionsEntry::default()
    });
    api::CacheOptions {
        imports: from.into_iter().map(import).collect(),
        exports: export.into_iter().collect(),
        ..api::CacheOptions::default()
    }
}

/// Solves, and tells what happens meanwhile; where that is kept, only of a failure.
async fn told(
    service: &Arc<Service>,
    job: &str,
    request: api::SolveRequest,
    body: Option<Body>,
    (sink, mut kept): (&Sender<BuildLine>, Option<&mut Vec<BuildLine>>),
) -> Result<api::SolveResponse, Error> {
    let solving = solve::solve(Arc::clone(service), request, body, None);
    tokio::pin!(solving);
    let progress = tokio::select! {
        biased;
        solved = &mut solving => return solved.map_err(failed),
        told = service.builds.told(job) => told,
    };
    let telling = async {
        let Ok(Told::Live(progress)) = progress else {
            return;
        };
        let mut subscription = progress.subscribe();
        while let Some(events) = subscription.next().await {
            let mut response = api::StatusResponse::default();
            for event in &events {
                convert::add(&mut response, event);
            }
            let line = BuildLine::Trace(response.encode_to_vec());
            match &mut kept {
                Some(kept) => kept.push(line),
                None => say(sink, line).await,
            }
        }
    };
    let (solved, ()) = tokio::join!(solving, telling);
    if solved.is_err() {
        for line in kept.into_iter().flat_map(std::mem::take) {
            say(sink, line).await;
        }
    }
    solved.map_err(failed)
}

async fn say(sink: &Sender<BuildLine>, line: BuildLine) {
    if sink.send(line).await.is_err() {
        tracing::trace!("nobody listens to a build");
    }
}

fn failed(status: Status) -> Error {
    let text = status.message().to_owned();
    match status.code() {
        tonic::Code::InvalidArgument => Error::Invalid(text),
        tonic::Code::NotFound => Error::NotFound(text),
        tonic::Code::Unimplemented => Error::Unsupported(text),
        tonic::Code::Cancelled => Error::Cancelled,
        _ => Error::Failed(text),
    }
}
