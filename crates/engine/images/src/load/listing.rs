//! The lists in archives: which images there are, of which members, under which names.

use std::collections::BTreeMap;

use arca_registry::Descriptor;
use arca_types::Reference;
use bytes::Bytes;

use crate::config::ImageConfig;
use crate::error::Error;
use crate::layout::{
    ArchivedImage, INDEX_FILE, LayoutIndex, MANIFEST_FILE, NAME_ANNOTATION, REF_ANNOTATION,
    blob_path,
};
use crate::manifest::{Document, digest_of, parse};
use crate::record::LayerRecord;

/// What an archive held.
#[derive(Default)]
pub(super) struct Contents {
    pub(super) documents: BTreeMap<String, Bytes>,
    pub(super) layers: BTreeMap<String, LayerRecord>,
    pub(super) links: BTreeMap<String, String>,
    pub(super) size_of_documents: u64,
}

/// One image of an archive.
pub(super) struct Found {
    pub(super) config: Bytes,
    layers: Vec<String>,
    pub(super) names: Vec<Reference>,
    pub(super) manifest: Option<(Descriptor, Bytes)>,
}

/// The layers of an image, in the order of its configuration.
pub(super) fn layers_of(
    found: &Found,
    config: &ImageConfig,
    contents: &Contents,
) -> Result<Vec<LayerRecord>, Error> {
    if found.layers.len() != config.diff_ids.len() {
        return Err(Error::Archive(format!(
            "invalid manifest, layers length mismatch: expected {}, got {}",
            config.diff_ids.len(),
            found.layers.len()
        )));
    }
    let layer = |path: &String| {
        let path = contents.follow(path);
        contents
            .layers
            .get(&path)
            .cloned()
            .ok_or(Error::MissingInArchive(path))
    };
    found.layers.iter().map(layer).collect()
}

impl Contents {
    /// Follows links between members: an archive of old has a layer once and links to it.
    fn follow(&self, path: &str) -> String {
        let mut path = path.to_owned();
        for _step in 0..10 {
            let Some(target) = self.links.get(&path) else {
                break;
            };
            path = join(&path, target);
        }
        path
    }

    fn document(&self, path: &str) -> Result<&Bytes, Error> {
        let path = self.follow(path);
        self.documents
            .get(&path)
            .ok_or(Error::MissingInArchive(path))
    }
}

/// Resolves a link by names alone.
fn join(from: &str, target: &str) -> String {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            other => parts.push(other),
        }
    }
    parts.join("/")
}

/// Reads the list of an archive, Docker's before OCI's.
pub(super) fn images_in(contents: &Contents) -> Result<Vec<Found>, Error> {
    let index = contents.documents.get(INDEX_FILE);
    let index: Option<LayoutIndex> = match index {
        Some(bytes) => Some(serde_json::from_slice(bytes).map_err(Error::Manifest)?),
        None => None,
    };
    if let Some(bytes) = contents.documents.get(MANIFEST_FILE) {
        let listed: Vec<ArchivedImage> = serde_json::from_slice(bytes).map_err(Error::Manifest)?;
        return listed
            .into_iter()
            .map(|image| dockers(image, index.as_ref(), contents))
            .collect();
    }
    let Some(index) = index else {
        return Err(Error::Archive(format!(
            "it has neither {MANIFEST_FILE} nor {INDEX_FILE}"
        )));
    };
    let mut found: Vec<Found> = Vec::new();
    for descriptor in &index.manifests {
        ocis(descriptor, &names_of(descriptor)?, contents, 0, &mut found)?;
    }
    Ok(found)
}

/// An image that Docker's list names. Its manifest, where there is one, is found by the configuration.
fn dockers(
    image: ArchivedImage,
    index: Option<&LayoutIndex>,
    contents: &Contents,
) -> Result<Found, Error> {
    let config = contents.document(&image.config)?.clone();
    let digest = digest_of(&config);
    let layers = image.layers.unwrap_or_default();
    let manifests = index
        .map(|index| index.manifests.as_slice())
        .unwrap_or_default();
    let manifest = manifests.iter().find_map(|descriptor| {
        let bytes = contents.document(&blob_path(&descriptor.digest)).ok()?;
        let Document::Image(image) = parse(bytes, &descriptor.media_type, "").ok()? else {
            return None;
        };
        let same = image.config.digest == digest
            && image
                .layers
                .iter()
                .map(|layer| blob_path(&layer.digest))
                .eq(layers.iter().cloned());
        let plain = Descriptor {
            annotations: BTreeMap::new(),
            ..descriptor.clone()
        };
        same.then(|| (plain, bytes.clone()))
    });
    let mut names = Vec::new();
    for tag in image.repo_tags.unwrap_or_default() {
        let name: Reference = tag.parse()?;
        if name.digest().is_some() {
            return Err(Error::Archive(format!("invalid tag {tag:?}")));
        }
        names.push(name);
    }
    Ok(Found {
        config,
        layers,
        names,
        manifest,
    })
}

/// The images of one entry of an OCI layout: those of an index, as far as their content is there.
fn ocis(
    descriptor: &Descriptor,
    names: &[Reference],
    contents: &Contents,
    depth: usize,
    found: &mut Vec<Found>,
) -> Result<(), Error> {
    let path = blob_path(&descriptor.digest);
    let Some(bytes) = contents.documents.get(&path) else {
        // An index may name platforms that its archive leaves out.
        return if depth > 0 {
            Ok(())
        } else {
            Err(Error::MissingInArchive(path))
        };
    };
    match parse(bytes, &descriptor.media_type, "")? {
        Document::Image(image) => {
            let Ok(config) = contents.document(&blob_path(&image.config.digest)) else {
                return if depth > 0 {
                    Ok(())
                } else {
                    Err(Error::MissingInArchive(path))
                };
            };
            let plain = Descriptor {
                annotations: BTreeMap::new(),
                platform: None,
                ..descriptor.clone()
            };
            found.push(Found {
                config: config.clone(),
                layers: image
                    .layers
                    .iter()
                    .map(|layer| blob_path(&layer.digest))
                    .collect(),
                names: names.to_vec(),
                manifest: Some((plain, bytes.clone())),
            });
        }
        Document::Index(_) if depth > 1 => {
            return Err(Error::Archive("indexes are nested too deeply".to_owned()));
        }
        Document::Index(entries) => {
            let images = entries.iter().filter(|entry| !is_attestation(entry));
            for entry in images {
                ocis(entry, names, contents, depth + 1, found)?;
            }
        }
    }
    Ok(())
}

fn is_attestation(descriptor: &Descriptor) -> bool {
    descriptor
        .platform
        .as_ref()
        .is_some_and(|platform| platform.os == "unknown")
}

/// The names that an entry of a layout has by its annotations.
fn names_of(descriptor: &Descriptor) -> Result<Vec<Reference>, Error> {
    if let Some(name) = descriptor.annotations.get(NAME_ANNOTATION) {
        return Ok(vec![name.parse()?]);
    }
    // Only a whole name is one: the annotation may also hold a mere tag.
    let name = descriptor
        .annotations
        .get(REF_ANNOTATION)
        .filter(|name| name.contains(['/', ':']));
    Ok(name
        .and_then(|name| name.parse().ok())
        .into_iter()
        .collect())
}
