//! All images and names in memory, as an immutable snapshot.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

use arca_storage::Roots;
use arca_types::{ImageId, Platform, Reference};

use crate::config::ImageConfig;
use crate::error::Error;
use crate::record::{ImageRecord, NameRecord};

/// An image: its record, and its configuration once somebody wanted it.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) id: ImageId,
    pub(crate) record: ImageRecord,
    pub(crate) config: OnceLock<Arc<ImageConfig>>,
}

/// A name and what it stands for.
#[derive(Debug)]
pub(crate) struct Name {
    pub(crate) reference: Reference,
    pub(crate) record: NameRecord,
}

impl Name {
    /// Is this `name@digest`?
    pub(crate) fn is_digest(&self) -> bool {
        self.reference.digest().is_some()
    }
}

/// All images and names.
#[derive(Debug, Clone, Default)]
pub(crate) struct Index {
    pub(crate) images: BTreeMap<ImageId, Arc<Entry>>,
    /// By reference in full, so that the order is the same each time.
    pub(crate) names: BTreeMap<String, Arc<Name>>,
}

impl Index {
    pub(crate) fn put_image(&mut self, id: ImageId, record: ImageRecord) {
        let config = self
            .images
            .get(&id)
            .map(|old| old.config.clone())
            .unwrap_or_default();
        let entry = Entry {
            id: id.clone(),
            record,
            config,
        };
        self.images.insert(id, Arc::new(entry));
    }

    pub(crate) fn put_name(&mut self, reference: Reference, record: NameRecord) {
        self.names
            .insert(reference.to_string(), Arc::new(Name { reference, record }));
    }

    /// Returns the names of an image, in order.
    pub(crate) fn names_of(&self, id: &ImageId) -> Vec<Arc<Name>> {
        self.names
            .values()
            .filter(|name| name.record.images.contains(id))
            .cloned()
            .collect()
    }

    /// Returns the names of every image, in order.
    pub(crate) fn names_by_image(&self) -> BTreeMap<&ImageId, Vec<&Name>> {
        let mut by_image: BTreeMap<&ImageId, Vec<&Name>> = BTreeMap::new();
        for name in self.names.values() {
            for image in &name.record.images {
                by_image.entry(image).or_default().push(name);
            }
        }
        by_image
    }

    /// Returns everything that images and names refer to.
    pub(crate) fn roots(&self) -> Roots {
        let mut roots = Roots::default();
        for entry in self.images.values() {
            roots.blobs.insert(entry.id.digest().clone());
            roots.blobs.insert(entry.record.manifest.digest.clone());
            for layer in &entry.record.layers {
                roots.blobs.insert(layer.blob.digest.clone());
                roots.layers.insert(layer.diff_id.clone());
            }
        }
        let targets = self.names.values().map(|name| &name.record.target);
        roots
            .blobs
            .extend(targets.map(|target| target.digest.clone()));
        roots
    }

    /// Returns the images that were made from `id` here.
    pub(crate) fn has_children(&self, id: &ImageId) -> bool {
        self.images
            .values()
            .any(|entry| entry.record.parent.as_ref() == Some(id))
    }

    /// Returns all images that others were made from here.
    pub(crate) fn parents(&self) -> BTreeSet<&ImageId> {
        self.images
            .values()
            .filter_map(|entry| entry.record.parent.as_ref())
            .collect()
    }

    /// Finds an image by name, ID or the beginning of an ID, for a platform when it matters.
    pub(crate) fn find(
        &self,
        text: &str,
        platform: Option<&Platform>,
    ) -> Result<Arc<Entry>, Error> {
        let found = self.find_any(text, platform)?;
        match platform {
            Some(wanted) if !wanted.runs(&found.record.platform) => Err(Error::WrongPlatform {
                name: text.to_owned(),
                found: Box::new(found.record.platform.clone()),
                wanted: Box::new(wanted.clone()),
            }),
            _ => Ok(found),
        }
    }

    fn find_any(&self, text: &str, platform: Option<&Platform>) -> Result<Arc<Entry>, Error> {
        if let Some(id) = as_id(text) {
            return self
                .images
                .get(&id)
                .cloned()
                .ok_or_else(|| Error::NotFound(id.to_string()));
        }
        let parsed: Result<Reference, _> = text.parse();
        let reference = match parsed {
            Ok(reference) => reference,
            Err(error) => {
                return self.find_prefix(text).ok_or(Error::Reference(error));
            }
        };
        let named = self.name(&reference);
        named
            .and_then(|name| self.choose(&name.record, platform))
            .or_else(|| self.find_prefix(text))
            .ok_or_else(|| Error::NotFound(reference.familiar()))
    }

    /// Finds a name. A digest beats a tag that is written beside it.
    pub(crate) fn name(&self, reference: &Reference) -> Option<&Arc<Name>> {
        match reference.digest() {
            Some(digest) => {
                let bare = Reference::digested(reference.repository().clone(), digest.clone());
                self.names.get(&bare.to_string())
            }
            None => self.names.get(&reference.to_string()),
        }
    }

    /// Chooses among the images of a name: the wanted platform's, else the host's, else the newest.
    fn choose(&self, record: &NameRecord, platform: Option<&Platform>) -> Option<Arc<Entry>> {
        let entries: Vec<&Arc<Entry>> = record
            .images
            .iter()
            .filter_map(|id| self.images.get(id))
            .collect();
        let host = Platform::host();
        let fits = |wanted: &Platform| {
            let exact = entries
                .iter()
                .find(|entry| entry.record.platform == *wanted);
            exact.or_else(|| {
                entries
                    .iter()
                    .find(|entry| wanted.runs(&entry.record.platform))
            })
        };
        let found = platform
            .and_then(fits)
            .or_else(|| fits(&host))
            .or_else(|| entries.first());
        found.map(|entry| Arc::clone(entry))
    }

    /// Finds the one image whose ID begins with `text`, which may begin with `sha256:`.
    fn find_prefix(&self, text: &str) -> Option<Arc<Entry>> {
        let digits = text.strip_prefix("sha256:").unwrap_or(text);
        let valid = !digits.is_empty()
            && digits
                .bytes()
                .all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if !valid {
            return None;
        }
        let mut found = self
            .images
            .values()
            .filter(|entry| entry.id.digest().hex().starts_with(digits));
        match (found.next(), found.next()) {
            (Some(one), None) => Some(Arc::clone(one)),
            _ => None,
        }
    }
}

/// A whole ID: 64 digits, with or without `sha256:`.
pub(crate) fn as_id(text: &str) -> Option<ImageId> {
    let id = text.strip_prefix("sha256:").unwrap_or(text);
    if id.len() == 64 {
        format!("sha256:{id}").parse().ok()
    } else {
        None
    }
}

/// Does `text` mean the image by its ID, or the beginning of it? (dockerd: `isImageIDPrefix`)
pub(crate) fn is_id_prefix(id: &ImageId, text: &str) -> bool {
    id.as_str().starts_with(text) || id.digest().hex().starts_with(text)
}
