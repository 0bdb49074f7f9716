//! Images.

use arca_images::{Auth, Base, Progress as Pulling, ProgressSink};
use arca_types::{Digest, Reference};
use tokio::sync::mpsc;

use super::Content;
use crate::graph::{ImageSource, ResolveMode, digest_json};
use crate::job::Job;
use crate::material::Material;
use crate::progress::Status;
use crate::solve::{Listeners, Step};
use crate::tree::chain;
use crate::{Error, Tree};

/// The layers that the name stands for.
pub(super) async fn key(step: &Step, image: &ImageSource) -> Result<Digest, Error> {
    let (mut layers, digest) = match here(&step.job, image, step.vertex.platform()).await? {
        Some(base) => {
            let layers = base.layers.clone();
            step.source.put(Content::Image(Box::new(base)));
            let digest = arca_images::chain_ids(&layers).pop();
            let digest = digest.unwrap_or_else(|| chain(&layers));
            (layers, digest)
        }
        None => {
            let (reference, auth) = at_registry(&step.job, &image.reference).await?;
            let described = step
                .job
                .0
                .service
                .backends
                .images
                .describe(&reference, step.vertex.platform(), &auth)
                .await
                .map_err(|error| not_found(&reference, error))?;
            let config = arca_images::ImageConfig::parse(&described.config)
                .map_err(|error| Error::Failed(error.to_string()))?;
            (config.diff_ids, described.digest)
        }
    };
    step.job.has_used(Material::Image {
        reference: image.reference.clone(),
        platform: step.vertex.platform().cloned(),
        digest,
    });
    layers.truncate(image.layer_limit.unwrap_or(usize::MAX));
    Ok(digest_json(&("image", chain(&layers))))
}

pub(super) async fn run(
    step: &Step,
    image: &ImageSource,
    listeners: &Listeners,
) -> Result<Tree, Error> {
    let base = match step.source.take() {
        Some(Content::Image(base)) => *base,
        _ => match here(&step.job, image, step.vertex.platform()).await? {
            Some(base) => base,
            None => pull(step, image, listeners).await?,
        },
    };
    let mut layers = base.layers.clone();
    layers.truncate(image.layer_limit.unwrap_or(usize::MAX));
    Ok(Tree::of_layers(step.storage(), layers))
}

/// The image, if it is here and may be used.
async fn here(
    job: &Job,
    image: &ImageSource,
    platform: Option<&arca_types::Platform>,
) -> Result<Option<Base>, Error> {
    if image.resolve == ResolveMode::Pull {
        return Ok(None);
    }
    let images = &job.0.service.backends.images;
    match images.local_base(&image.reference, platform).await {
        Ok(base) => Ok(Some(base)),
        Err(arca_images::Error::NotFound(_) | arca_images::Error::WrongPlatform { .. }) => Ok(None),
        Err(error) => Err(Error::Images(Box::new(error))),
    }
}

/// Why a registry's image cannot be had; what is missing is said in BuildKit's words.
pub(crate) fn not_found(reference: &Reference, error: arca_images::Error) -> Error {
    use arca_images::Error as Cause;
    match error {
        Cause::ManifestUnknown { .. } | Cause::RepositoryUnknown { .. } => {
            Error::NotFound(format!("{reference}: not found"))
        }
        Cause::NoMatchingManifest(_) => {
            Error::NotFound("no match for platform in manifest: not found".to_owned())
        }
        error => Error::Images(Box::new(error)),
    }
}

/// The name in full, and the client's credentials for it.
pub(crate) async fn at_registry(job: &Job, reference: &str) -> Result<(Reference, Auth), Error> {
    let reference: Reference = reference
        .parse()
        .map_err(|error| Error::Images(Box::new(arca_images::Error::Reference(error))))?;
    let auth = job
        .session()
        .registry_auth(reference.repository().domain())
        .await?;
    Ok((reference, auth))
}

async fn pull(step: &Step, image: &ImageSource, listeners: &Listeners) -> Result<Base, Error> {
    let (reference, auth) = at_registry(&step.job, &image.reference).await?;
    let (sink, told): (ProgressSink, _) = mpsc::channel(64);
    let images = step.job.0.service.backends.images.clone();
    let platform = step.vertex.platform();
    let fetching = async move {
        images
            .fetch_base(&reference, platform, &auth, &sink)
            .await
            .map_err(|error| Error::Images(Box::new(error)))
    };
    let (fetched, ()) = tokio::join!(fetching, tell(told, listeners));
    fetched
}

/// Passes the progress of downloads on.
async fn tell(mut told: mpsc::Receiver<Pulling>, listeners: &Listeners) {
    let began = listeners.now();
    while let Some(progress) = told.recv().await {
        let Pulling::Step { id, status, detail } = progress else {
            continue;
        };
        let done = matches!(status.as_str(), "Pull complete" | "Already exists");
        let (current, total) = detail.map_or((0, 0), |detail| (detail.current, detail.total));
        listeners.status(Status {
            id: id.clone(),
            vertex: listeners.anyone(),
            name: String::new(),
            current,
            total,
            timestamp: listeners.now(),
            started: Some(began),
            completed: done.then(|| listeners.now()),
        });
    }
}
