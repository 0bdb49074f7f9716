//! What becomes of results.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;

use arca_images::{BuiltImage, PushRequest};
use arca_types::{DiffId, Digest, Reference, Timestamp};
use bytes::Bytes;
use tokio::sync::mpsc;

use super::Job;
use crate::export::config::{Made, complete};
use crate::graph::digest_json;
use crate::progress::{Event, VertexState};
use crate::request::{BuildResult, Exported};
use crate::solve::blocking;
use crate::source::at_registry;
use crate::{CacheExport, Error, ExporterKind, ExporterSpec, Tree};

impl Job {
    /// Runs what the result needs, and hands it to the exporters, one after the other.
    ///
    /// # Errors
    /// What has failed in the build; [`Error::Unsupported`] for what an exporter cannot do;
    /// [`Error::Cancelled`].
    pub async fn export(
        &self,
        result: &BuildResult,
        exporters: &[ExporterSpec],
        caches: &[CacheExport],
    ) -> Result<Exported, Error> {
        if let Some(cache) = caches.first() {
            let kind = &cache.kind;
            return Err(Error::Unsupported(format!(
                "cache export to {kind} is not supported"
            )));
        }
        let tree = self.single(result).await?;
        let mut exported = Exported::default();
        for (index, exporter) in exporters.iter().enumerate() {
            let work = self.run_exporter(result, &tree, (index, exporter), &mut exported);
            tokio::select! {
                biased;
                () = self.0.cancel.cancelled() => return Err(Error::Cancelled),
                done = work => done?,
            }
        }
        Ok(exported)
    }

    /// The one tree of a result.
    async fn single(&self, result: &BuildResult) -> Result<Tree, Error> {
        let mut refs = result.refs.values();
        let (first, more) = (refs.next(), refs.next());
        if more.is_some() {
            let text = "exporting a result of several platforms is not supported";
            return Err(Error::Unsupported(text.to_owned()));
        }
        match first.and_then(Option::as_ref) {
            Some(edge) => self.evaluate(edge).await,
            None => Ok(Tree::of_layers(self.0.service.storage(), Vec::new())),
        }
    }

    async fn run_exporter(
        &self,
        result: &BuildResult,
        tree: &Tree,
        (index, exporter): (usize, &ExporterSpec),
        exported: &mut Exported,
    ) -> Result<(), Error> {
        match exporter.kind {
            ExporterKind::Image => self.export_image(result, tree, exporter, exported).await,
            ExporterKind::Local => {
                let vertex = self.begin("exporting to client directory");
                let root = tree.open(self.0.service.storage()).await?;
                let sent = self.session().export_tree(index, root).await;
                self.finish(vertex, sent)
            }
            ExporterKind::Tar => {
                let vertex = self.begin("sending tarball");
                let root = tree.open(self.0.service.storage()).await?;
                let sent = self.send_archive(index, root).await;
                self.finish(vertex, sent)
            }
            ExporterKind::Docker | ExporterKind::Oci => Err(Error::Unsupported(
                "exporting an archive of an image is not supported: load it, and use docker save"
                    .to_owned(),
            )),
        }
    }

    async fn send_archive(&self, index: usize, root: OwnedFd) -> Result<(), Error> {
        let mut sink = self.session().export_file(index, BTreeMap::new()).await?;
        let (pieces, mut packed) = mpsc::channel::<Bytes>(8);
        let packing = blocking(move || {
            let options = arca_archive::PackOptions {
                format: arca_archive::PackFormat::Tree,
                owner: None,
            };
            let out = std::io::BufWriter::with_capacity(256 << 10, Pieces(pieces));
            arca_archive::pack(root, out, options).map_err(Error::Archive)
        });
        let sending = async {
            while let Some(piece) = packed.recv().await {
                sink.write(piece).await?;
            }
            Ok::<(), Error>(())
        };
        let (packed, sent) = tokio::join!(packing, sending);
        sent?;
        packed?;
        sink.finish().await
    }

    async fn export_image(
        &self,
        result: &BuildResult,
        tree: &Tree,
        exporter: &ExporterSpec,
        exported: &mut Exported,
    ) -> Result<(), Error> {
        let names = names(exporter)?;
        let layers = tree.layers().ok_or_else(|| {
            Error::Unsupported("a directory of the client is no image".to_owned())
        })?;
        let key = result.refs.keys().next().map_or("", String::as_str);
        let specific = result.metadata.get(&format!("containerimage.config/{key}"));
        let config = specific.or_else(|| result.metadata.get("containerimage.config"));
        let now = self.progress().now();
        let times = self.0.service.cache.made(layers);
        let made = layers.iter().cloned().zip(times);
        let made: Vec<Made> = made.map(|(layer, at)| Made { layer, at }).collect();
        let config = complete(config.map(Vec::as_slice), &made, now)?;
        let vertex = self.begin("exporting to image");
        let added = self.add(config, layers, &names, &vertex).await;
        let built = match added {
            Ok(built) => built,
            Err(error) => return self.finish(vertex, Err(error)),
        };
        self.finish(vertex, Ok(()))?;
        let response = &mut exported.response;
        let id = built.id.to_string();
        response.insert("containerimage.config.digest".to_owned(), id.clone());
        response.insert("containerimage.digest".to_owned(), id);
        if !names.is_empty() {
            let names: Vec<String> = names.iter().map(ToString::to_string).collect();
            response.insert("image.name".to_owned(), names.join(","));
        }
        exported.image = Some(built.id);
        if exporter.attrs.get("push").map(String::as_str) == Some("true") {
            for name in &names {
                self.push(name).await?;
            }
        }
        Ok(())
    }

    async fn add(
        &self,
        config: Vec<u8>,
        layers: &[DiffId],
        names: &[Reference],
        vertex: &VertexState,
    ) -> Result<arca_images::Built, Error> {
        let service = &self.0.service;
        let lease = service.storage().lease();
        self.note(vertex, "exporting layers", None);
        for layer in layers {
            // The tree holds them as well; this goes on until the image does.
            let _here = lease.layer(layer);
        }
        let built = BuiltImage {
            config,
            layers: layers.to_vec(),
            parent: None,
            names: names.to_vec(),
            lease,
        };
        let added = service.backends.images.add_built(built).await;
        let built = added.map_err(|error| Error::Images(Box::new(error)))?;
        self.note(vertex, "exporting layers", Some(self.progress().now()));
        let now = Some(self.progress().now());
        self.note(vertex, &format!("writing image {}", built.id), now);
        for name in names {
            self.note(vertex, &format!("naming to {name}"), now);
        }
        Ok(built)
    }

    async fn push(&self, name: &Reference) -> Result<(), Error> {
        let vertex = self.begin(&format!("pushing {}", name.familiar()));
        let (_, auth) = at_registry(self, &name.to_string()).await?;
        let failed = |error| Error::Images(Box::new(error));
        let request = PushRequest::new(&name.to_string(), "", None, auth).map_err(failed)?;
        let (sink, mut told) = mpsc::channel(64);
        let images = self.0.service.backends.images.clone();
        let pushing = async move { images.push(&request, &sink).await };
        let (pushed, ()) = tokio::join!(pushing, async { while told.recv().await.is_some() {} });
        self.finish(vertex, pushed.map_err(failed))
    }

    /// A vertex of an exporter's own work.
    pub(super) fn begin(&self, name: &str) -> VertexState {
        let random = arca_types::random_hex(16);
        let digest: Digest = digest_json(&(name, random));
        let state = VertexState {
            digest,
            inputs: Vec::new(),
            name: name.to_owned(),
            started: Some(self.progress().now()),
            completed: None,
            cached: false,
            error: String::new(),
            group: None,
        };
        self.progress()
            .tell(Event::Vertex(std::sync::Arc::new(state.clone())));
        state
    }

    pub(super) fn finish(
        &self,
        mut state: VertexState,
        done: Result<(), Error>,
    ) -> Result<(), Error> {
        state.completed = Some(self.progress().now());
        if let Err(error) = &done {
            state.error = arca_types::chain(error);
        }
        self.progress()
            .tell(Event::Vertex(std::sync::Arc::new(state)));
        done
    }

    /// Tells that a vertex has failed.
    pub(super) fn fail(&self, mut state: VertexState, error: String) {
        state.completed = Some(self.progress().now());
        state.error = error;
        let state = std::sync::Arc::new(state);
        self.progress().tell(Event::Vertex(state));
    }

    fn note(&self, vertex: &VertexState, id: &str, completed: Option<Timestamp>) {
        let now = self.progress().now();
        let status = crate::progress::Status {
            id: id.to_owned(),
            vertex: vertex.digest.clone(),
            name: String::new(),
            current: 0,
            total: 0,
            timestamp: now,
            started: Some(now),
            completed,
        };
        self.progress()
            .tell(Event::Status(std::sync::Arc::new(status)));
    }
}

/// The names that an exporter is to give.
fn names(exporter: &ExporterSpec) -> Result<Vec<Reference>, Error> {
    let names = exporter.attrs.get("name").map_or("", String::as_str);
    names
        .split(',')
        .filter(|name| !name.is_empty())
        .map(|name| {
            let parsed = name.parse::<Reference>();
            parsed.map_err(|error| Error::Invalid(format!("failed to parse {name}: {error}")))
        })
        .collect()
}

/// Hands what is written on in pieces.
struct Pieces(mpsc::Sender<Bytes>);

impl std::io::Write for Pieces {
    fn write(&mut self, data: &[u8]) -> std::io::Result<usize> {
        self.0
            .blocking_send(Bytes::copy_from_slice(data))
            .map_err(|_gone| std::io::Error::from(std::io::ErrorKind::BrokenPipe))?;
        Ok(data.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
