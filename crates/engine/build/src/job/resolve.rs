//! Images by name, for front ends.

use arca_types::Platform;

use super::Job;
use crate::Error;
use crate::graph::ResolveMode;
use crate::material::Material;
use crate::request::ResolvedImage;
use crate::source::{at_registry, layout, not_found};

impl Job {
    /// What a name stands for, without fetching layers: the image that is here, unless `mode` or its
    /// platform say otherwise, else the registry's.
    ///
    /// # Errors
    /// [`Error::Images`] in dockerd's words; [`Error::Cancelled`].
    pub async fn resolve_image(
        &self,
        name: &str,
        platform: Option<&Platform>,
        mode: ResolveMode,
    ) -> Result<ResolvedImage, Error> {
        tokio::select! {
            biased;
            () = self.0.cancel.cancelled() => Err(Error::Cancelled),
            resolved = self.resolve(name, platform, mode) => resolved,
        }
    }

    /// What a reference of an OCI layout stands for: the client's name for it, and `name@digest`.
    pub(super) async fn resolve_layout(
        &self,
        place: (&str, &str),
        platform: Option<&Platform>,
    ) -> Result<ResolvedImage, Error> {
        let store = layout::store(place.0);
        let (digest, image) = tokio::select! {
            biased;
            () = self.0.cancel.cancelled() => return Err(Error::Cancelled),
            described = layout::describe(self, (&store, place.1), platform) => described?,
        };
        Ok(ResolvedImage {
            reference: place.1.to_owned(),
            digest,
            config: image.config,
            platform: image.platform,
        })
    }

    async fn resolve(
        &self,
        name: &str,
        platform: Option<&Platform>,
        mode: ResolveMode,
    ) -> Result<ResolvedImage, Error> {
        if mode != ResolveMode::Pull
            && let Some(found) = self.resolve_here(name, platform).await?
        {
            return Ok(found);
        }
        let (reference, auth) = at_registry(self, name).await?;
        let images = &self.0.service.backends.images;
        let described = images
            .describe(&reference, platform, &auth)
            .await
            .map_err(|error| not_found(&reference, error))?;
        self.has_used(Material::Image {
            reference: reference.to_string(),
            platform: platform.cloned(),
            digest: described.digest.clone(),
        });
        let repository = reference.repository();
        let named = match reference.tag() {
            Some(tag) => format!("{repository}:{tag}@{}", described.digest),
            None => format!("{repository}@{}", described.digest),
        };
        Ok(ResolvedImage {
            reference: named,
            digest: described.digest,
            config: described.config.to_vec(),
            platform: described.platform,
        })
    }

    async fn resolve_here(
        &self,
        name: &str,
        platform: Option<&Platform>,
    ) -> Result<Option<ResolvedImage>, Error> {
        let images = &self.0.service.backends.images;
        let image = match images.resolve(name, platform).await {
            Ok(image) => image,
            Err(arca_images::Error::NotFound(_) | arca_images::Error::WrongPlatform { .. }) => {
                return Ok(None);
            }
            Err(error) => return Err(Error::Images(Box::new(error))),
        };
        let digest = image.id.digest().clone();
        let storage = self.0.service.storage();
        let config = storage.read_blob(&digest).await.map_err(Error::Storage)?;
        Ok(Some(ResolvedImage {
            reference: name.to_owned(),
            digest,
            config,
            platform: image.config.platform.clone(),
        }))
    }
}
