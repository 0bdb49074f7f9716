//! Caches that are taken from images, and written to them (`--cache-from`, `--cache-to`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};

use arca_images::{BuiltImage, RemoveOptions};
use arca_types::{DiffId, Digest, Reference};
use futures_util::StreamExt as _;
use serde::Deserialize;
use serde_json::json;
use tokio::fs::File;
use tokio::sync::mpsc;
use tokio_util::io::ReaderStream;

use super::Job;
use crate::cache::portable;
use crate::request::{Exported, SolveInput};
use crate::solve::{Outputs, Step};
use crate::source::at_registry;
use crate::source::layout::{self, LayoutImage};
use crate::{CacheExport, CacheImport, Error, Tree};

/// Bytes that are read of a layer at a time.
const PORTION: usize = 256 << 10;

/// The caches of a build.
#[derive(Debug, Default)]
pub(crate) struct Caches {
    /// The names that were asked already.
    asked: BTreeSet<String>,
    /// Keys, the layers they gave, and who has these.
    known: BTreeMap<Digest, (Vec<DiffId>, Place)>,
    /// The keys of what the build needed.
    used: BTreeSet<Digest>,
}

/// Who has the layers of a cache.
#[derive(Debug, Clone)]
enum Place {
    /// An image of a registry.
    Registry(Reference),
    /// A content store of the client, with the image in it.
    Client(String, Arc<LayoutImage>),
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
            let attr = |name| import.attrs.get(name).map_or("", String::as_str);
            let place = match import.kind.as_str() {
                "local" => store(attr("src")),
                _ => attr("ref").to_owned(),
            };
            if !self.caches().asked.insert(place.clone()) {
                continue;
            }
            let vertex = self.begin(&format!("importing cache manifest from {place}"));
            let imported = match import.kind.as_str() {
                "registry" => self.import(&place).await,
                "local" => self.import_of_client(&place, attr("digest")).await,
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
        self.learn(name, found, &Place::Registry(reference))
    }

    /// Reads the cache that a directory of the client has.
    async fn import_of_client(&self, store: &str, digest: &str) -> Result<(), Error> {
        if digest.is_empty() {
            let text = "local cache importer requires explicit digest";
            return Err(Error::Invalid(text.to_owned()));
        }
        let name = format!("cache@{digest}");
        let (_, image) = layout::describe(self, (store, &name), None).await?;
        let found = portable::read(&image.config);
        self.learn(
            store,
            found,
            &Place::Client(store.to_owned(), Arc::new(image)),
        )
    }

    fn learn(
        &self,
        name: &str,
        found: Option<BTreeMap<Digest, Vec<DiffId>>>,
        place: &Place,
    ) -> Result<(), Error> {
        let found = found
            .ok_or_else(|| Error::NotFound(format!("{name} has no cache that arca can use")))?;
        let mut caches = self.caches();
        for (key, layers) in found {
            caches.known.insert(key, (layers, place.clone()));
        }
        Ok(())
    }

    /// Notes that the build needs what a key gives.
    pub(crate) fn uses(&self, key: &Digest) {
        self.caches().used.insert(key.clone());
    }

    /// What an imported cache has for a key. One that does not give what it promised is passed over.
    pub(crate) async fn imported(&self, step: &Step, key: &Digest) -> Option<Arc<Outputs>> {
        let (layers, place) = self.caches().known.get(key).cloned()?;
        let fetched = match &place {
            Place::Registry(reference) => self.fetched(&layers, reference).await,
            Place::Client(store, image) => image.tree(self, store, &layers).await,
        };
        let outputs = match fetched {
            Ok(tree) => Arc::new(Outputs { trees: vec![tree] }),
            Err(error) => {
                let error = arca_types::chain(&error);
                tracing::warn!(error, ?place, "a cache does not have what it promises");
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
        exported: &mut Exported,
    ) -> Result<(), Error> {
        for cache in caches.iter().filter(|cache| cache.kind != "inline") {
            let (vertex, done) = match cache.kind.as_str() {
                "local" => (
                    self.begin("exporting cache to client directory"),
                    self.export_to_client(tree, cache, exported).await,
                ),
                _ => (
                    self.begin("exporting cache to registry"),
                    self.export_to_registry(tree, cache).await,
                ),
            };
            match done {
                Err(error) if cache.flag("ignore-error") => {
                    self.fail(vertex, arca_types::chain(&error));
                }
                exported => self.finish(vertex, exported)?,
            }
        }
        Ok(())
    }

    /// Makes the image that is nothing but cache.
    fn cache_image(
        &self,
        tree: &Tree,
        cache: &CacheExport,
        names: Vec<Reference>,
    ) -> Result<BuiltImage, Error> {
        let service = &self.0.service;
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
        Ok(BuiltImage {
            config: image.config,
            layers: image.layers,
            parent: None,
            annotations: BTreeMap::new(),
            layer_annotations: BTreeMap::new(),
            compression: cache.compression()?,
            names,
            told: false,
            lease,
        })
    }

    /// Writes the cache into a directory of the client, which names it in its index by what it is told.
    async fn export_to_client(
        &self,
        tree: &Tree,
        cache: &CacheExport,
        exported: &mut Exported,
    ) -> Result<(), Error> {
        let store = store(cache.attrs.get("dest").map_or("", String::as_str));
        let image = self.cache_image(tree, cache, Vec::new())?;
        let opened = self.0.service.backends.images.open_built(&image).await;
        let (built, blobs) = opened.map_err(|error| Error::Images(Box::new(error)))?;
        for (digest, size, file) in blobs {
            let name = digest.to_string();
            let content = ReaderStream::with_capacity(File::from_std(file), PORTION)
                .map(move |piece| piece.map_err(Error::file("read", &name)));
            let session = self.session();
            session
                .put_content(&store, (&digest, size), content.boxed())
                .await?;
        }
        let told = json!({
            "mediaType": built.manifest.media_type,
            "digest": built.manifest.digest.as_str(),
            "size": built.manifest.size,
        });
        let response = &mut exported.response;
        response.insert("cache.manifest".to_owned(), told.to_string());
        Ok(())
    }

    async fn export_to_registry(&self, tree: &Tree, cache: &CacheExport) -> Result<(), Error> {
        let failed = |error| Error::Images(Box::new(error));
        let name = cache.attrs.get("ref").map_or("", String::as_str);
        let (reference, auth) = at_registry(self, name).await?;
        let images = &self.0.service.backends.images;
        if images.resolve(name, None).await.is_ok() {
            let text =
                format!("the cache cannot be written to {name}: an image here has that name");
            return Err(Error::Invalid(text));
        }
        let built = self.cache_image(tree, cache, vec![reference.clone()])?;
        images.add_built(built).await.map_err(failed)?;
        let pushed = self.push_quietly(&reference, auth).await;
        let options = RemoveOptions {
            force: true,
            no_prune: false,
            platforms: Vec::new(),
        };
        let removed = images.remove(&reference.to_string(), &options).await;
        pushed?;
        removed.map(drop).map_err(failed)
    }
}

/// The client's content store in a directory of its own.
fn store(directory: &str) -> String {
    format!("local:{directory}")
}
