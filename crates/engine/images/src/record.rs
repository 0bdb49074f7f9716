//! What is on disk about images: one record per image and one per name.

use std::collections::BTreeMap;

use arca_registry::Descriptor;
use arca_store::Record;
use arca_types::{DiffId, Digest, ImageId, Platform, Timestamp};
use serde::{Deserialize, Serialize};

/// An image. The key is its ID, which is the digest of its configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ImageRecord {
    /// The image's manifest, as it came or as arca made it; its bytes are a blob.
    pub(crate) manifest: Descriptor,
    /// The layers, lowest first.
    pub(crate) layers: Vec<LayerRecord>,
    pub(crate) platform: Platform,
    /// Seconds and fraction when it was made, where its configuration says so.
    pub(crate) created: Option<Timestamp>,
    pub(crate) labels: Option<BTreeMap<String, String>>,
    /// The image that it was made from here, by a commit or a build.
    pub(crate) parent: Option<ImageId>,
    pub(crate) last_tagged: Option<Timestamp>,
}

/// A layer of an image: unpacked, and as it came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LayerRecord {
    pub(crate) diff_id: DiffId,
    /// Bytes when unpacked.
    pub(crate) size: u64,
    /// The blob that was unpacked.
    pub(crate) blob: Descriptor,
}

impl Record for ImageRecord {
    const TABLE: &'static str = "images";
    const VERSION: u32 = 1;
}

impl ImageRecord {
    pub(crate) fn size(&self) -> u64 {
        self.layers.iter().map(|layer| layer.size).sum()
    }

    pub(crate) fn diff_ids(&self) -> Vec<DiffId> {
        self.layers
            .iter()
            .map(|layer| layer.diff_id.clone())
            .collect()
    }
}

/// A name. The key is the reference in full (`docker.io/library/busybox:latest`, or with `@digest`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NameRecord {
    /// What the registry said that it stands for: a manifest or an index, whose bytes are a blob.
    pub(crate) target: Descriptor,
    /// The images of that which are here, one for a platform; the one that came last first.
    pub(crate) images: Vec<ImageId>,
}

impl Record for NameRecord {
    const TABLE: &'static str = "image_names";
    const VERSION: u32 = 1;
}

/// The chain IDs of layers, lowest first (OCI image specification, config.md, "Layer ChainID").
#[must_use]
pub fn chain_ids<'a>(diff_ids: impl IntoIterator<Item = &'a DiffId>) -> Vec<Digest> {
    use sha2::Digest as _;
    let mut chain: Vec<Digest> = Vec::new();
    for diff_id in diff_ids {
        let next = match chain.last() {
            None => diff_id.digest().clone(),
            Some(below) => {
                let text = format!("{below} {diff_id}");
                Digest::sha256(&sha2::Sha256::digest(text.as_bytes()).into())
            }
        };
        chain.push(next);
    }
    chain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_id_depends_on_all_layers_below() {
        let ids: Vec<DiffId> = [
            "sha256:f5a4f0aa2696929c1ed50d933422fc6ce6daccfc68e40e5104d1a52470639dcf",
            "sha256:0a1afc2819d08c358e9a966ace653439051ddad2f02bd93c1d112461376cab04",
        ]
        .iter()
        .map(|text| text.parse().unwrap())
        .collect();
        let chain = chain_ids(&ids);
        assert_eq!(chain[0], ids[0].0);
        assert_eq!(
            chain[1].as_str(),
            "sha256:bfdb5b7d97998f1788836c9b089e411961c49cda5d32326db358f53b35075439"
        );
    }
}
