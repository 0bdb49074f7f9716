//! Manifests and indexes, read from bytes that nobody vouches for.

use std::collections::BTreeMap;

use arca_registry::{Descriptor, media_type};
use arca_types::{Digest, Platform};
use serde::{Deserialize, Serialize};
use sha2::Digest as _;

use crate::error::Error;

/// The most layers an image may have: what one overlay mount takes.
const LAYER_LIMIT: usize = 128;

/// The manifest of one image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ImageManifest {
    pub(crate) schema_version: u32,
    #[serde(default)]
    pub(crate) media_type: String,
    pub(crate) config: Descriptor,
    pub(crate) layers: Vec<Descriptor>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) annotations: BTreeMap<String, String>,
}

/// What the bytes behind a name turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Document {
    Image(Box<ImageManifest>),
    Index(Vec<Descriptor>),
}

/// What is common to all documents, to tell them apart.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Shape {
    #[serde(default)]
    schema_version: u32,
    #[serde(default)]
    media_type: Option<String>,
    #[serde(default)]
    manifests: Option<Vec<Descriptor>>,
    #[serde(default)]
    config: Option<serde_json::Value>,
}

/// Reads a document. `media_type` is what its sender called it; `name` is for the text of errors.
pub(crate) fn parse(bytes: &[u8], media_type: &str, name: &str) -> Result<Document, Error> {
    let schema1 = matches!(media_type, media_type::SCHEMA1 | media_type::SCHEMA1_SIGNED);
    if schema1 {
        return Err(Error::Schema1(name.to_owned()));
    }
    let shape: Shape = serde_json::from_slice(bytes).map_err(Error::Manifest)?;
    if shape.schema_version == 1 {
        return Err(Error::Schema1(name.to_owned()));
    }
    let inner = shape.media_type.as_deref().unwrap_or("");
    let kind = if inner.is_empty() { media_type } else { inner };
    if shape.manifests.is_some() && shape.config.is_some() {
        // One document that two readers would take for different things.
        return Err(Error::ManifestContent(
            "it is an index and an image at once",
        ));
    }
    match (shape.manifests, kind) {
        (Some(manifests), kind) if !media_type::is_manifest(kind) => Ok(Document::Index(manifests)),
        (None, kind) if !media_type::is_index(kind) => {
            let known = media_type::is_manifest(kind) || matches!(kind, "" | "application/json");
            if !known {
                return Err(Error::MediaType(kind.to_owned()));
            }
            let manifest: ImageManifest = serde_json::from_slice(bytes).map_err(Error::Manifest)?;
            check(manifest).map(|manifest| Document::Image(Box::new(manifest)))
        }
        _ => Err(Error::ManifestContent(
            "its media type is not that of its content",
        )),
    }
}

/// Reads a manifest or an index as a pull would, and says what is wrong with it. `media_type` is what its
/// sender called it.
///
/// # Errors
/// [`Error::Schema1`], [`Error::Manifest`], [`Error::ManifestContent`], [`Error::MediaType`].
pub fn check_manifest(bytes: &[u8], media_type: &str) -> Result<(), Error> {
    match parse(bytes, media_type, "manifest")? {
        Document::Index(entries) => {
            // Whatever an index has, choosing among it ends.
            let _chosen = choose(&entries, &Platform::host()).is_ok();
        }
        Document::Image(_) => {}
    }
    Ok(())
}

fn check(manifest: ImageManifest) -> Result<ImageManifest, Error> {
    let config = manifest.config.media_type.as_str();
    if !media_type::is_config(config) && !matches!(config, "application/octet-stream" | "") {
        return Err(Error::MediaType(config.to_owned()));
    }
    if manifest.layers.len() > LAYER_LIMIT {
        return Err(Error::ManifestContent(
            "it has more layers than can be mounted",
        ));
    }
    if let Some(layer) = manifest
        .layers
        .iter()
        .find(|layer| !is_layer(&layer.media_type))
    {
        return Err(Error::MediaType(layer.media_type.clone()));
    }
    Ok(manifest)
}

fn is_layer(media_type: &str) -> bool {
    media_type.starts_with("application/vnd.oci.image.layer.")
        || media_type.starts_with("application/vnd.docker.image.rootfs.")
}

/// Chooses the image for `wanted` from an index: the exact platform, else the highest variant that runs.
pub(crate) fn choose<'a>(
    manifests: &'a [Descriptor],
    wanted: &Platform,
) -> Result<&'a Descriptor, Error> {
    let candidates = || {
        manifests.iter().filter_map(|descriptor| {
            let platform = descriptor.platform.as_ref()?.platform();
            let known =
                media_type::is_manifest(&descriptor.media_type) || descriptor.media_type.is_empty();
            (known && wanted.runs(&platform)).then_some((platform, descriptor))
        })
    };
    let exact = candidates().find(|(platform, _)| platform == wanted);
    // The first one of the highest variant: `max_by` would take the last.
    let best = exact.or_else(|| {
        candidates().reduce(|best, next| {
            if next.0.variant > best.0.variant {
                next
            } else {
                best
            }
        })
    });
    let found = best.map(|(_, descriptor)| descriptor);
    found.ok_or_else(|| Error::NoMatchingManifest(wanted.clone()))
}

/// Makes the manifest of an image that came without one. Returns its bytes and descriptor.
pub(crate) fn make(
    config: Descriptor,
    layers: Vec<Descriptor>,
    annotations: BTreeMap<String, String>,
) -> Result<(Vec<u8>, Descriptor), Error> {
    let manifest = ImageManifest {
        schema_version: 2,
        media_type: media_type::OCI_MANIFEST.to_owned(),
        config,
        layers,
        annotations,
    };
    let bytes = serde_json::to_vec(&manifest).map_err(Error::Manifest)?;
    let descriptor = Descriptor::new(
        media_type::OCI_MANIFEST,
        digest_of(&bytes),
        bytes.len() as u64,
    );
    Ok((bytes, descriptor))
}

/// Returns the SHA-256 digest of bytes.
pub(crate) fn digest_of(bytes: &[u8]) -> Digest {
    Digest::sha256(&sha2::Sha256::digest(bytes).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = r#"{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2}"#;

    fn image(config: &str, layers: &str) -> String {
        format!(r#"{{"schemaVersion":2,"config":{config},"layers":[{layers}]}}"#)
    }

    #[test]
    fn documents_are_told_apart() {
        let index = br#"{"schemaVersion":2,"manifests":[]}"#;
        assert_eq!(
            parse(index, media_type::OCI_INDEX, "x").unwrap(),
            Document::Index(vec![])
        );
        let text = image(CONFIG, "");
        assert!(matches!(
            parse(text.as_bytes(), media_type::OCI_MANIFEST, "x"),
            Ok(Document::Image(_))
        ));
    }

    #[test]
    fn what_is_not_an_image_is_refused() {
        let artifact = image(&CONFIG.replace("image.config", "empty"), "");
        let error = parse(artifact.as_bytes(), media_type::OCI_MANIFEST, "x").unwrap_err();
        assert_eq!(
            error.to_string(),
            "unsupported media type application/vnd.oci.empty.v1+json"
        );
        let helm = image(CONFIG, &CONFIG.replace("image.config", "helm"));
        assert!(matches!(
            parse(helm.as_bytes(), media_type::OCI_MANIFEST, "x"),
            Err(Error::MediaType(_))
        ));
        for (text, kind) in [
            (r#"{"schemaVersion":1}"#, "application/json"),
            ("nonsense", media_type::SCHEMA1_SIGNED),
        ] {
            assert!(matches!(
                parse(text.as_bytes(), kind, "x"),
                Err(Error::Schema1(_))
            ));
        }
    }

    #[test]
    fn a_document_of_two_meanings_is_refused() {
        let both = format!(r#"{{"schemaVersion":2,"config":{CONFIG},"layers":[],"manifests":[]}}"#);
        assert!(matches!(
            parse(both.as_bytes(), media_type::OCI_MANIFEST, "x"),
            Err(Error::ManifestContent(_))
        ));
        assert!(matches!(
            parse(
                br#"{"schemaVersion":2,"manifests":[]}"#,
                media_type::OCI_MANIFEST,
                "x"
            ),
            Err(Error::ManifestContent(_))
        ));
    }

    #[test]
    fn sizes_and_digests_are_checked_when_read() {
        for config in [
            CONFIG.replace("\"size\":2", "\"size\":-2"),
            CONFIG.replace("44136", "../.."),
        ] {
            let text = image(&config, "");
            assert!(
                matches!(parse(text.as_bytes(), "", "x"), Err(Error::Manifest(_))),
                "{config}"
            );
        }
    }

    #[test]
    fn the_best_platform_is_chosen() {
        let entry = |arch: &str, variant: &str, digit: &str| -> Descriptor {
            let text = format!(
                r#"{{"mediaType":"{}","digest":"sha256:{}","size":1,"platform":{{"os":"linux","architecture":"{arch}","variant":"{variant}"}}}}"#,
                media_type::OCI_MANIFEST,
                digit.repeat(64)
            );
            serde_json::from_str(&text).unwrap()
        };
        let index = [
            entry("arm", "v5", "1"),
            entry("arm", "v6", "2"),
            entry("amd64", "", "3"),
            entry("unknown", "", "4"),
        ];
        let chosen = |text: &str| {
            choose(&index, &text.parse().unwrap()).map(|d| d.digest.hex()[..1].to_owned())
        };
        assert_eq!(chosen("linux/arm/v7").unwrap(), "2");
        assert_eq!(chosen("linux/arm/v5").unwrap(), "1");
        assert_eq!(chosen("linux/amd64").unwrap(), "3");
        assert_eq!(
            chosen("linux/s390x").unwrap_err().to_string(),
            "no matching manifest for linux/s390x in the manifest list entries"
        );
    }
}
