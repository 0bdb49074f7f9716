//! Images in OCI layouts that the client's session serves (`--build-context name=oci-layout://…`).

use arca_images::{Descriptor, ImageConfig};
use arca_storage::{Compression, LayerSource, Lease};
use arca_types::{DiffId, Digest, Platform};
use futures_util::StreamExt as _;
use serde::Deserialize;
use sha2::Digest as _;

use crate::graph::{OciLayoutSource, digest_json};
use crate::job::Job;
use crate::material::Material;
use crate::solve::Step;
use crate::tree::chain;
use crate::{Error, Tree};

/// The most bytes of a manifest, an index or a configuration.
const LIMIT: usize = 4 << 20;
/// Indexes may lead to indexes, this deep.
const DEPTH: usize = 3;

/// An image in a layout.
#[derive(Debug)]
pub(crate) struct LayoutImage {
    /// Its configuration as it is.
    pub(crate) config: Vec<u8>,
    pub(crate) platform: Platform,
    /// Its layers, the lowest first.
    layers: Vec<(DiffId, Descriptor)>,
}

/// A manifest or an index.
#[derive(Debug, Deserialize)]
struct Document {
    config: Option<Descriptor>,
    #[serde(default)]
    layers: Vec<Descriptor>,
    manifests: Option<Vec<Descriptor>>,
}

fn invalid(text: impl Into<String>) -> Error {
    Error::Invalid(text.into())
}

/// The digest in `name@digest`.
fn digest_in(reference: &str) -> Result<Digest, Error> {
    let missing = || invalid(format!("oci-layout reference {reference:?} has no digest"));
    let (_, digest) = reference.rsplit_once('@').ok_or_else(missing)?;
    digest.parse().map_err(|_error| missing())
}

/// Reads a document of the client's, which has to be what its digest says.
async fn document(job: &Job, store: &str, digest: &Digest) -> Result<Vec<u8>, Error> {
    let mut pieces = job.session().content(store, digest).await?;
    let mut document = Vec::new();
    while let Some(piece) = pieces.next().await {
        document.extend_from_slice(&piece?);
        if document.len() > LIMIT {
            return Err(invalid(format!("{digest} of the OCI layout is too large")));
        }
    }
    if Digest::sha256(&sha2::Sha256::digest(&document).into()) != *digest {
        return Err(invalid(format!(
            "{digest} of the OCI layout is not what its digest says"
        )));
    }
    Ok(document)
}

/// What a reference stands for.
pub(crate) async fn describe(
    job: &Job,
    (store, reference): (&str, &str),
    platform: Option<&Platform>,
) -> Result<(Digest, LayoutImage), Error> {
    let named = digest_in(reference)?;
    let host = Platform::host();
    let platform = platform.unwrap_or(&host);
    let mut digest = named.clone();
    for _ in 0..DEPTH {
        let bytes = document(job, store, &digest).await?;
        let read: Document = serde_json::from_slice(&bytes)
            .map_err(|error| invalid(format!("{digest} of the OCI layout: {error}")))?;
        match (read.manifests, read.config) {
            (Some(manifests), _) => digest = choose(&manifests, platform, reference)?,
            (None, Some(config)) => {
                let config = document(job, store, &config.digest).await?;
                return image(config, read.layers).map(|image| (named, image));
            }
            (None, None) => break,
        }
    }
    Err(invalid(format!(
        "{reference} of the OCI layout is no image"
    )))
}

fn choose(manifests: &[Descriptor], wanted: &Platform, reference: &str) -> Result<Digest, Error> {
    let platform = |entry: &Descriptor| entry.platform.as_ref().map(|found| found.platform());
    let exact = |entry: &&Descriptor| platform(entry).is_some_and(|found| found == *wanted);
    let same = |entry: &&Descriptor| {
        platform(entry)
            .is_none_or(|found| found.os == wanted.os && found.architecture == wanted.architecture)
    };
    let found = manifests.iter().find(exact);
    let found = found.or_else(|| manifests.iter().find(same));
    found
        .map(|entry| entry.digest.clone())
        .ok_or_else(|| Error::NotFound(format!("no match for platform in manifest: {reference}")))
}

fn image(config: Vec<u8>, layers: Vec<Descriptor>) -> Result<LayoutImage, Error> {
    let parsed = ImageConfig::parse(&config).map_err(|error| invalid(error.to_string()))?;
    if parsed.diff_ids.len() != layers.len() {
        return Err(invalid(
            "an image of the OCI layout has other layers than it says",
        ));
    }
    Ok(LayoutImage {
        config,
        platform: parsed.platform,
        layers: parsed.diff_ids.into_iter().zip(layers).collect(),
    })
}

/// The client's content store that an OCI layout of this name is in.
pub(crate) fn store(layout: &str) -> String {
    format!("oci:{layout}")
}

async fn of_source(step: &Step, source: &OciLayoutSource) -> Result<LayoutImage, Error> {
    if !source.session.is_empty() && source.session != step.job.session().id() {
        let text = "OCI layouts of another session are not supported";
        return Err(Error::Unsupported(text.to_owned()));
    }
    let store = store(&source.store);
    let place = (store.as_str(), source.reference.as_str());
    let described = describe(&step.job, place, step.vertex.platform()).await;
    let (_, mut image) = described?;
    image
        .layers
        .truncate(source.layer_limit.unwrap_or(usize::MAX));
    Ok(image)
}

/// The same key as that of an image with these layers.
pub(super) async fn key(step: &Step, source: &OciLayoutSource) -> Result<Digest, Error> {
    let image = of_source(step, source).await?;
    step.job.has_used(Material::OciLayout {
        reference: source.reference.clone(),
        platform: step.vertex.platform().cloned(),
    });
    let layers: Vec<DiffId> = image.layers.into_iter().map(|(layer, _)| layer).collect();
    Ok(digest_json(&("image", chain(&layers))))
}

/// Fetches the layers that are not here.
pub(super) async fn run(step: &Step, source: &OciLayoutSource) -> Result<Tree, Error> {
    let image = of_source(step, source).await?;
    let layers: Vec<DiffId> = image
        .layers
        .iter()
        .map(|(layer, _)| layer.clone())
        .collect();
    image.tree(&step.job, &store(&source.store), &layers).await
}

impl LayoutImage {
    /// A tree of some of the layers, which are fetched from `store` if they are not here.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a layer that the image does not have; what fetching fails with.
    pub(crate) async fn tree(
        &self,
        job: &Job,
        store: &str,
        layers: &[DiffId],
    ) -> Result<Tree, Error> {
        let storage = job.0.service.storage();
        let lease = storage.lease();
        for layer in layers {
            if lease.layer(layer).is_some() {
                continue;
            }
            let found = self.layers.iter().find(|(known, _)| known == layer);
            let (_, blob) =
                found.ok_or_else(|| Error::NotFound(format!("the image has no layer {layer}")))?;
            fetch(job, &lease, (store, layer, blob)).await?;
        }
        Ok(Tree::of_layers(storage, layers.to_vec()))
    }
}

async fn fetch(
    job: &Job,
    lease: &Lease,
    (store, layer, blob): (&str, &DiffId, &Descriptor),
) -> Result<(), Error> {
    let source = LayerSource {
        digest: Some(blob.digest.clone()),
        size: Some(blob.size),
        diff_id: Some(layer.clone()),
        compression: Compression::Auto,
    };
    let mut ingest = job.0.service.storage().ingest_layer(lease, source);
    let mut pieces = job.session().content(store, &blob.digest).await?;
    while let Some(piece) = pieces.next().await {
        ingest.write(piece?).await.map_err(Error::Storage)?;
    }
    ingest.finish().await.map(drop).map_err(Error::Storage)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_image_for_the_platform_is_chosen() {
        let digest = |digit: &str| format!("sha256:{}", digit.repeat(64));
        let entry = |digit: &str, architecture: &str| {
            let json = format!(
                r#"{{"mediaType":"x","digest":"{}","size":1,"platform":{{"os":"linux","architecture":"{architecture}"}}}}"#,
                digest(digit)
            );
            serde_json::from_str::<Descriptor>(&json).unwrap()
        };
        let all = [entry("1", "arm64"), entry("2", "amd64")];
        let of = |architecture: &str| {
            let wanted = Platform::new("linux", architecture, None);
            choose(&all, &wanted, "x")
        };
        assert_eq!(of("amd64").unwrap().to_string(), digest("2"));
        assert!(of("s390x").is_err());
        let reference = format!("docker.io/library/x@{}", digest("1"));
        assert_eq!(digest_in(&reference).unwrap().to_string(), digest("1"));
        assert!(digest_in("docker.io/library/x").is_err());
    }
}
