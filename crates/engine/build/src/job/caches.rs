//! Caches that are taken from images, and written to them (`--cache-from`, `--cache-to`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};

use arca_images::{BuiltImage, PushRequest, RemoveOptions};
use arca_types::{DiffId, Digest, Reference};
use serde::Deserialize;
use tokio::sync::mpsc;

use super::Job;
use crate::cache::portable;
use crate::request::SolveInput;
use crate::solve::{Outputs, Step};
use crate::source::at_registry;
use crate::{CacheExport, CacheImport, Error, Tree};

/// The caches of a build.
#[derive(Debug, Default)]
pub(crate) struct Caches {
    /// The names that were asked already.
    asked: BTreeSet<String>,
    /// Keys, the layers they gave, and the image that has these.
    known: BTreeMap<Digest, (Vec<DiffId>, Reference)>,
    /// The keys of what the build needed.
    used: BTreeSet<Digest>,
}

/// `cache-imports` of the front end's options.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Named {
    r#type: String,
    #[serde(default)]
    attrs: BTreeMap<String, String>,
}

impl Job {
    fn caches(&self) -> std::sync::MutexGuard<'_, Caches> {
        self.0.caches.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Learns what the caches have that are named. One that cannot be had fails no build, in BuildKit
    /// neither: people are told.
    pub(super) async fn import_caches(&self, input: &SolveInput) {
        let mut imports = input.cache_imports.clone();
        let named = input.frontend_attrs.get("cache-imports");
        let named = named.and_then(|text| serde_json::from_str::<Vec<Named>>(text).ok());
        imports.extend(
            named
                .unwrap_or_default()
                .into_iter()
                .map(|named| CacheImport {
                    kind: named.r#type,
                    attrs: named.attrs,
                }),
        );
        for import in imports {
            let place = import.attrs.get("ref").or_else(|| import.attrs.get("src"));
            let place = place.cloned().unwrap_or_default();
            if !self.caches().asked.insert(place.clone()) {
                continue;
            }
            let vertex = self.begin(&format!("importing cache manifest from {place}"));
            let imported = match import.kind.as_str() {
                "registry" => self.import(&place).await,
                kind => Err(Error::Unsupported(format!(
                    "importing a cache of type {kind} is not supported"
                ))),
            };
            match imported {
                Ok(()) => drop(self.finish(vertex, Ok(()))),
                Err(error) => self.fail(vertex, arca_types::chain(&error)),
            }
        }
    }

    /// Reads the cache that an image has: one that is here, else the registry's.
    async fn import(&self, name: &str) -> Result<(), Error> {
        let service = &self.0.service;
        let images = &service.backends.images;
        let (reference, auth) = at_registry(self, name).await?;
        let here = match images.resolve(name, None).await {
            Ok(image) => {
                let digest = image.id.digest().clone();
                let config = service.storage().read_blob(&digest).await;
                portable::read(&config.map_err(Error::Storage)?)
            }
            Err(_not_here) => None,
        };
        let found = match here {
            Some(found) => Some(found),
            None => {
                let described = images.describe(&reference, None, &auth).await;
                let described = described.map_err(|error| Error::Images(Box::new(error)))?;
                portable::read(&described.config)
            }
        };
        let found = found
            .ok_or_else(|| Error::NotFound(format!("{name} has no cache that arca can use")))?;
        let mut caches = self.caches();
        for (key, layers) in found {
            caches.known.insert(key, (layers, reference.clone()));
        }
        Ok(())
    }

    /// Notes that the build needs what a key gives.
    pub(crate) fn uses(&self, key: &Digest) {
        self.caches().used.insert(key.clone());
    }

    /// What an imported cache has for a key. One that does not give what it promised is passed over.
    pub(crate) async fn imported(&self, step: &Step, key: &Digest) -> Option<Arc<Outputs>> {
        let (layers, reference) = self.caches().known.get(key).cloned()?;
        let outputs = match self.fetched(&layers, &reference).await {
            Ok(tree) => Arc::new(Outputs { trees: vec![tree] }),
            Err(error) => {
                let error = arca_types::chain(&error);
                tracing::warn!(error, %reference, "a cache does not have what it promises");
                return None;
            }
        };
        self.0.service.cache.keep(key, step, &outputs).await;
        Some(outputs)
    }

    async fn fetched(&self, layers: &[DiffId], reference: &Reference) -> Result<Tree, Error> {
        let storage = self.0.service.storage();
        let here = || {
            let lease = storage.lease();
            let all = layers.iter().all(|layer| lease.layer(layer).is_some());
            all.then_some(lease)
        };
        if let Some(_lease) = here() {
            return Ok(Tree::of_layers(storage, layers.to_vec()));
        }
        let (reference, auth) = at_registry(self, &reference.to_string()).await?;
        let (sink, mut told) = mpsc::channel(64);
        let images = self.0.service.backends.images.clone();
        let fetching = async move { images.fetch_base(&reference, None, &auth, &sink).await };
        let (fetched, ()) = tokio::join!(fetching, async { while told.recv().await.is_some() {} });
        let _base = fetched.map_err(|error| Error::Images(Box::new(error)))?;
        match here() {
            Some(_lease) => Ok(Tree::of_layers(storage, layers.to_vec())),
            None => Err(Error::Failed("its layers have changed".to_owned())),
        }
    }

    /// Writes the caches that are asked for, besides those in the image itself.
    pub(super) async fn export_caches(
        &self,
        tree: &Tree,
        caches: &[CacheExport],
    ) -> Result<(), Error> {
        for cache in caches.iter().filter(|cache| cache.kind != "inline") {
            let vertex = self.begin("exporting cache to registry");
            match self.export_cache(tree, cache).await {
                Err(error) if cache.flag("ignore-error") => {
                    self.fail(vertex, arca_types::chain(&error));
                }
                exported => self.finish(vertex, exported)?,
            }
        }
        Ok(())
    }

    async fn export_cache(&self, tree: &Tree, cache: &CacheExport) -> Result<(), Error> {
        let failed = |error| Error::Images(Box::new(error));
        let name = cache.attrs.get("ref").map_or("", String::as_str);
        let (reference, auth) = at_registry(self, name).await?;
        let (service, images) = (&self.0.service, &self.0.service.backends.images);
        if images.resolve(name, None).await.is_ok() {
            let text =
                format!("the cache cannot be written to {name}: an image here has that name");
            return Err(Error::Invalid(text));
        }
        let whole = cache.attrs.get("mode").is_some_and(|mode| mode == "max");
        let used = self.caches().used.clone();
        let keys = match whole {
            true => used,
            false => service
                .cache
                .keys_of(&used, tree.layers().unwrap_or_default()),
        };
        let image = service.cache.image(&keys)?;
        let lease = service.storage().lease();
        for layer in &image.layers {
            let _here = lease.layer(layer);
        }
        let built = BuiltImage {
            config: image.config,
            layers: image.layers,
            parent: None,
            annotations: BTreeMap::new(),
            names: vec![reference.clone()],
            lease,
        };
        images.add_built(built).await.map_err(failed)?;
        let name = reference.to_string();
        let request = PushRequest::new(&name, "", None, auth).map_err(failed)?;
        let (sink, mut told) = mpsc::channel(64);
        let pusher = images.clone();
        let pushing = async move { pusher.push(&request, &sink).await };
        let (pushed, ()) = tokio::join!(pushing, async { while told.recv().await.is_some() {} });
        let options = RemoveOptions {
            force: true,
            no_prune: false,
            platforms: Vec::new(),
        };
        let removed = images.remove(&name, &options).await;
        pushed.map_err(failed)?;
        removed.map(drop).map_err(failed)
    }
}
