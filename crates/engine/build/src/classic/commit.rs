//! From an instruction to an image.

use arca_images::{BuiltImage, HistoryEntry, ImageConfig, RunConfig};
use arca_types::{DiffId, ImageId, Platform};

use super::stage::Build;
use crate::Error;

/// The digest of an archive without entries: a layer that is none.
const EMPTY: &str = "sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef";

impl Build {
    /// An instruction that changes the configuration only.
    pub(super) async fn commit_config(&mut self, comment: &str) -> Result<(), Error> {
        let mut command = self.shell();
        command.extend(["#(nop) ".to_owned(), comment.to_owned()]);
        let key = self.key(&self.state.run, &command);
        if self.take_cached(&key, &command).await? {
            return Ok(());
        }
        self.show_container(&command).await?;
        let id = self.finish(&command, None).await?;
        self.remember(&key, &id).await
    }

    /// The present image becomes the one that an equal instruction gave.
    pub(super) async fn take_cached(
        &mut self,
        key: &arca_types::Digest,
        command: &[String],
    ) -> Result<bool, Error> {
        let Some(image) = self.probe(key, command).await? else {
            return Ok(false);
        };
        self.line(" ---> Using cache\n").await;
        self.state.image = Some(image);
        Ok(true)
    }

    /// Makes the image of an instruction, and the present one of it.
    pub(super) async fn finish(
        &mut self,
        command: &[String],
        layer: Option<DiffId>,
    ) -> Result<ImageId, Error> {
        let layer = layer.filter(|layer| layer.as_str() != EMPTY);
        let entry = HistoryEntry {
            created: Some(self.builder.0.backends.clock.now()),
            author: self.state.author.clone(),
            created_by: command.join(" "),
            comment: String::new(),
            empty_layer: layer.is_none(),
        };
        let id = self.add(entry, layer, self.last_container.clone()).await?;
        let images = &self.builder.0.backends.images;
        let image = images.resolve(id.as_str(), None).await;
        self.state.image = Some(image.map_err(|error| Error::Images(Box::new(error)))?);
        Ok(id)
    }

    /// Adds an image on top of the present one.
    pub(super) async fn add(
        &self,
        entry: HistoryEntry,
        layer: Option<DiffId>,
        container: Option<String>,
    ) -> Result<ImageId, Error> {
        let storage = self.builder.0.storage();
        let lease = storage.lease();
        let mut config = match &self.state.image {
            Some(image) => ImageConfig::clone(&image.config),
            None => scratch(self.request.platform.as_ref()),
        };
        if let Some(layer) = layer {
            let _held = lease.layer(&layer);
            config.diff_ids.push(layer);
        }
        config.created = entry.created;
        config.author.clone_from(&entry.author);
        config.comment = String::new();
        // As dockerd tells it: of what a container has made.
        let told = container.is_some();
        config.container = container.unwrap_or_default();
        config.config = self.state.run.clone();
        config.history.push(entry);
        let bytes = config
            .to_bytes()
            .map_err(|error| Error::Failed(error.to_string()))?;
        let built = BuiltImage {
            annotations: std::collections::BTreeMap::new(),
            layer_annotations: std::collections::BTreeMap::new(),
            compression: None,
            config: bytes,
            layers: config.diff_ids,
            parent: self.state.image.as_ref().map(|image| image.id.clone()),
            names: Vec::new(),
            told,
            lease,
        };
        let added = self.builder.0.backends.images.add_built(built).await;
        added
            .map(|built| built.id)
            .map_err(|error| Error::Images(Box::new(error)))
    }

    /// The shell for the shell form of instructions.
    pub(super) fn shell(&self) -> Vec<String> {
        match &self.state.run.shell {
            Some(shell) if !shell.is_empty() => shell.clone(),
            _ => vec!["/bin/sh".to_owned(), "-c".to_owned()],
        }
    }
}

/// What `FROM scratch` begins with.
fn scratch(platform: Option<&Platform>) -> ImageConfig {
    let platform = platform.cloned().unwrap_or_else(Platform::host);
    ImageConfig {
        architecture: platform.architecture.clone(),
        os: platform.os.clone(),
        variant: platform.variant.clone().unwrap_or_default(),
        platform,
        os_version: String::new(),
        created: None,
        author: String::new(),
        comment: String::new(),
        docker_version: String::new(),
        container: String::new(),
        config: RunConfig::default(),
        diff_ids: Vec::new(),
        history: Vec::new(),
    }
}
