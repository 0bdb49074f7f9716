//! What becomes of results.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;

use arca_types::{Digest, Timestamp};
use bytes::Bytes;
use tokio::sync::mpsc;

use super::Job;
use crate::graph::digest_json;
use crate::progress::{Event, VertexState};
use crate::request::{BuildResult, Exported};
use crate::solve::blocking;
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
        let inline = caches.iter().any(|cache| cache.kind == "inline");
        let tree = self.single(result).await?;
        let mut exported = Exported::default();
        for (index, exporter) in exporters.iter().enumerate() {
            let work = self.run_exporter(result, &tree, (index, exporter, inline), &mut exported);
            tokio::select! {
                biased;
                () = self.0.cancel.cancelled() => return Err(Error::Cancelled),
                done = work => done?,
            }
        }
        self.export_caches(&tree, caches, &mut exported).await?;
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
        (index, exporter, inline): (usize, &ExporterSpec, bool),
        exported: &mut Exported,
    ) -> Result<(), Error> {
        match exporter.kind {
            ExporterKind::Image => {
                let image = self.image(result, tree, exporter, inline).await?;
                self.export_image(image, (index, exporter), exported).await
            }
            ExporterKind::Local => {
                let vertex = self.begin("exporting to client directory");
                let root = tree.open(self.0.service.storage()).await?;
                let sent = self
                    .session()
                    .export_tree(index, root, exporter.epoch()?)
                    .await;
                self.finish(vertex, sent)
            }
            ExporterKind::Tar => {
                let vertex = self.begin("sending tarball");
                let root = tree.open(self.0.service.storage()).await?;
                let sent = self.send_archive(index, root, exporter.epoch()?).await;
                self.finish(vertex, sent)
            }
            ExporterKind::Docker | ExporterKind::Oci => {
                let image = self.image(result, tree, exporter, inline).await?;
                self.export_archive(image, (index, exporter), exported)
                    .await
            }
        }
    }

    async fn send_archive(
        &self,
        index: usize,
        root: OwnedFd,
        time: Option<Timestamp>,
    ) -> Result<(), Error> {
        let mut sink = self.session().export_file(index, BTreeMap::new()).await?;
        let (pieces, mut packed) = mpsc::channel::<Bytes>(8);
        let packing = blocking(move || {
            let options = arca_archive::PackOptions {
                format: arca_archive::PackFormat::Tree,
                owner: None,
                mtime: time.map(Timestamp::seconds),
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

    pub(super) fn note(&self, vertex: &VertexState, id: &str, completed: Option<Timestamp>) {
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

/// Hands what is written on in pieces.
pub(super) struct Pieces(pub(super) mpsc::Sender<Bytes>);

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
