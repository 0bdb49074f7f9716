//! Which image does a name stand for?

use std::sync::Arc;

use arca_types::Platform;

use crate::error::Error;
use crate::image::Image;
use crate::images::Images;
use crate::index::{Entry, Name};

impl Images {
    /// Returns the image that a name, an ID or the beginning of an ID stands for. Where a name has images
    /// of several platforms, the wanted one's is returned, else the host's.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::WrongPlatform`] when there is none for `platform`;
    /// [`Error::Reference`] when `name` is not a name.
    pub async fn resolve(&self, name: &str, platform: Option<&Platform>) -> Result<Image, Error> {
        let index = self.index();
        let entry = index.find(name, platform)?;
        let config = self.config(&entry).await?;
        let names = index.names_of(&entry.id);
        Ok(Image {
            id: entry.id.clone(),
            layers: entry.record.diff_ids(),
            repo_tags: repo_tags(names.iter().map(Arc::as_ref)),
            repo_digests: repo_digests(names.iter().map(Arc::as_ref)),
            manifest: entry.record.manifest.clone(),
            parent: entry.record.parent.clone(),
            config,
        })
    }

    /// Does `name` still stand for the image `id`? (For `docker ps`, without reading anything.)
    #[must_use]
    pub fn means(&self, name: &str, id: &arca_types::ImageId) -> bool {
        self.index()
            .find(name, None)
            .is_ok_and(|entry: Arc<Entry>| entry.id == *id)
    }
}

/// The short names with tags.
pub(crate) fn repo_tags<'a>(names: impl IntoIterator<Item = &'a Name>) -> Vec<String> {
    let tagged = names.into_iter().filter(|name| !name.is_digest());
    tagged.map(|name| name.reference.familiar()).collect()
}

/// The short names with digests.
pub(crate) fn repo_digests<'a>(names: impl IntoIterator<Item = &'a Name>) -> Vec<String> {
    let digests = names.into_iter().filter(|name| name.is_digest());
    digests.map(|name| name.reference.familiar()).collect()
}
