//! Which content does a name stand for, when it is pushed?

use std::sync::Arc;

use arca_registry::{Descriptor, media_type};
use arca_types::{Platform, Reference};

use crate::error::Error;
use crate::images::Images;
use crate::index::{Entry, Index};
use crate::manifest::{Document, parse};

/// What is to be pushed for one tag.
pub(super) enum Selected {
    /// An index, all of whose images are here.
    Index(Descriptor, Vec<Arc<Entry>>),
    /// One image, and the index that it is of, when it is pushed in its place.
    Image(Arc<Entry>, Option<Descriptor>),
}

impl Images {
    /// Selects what is pushed: the whole index when nothing of it is missing and no platform is asked for,
    /// else one image.
    pub(super) async fn select_to_push(
        &self,
        index: &Index,
        reference: &Reference,
        platform: Option<&Platform>,
    ) -> Result<Selected, Error> {
        let entry = index.find(&reference.to_string(), platform)?;
        let record = index.name(reference).map(|name| name.record.clone());
        let target = record.map(|record| record.target);
        let target = target.filter(|target| media_type::is_index(&target.media_type));
        let Some(target) = target else {
            return Ok(Selected::Image(entry, None));
        };
        if platform.is_some() {
            return Ok(Selected::Image(entry, None));
        }
        let bytes = self.blob(&target.digest).await?;
        let Document::Index(manifests) = parse(&bytes, &target.media_type, &reference.familiar())?
        else {
            return Err(Error::ManifestContent("it is not an index"));
        };
        let here = |manifest: &Descriptor| {
            let mut entries = index.images.values();
            entries.find(|entry| entry.record.manifest.digest == manifest.digest)
        };
        let entries: Option<Vec<_>> = manifests.iter().map(|m| here(m).cloned()).collect();
        Ok(match entries {
            Some(entries) => Selected::Index(target, entries),
            None => Selected::Image(entry, Some(target)),
        })
    }
}

/// Did the image's manifest come from a registry, or go to one as it is? A name with its digest, or with
/// that of an index, says so.
pub(super) fn came_from_a_registry(index: &Index, entry: &Entry) -> bool {
    let digests = index.names.values().filter(|name| name.is_digest());
    digests
        .filter(|name| name.record.images.contains(&entry.id))
        .any(|name| {
            let target = &name.record.target;
            target.digest == entry.record.manifest.digest
                || media_type::is_index(&target.media_type)
        })
}
