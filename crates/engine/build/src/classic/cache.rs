//! Which image did an instruction give before?

use arca_images::{Image, RunConfig};
use arca_store::{Batch, Durability};
use arca_types::{Digest, ImageId};

use super::record::InstructionRecord;
use super::stage::Build;
use crate::Error;
use crate::graph::digest_json;
use crate::solve::blocking;

impl Build {
    /// The key of an instruction on top of the present image.
    pub(super) fn key(&self, run: &RunConfig, command: &[String]) -> Digest {
        let below = self.state.image.as_ref().map(|image| image.id.to_string());
        let platform = self.request.platform.as_ref().map(ToString::to_string);
        digest_json(&(below, run, command, &self.state.author, platform))
    }

    /// The image that an equal instruction gave, if it is still here. With `cachefrom` only those are taken
    /// from which one of these images was made.
    pub(super) async fn probe(
        &mut self,
        key: &Digest,
        command: &[String],
    ) -> Result<Option<Image>, Error> {
        if self.request.no_cache {
            return Ok(None);
        }
        let table = self.builder.0.backends.store.table::<InstructionRecord>();
        let name = key.to_string();
        let record = blocking(move || table.get(&name).map_err(Error::Store)).await?;
        let images = &self.builder.0.backends.images;
        if let Some(record) = record
            && let Ok(image) = images.resolve(record.image.as_str(), None).await
            && self.is_allowed(&image).await
        {
            return Ok(Some(image));
        }
        self.probe_others(key, command).await
    }

    async fn is_allowed(&self, image: &Image) -> bool {
        let images = &self.builder.0.backends.images;
        for name in &self.request.cache_from {
            if let Ok(other) = images.resolve(name, None).await
                && other.config.history.starts_with(&image.config.history)
                && other.layers.starts_with(&image.layers)
            {
                return true;
            }
        }
        self.request.cache_from.is_empty()
    }

    /// Looks at the images of `cachefrom`: one that began as this one, and went on with this instruction.
    async fn probe_others(
        &mut self,
        key: &Digest,
        command: &[String],
    ) -> Result<Option<Image>, Error> {
        let Some(below) = self.state.image.clone() else {
            return Ok(None);
        };
        let created_by = command.join(" ");
        for name in self.request.cache_from.clone() {
            let images = &self.builder.0.backends.images;
            let Ok(other) = images.resolve(&name, None).await else {
                continue;
            };
            let (mine, theirs) = (&below.config.history, &other.config.history);
            let began = theirs.len() > mine.len()
                && mine
                    .iter()
                    .zip(theirs)
                    .all(|(a, b)| a.created_by == b.created_by && a.empty_layer == b.empty_layer)
                && other.layers.starts_with(&below.layers);
            let Some(next) = theirs.get(mine.len()).filter(|_| began) else {
                continue;
            };
            if next.created_by != created_by {
                continue;
            }
            let layer = if next.empty_layer {
                None
            } else {
                other.layers.get(below.layers.len()).cloned()
            };
            let entry = next.clone();
            let id = self.add(entry, layer, None).await?;
            self.remember(key, &id).await?;
            let images = &self.builder.0.backends.images;
            let image = images.resolve(id.as_str(), None).await;
            return image
                .map(Some)
                .map_err(|error| Error::Images(Box::new(error)));
        }
        Ok(None)
    }

    /// Remembers what an instruction gave.
    pub(super) async fn remember(&self, key: &Digest, image: &ImageId) -> Result<(), Error> {
        let record = InstructionRecord {
            image: image.clone(),
        };
        let batch = Batch::new()
            .put(key.as_str(), &record)
            .map_err(Error::Store)?;
        let store = &self.builder.0.backends.store;
        let saved = store.commit(batch, Durability::Process).await;
        saved.map_err(Error::Store)
    }
}
