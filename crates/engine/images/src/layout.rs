//! The documents in archives of images: Docker's `manifest.json`, OCI's image layout.

use std::collections::BTreeMap;

use arca_registry::Descriptor;
use serde::{Deserialize, Serialize};

/// Docker's list of the images in an archive.
pub(crate) const MANIFEST_FILE: &str = "manifest.json";
/// OCI's (OCI image specification, image-layout.md).
pub(crate) const INDEX_FILE: &str = "index.json";
/// Marks an OCI layout.
pub(crate) const LAYOUT_FILE: &str = "oci-layout";
/// Docker's list of old: the topmost layer by name.
pub(crate) const REPOSITORIES_FILE: &str = "repositories";
/// The content of [`LAYOUT_FILE`].
pub(crate) const LAYOUT: &[u8] = br#"{"imageLayoutVersion": "1.0.0"}"#;
/// The annotation that holds a whole name.
pub(crate) const NAME_ANNOTATION: &str = "io.containerd.image.name";
/// The annotation that holds a tag, or a name.
pub(crate) const REF_ANNOTATION: &str = "org.opencontainers.image.ref.name";

/// One image in [`MANIFEST_FILE`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ArchivedImage {
    pub(crate) config: String,
    #[serde(default)]
    pub(crate) repo_tags: Option<Vec<String>>,
    #[serde(default)]
    pub(crate) layers: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) layer_sources: Option<BTreeMap<String, Descriptor>>,
}

/// [`INDEX_FILE`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LayoutIndex {
    pub(crate) schema_version: u32,
    #[serde(default)]
    pub(crate) media_type: String,
    pub(crate) manifests: Vec<Descriptor>,
}

/// Returns the path of a blob in a layout.
pub(crate) fn blob_path(digest: &arca_types::Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm().as_str(), digest.hex())
}

/// Returns the digest that a path of a layout stands for.
pub(crate) fn blob_digest(path: &str) -> Option<arca_types::Digest> {
    let (algorithm, hex) = path.strip_prefix("blobs/")?.split_once('/')?;
    format!("{algorithm}:{hex}").parse().ok()
}
