//! Results that become images: those of this host, and archives for the client.

use std::collections::BTreeMap;

use arca_images::{Auth, Built, BuiltImage, ByteStream, PushRequest};
use arca_types::Reference;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::StreamExt as _;
use serde_json::json;
use tokio::sync::mpsc;

use super::Job;
use super::rewrite::base;
use crate::export::config::{Made, complete};
use crate::progress::VertexState;
use crate::request::{BuildResult, Exported};
use crate::session::FileSink;
use crate::source::at_registry;
use crate::{Error, ExporterKind, ExporterSpec, Tree};

fn failed(error: arca_images::Error) -> Error {
    Error::Images(Box::new(error))
}

impl Job {
    /// Adds the result to the images of this host, and pushes it if that is asked for.
    pub(super) async fn export_image(
        &self,
        image: BuiltImage,
        (index, exporter): (usize, &ExporterSpec),
        exported: &mut Exported,
    ) -> Result<(), Error> {
        let names = image.names.clone();
        let written = as_written(exporter, &names);
        let vertex = self.begin("exporting to image");
        let added = self.add(image, &written, &vertex).await;
        let built = match added {
            Ok(built) => built,
            Err(error) => return self.finish(vertex, Err(error)),
        };
        self.finish(vertex, Ok(()))?;
        let storage = self.0.service.storage();
        let config = storage.read_blob(built.id.digest()).await;
        let config = config.map_err(Error::Storage)?;
        exported.configs.insert(index, config);
        let response = &mut exported.response;
        let id = built.id.to_string();
        response.insert("containerimage.config.digest".to_owned(), id.clone());
        response.insert("containerimage.digest".to_owned(), id);
        name(response, &written);
        exported.image = Some(built.id);
        if exporter.flag("push") {
            for name in &names {
                self.push(name).await?;
            }
        }
        Ok(())
    }

    /// Sends the client an archive of the image.
    pub(super) async fn export_archive(
        &self,
        image: BuiltImage,
        (index, exporter): (usize, &ExporterSpec),
        exported: &mut Exported,
    ) -> Result<(), Error> {
        let docker = exporter.kind == ExporterKind::Docker;
        let annotations = exporter.annotations()?.descriptor;
        let kind = if docker { "docker" } else { "oci" };
        let vertex = self.begin(&format!("exporting to {kind} image format"));
        self.note(&vertex, "exporting layers", None);
        let images = &self.0.service.backends.images;
        let archive = images.archive_built(&image, docker, annotations).await;
        let (built, archive) = match archive.map_err(failed) {
            Ok(archive) => archive,
            Err(error) => return self.finish(vertex, Err(error)),
        };
        let now = Some(self.progress().now());
        self.note(&vertex, "exporting layers", now);
        let manifest = &built.manifest.digest;
        self.note(&vertex, &format!("exporting manifest {manifest}"), now);
        self.note(&vertex, &format!("exporting config {}", built.id), now);
        self.note(&vertex, "sending tarball", None);
        let response = response(&built, &image.names);
        let sent = match self.session().export_file(index, response.clone()).await {
            Ok(sink) => send(archive, sink).await,
            Err(error) => Err(error),
        };
        if sent.is_ok() {
            self.note(&vertex, "sending tarball", Some(self.progress().now()));
        }
        self.finish(vertex, sent)?;
        exported.response.extend(response);
        Ok(())
    }

    /// The image that a result is, which says what it can be a cache for if `inline` says so.
    pub(super) async fn image(
        &self,
        result: &BuildResult,
        tree: &Tree,
        exporter: &ExporterSpec,
        inline: bool,
    ) -> Result<BuiltImage, Error> {
        let layers = tree.layers().ok_or_else(|| {
            Error::Unsupported("a directory of the client is no image".to_owned())
        })?;
        let key = result.refs.keys().next().map_or("", String::as_str);
        let specific = result.metadata.get(&format!("containerimage.config/{key}"));
        let config = specific.or_else(|| result.metadata.get("containerimage.config"));
        let service = &self.0.service;
        let lease = service.storage().lease();
        for layer in layers {
            // The tree holds them as well; this goes on until the image does.
            let _here = lease.layer(layer);
        }
        let (rewritten, layer_annotations) = match exporter.rewrites()? {
            Some(epoch) => {
                self.rewritten(layers, &base(result, key), (epoch, &lease))
                    .await?
            }
            None => (layers.to_vec(), BTreeMap::new()),
        };
        let (now, epoch) = (self.progress().now(), exporter.epoch()?);
        if epoch.is_none() && exporter.flag("rewrite-timestamp") {
            self.warn_of_no_epoch();
        }
        let times = service.cache.made(layers);
        let made = rewritten.iter().cloned().zip(times);
        let made: Vec<Made> = made.map(|(layer, at)| Made { layer, at }).collect();
        let config = complete(config.map(Vec::as_slice), &made, now, epoch)?;
        let config = match inline {
            true => service.cache.inline(&config, layers)?,
            false => config,
        };
        Ok(BuiltImage {
            config,
            layer_annotations,
            compression: exporter.compression()?,
            layers: rewritten,
            parent: None,
            annotations: exporter.annotations()?.manifest,
            names: names(exporter)?,
            told: true,
            lease,
        })
    }

    async fn add(
        &self,
        image: BuiltImage,
        names: &[String],
        vertex: &VertexState,
    ) -> Result<Built, Error> {
        self.note(vertex, "exporting layers", None);
        let images = &self.0.service.backends.images;
        let built = images.add_built(image).await.map_err(failed)?;
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
        let pushed = self.push_quietly(name, auth).await;
        self.finish(vertex, pushed)
    }

    /// Pushes an image that is here, and tells nobody how far it has come.
    pub(super) async fn push_quietly(&self, name: &Reference, auth: Auth) -> Result<(), Error> {
        let request = PushRequest::new(&name.to_string(), "", None, auth).map_err(failed)?;
        let (sink, mut told) = mpsc::channel(64);
        let images = self.0.service.backends.images.clone();
        let pushing = async move { images.push(&request, &sink).await };
        let (pushed, ()) = tokio::join!(pushing, async { while told.recv().await.is_some() {} });
        pushed.map_err(failed)
    }
}

async fn send(mut archive: ByteStream, mut sink: Box<dyn FileSink>) -> Result<(), Error> {
    while let Some(piece) = archive.next().await {
        let piece = piece.map_err(Error::file("read", "the archive of the image"))?;
        sink.write(piece).await?;
    }
    sink.finish().await
}

/// What a client is told of an archive.
fn response(built: &Built, names: &[Reference]) -> BTreeMap<String, String> {
    let mut response = BTreeMap::new();
    let manifest = &built.manifest;
    let descriptor = json!({
        "mediaType": manifest.media_type,
        "digest": manifest.digest.as_str(),
        "size": manifest.size,
    });
    for (key, value) in [
        ("containerimage.config.digest", built.id.to_string()),
        ("containerimage.digest", manifest.digest.to_string()),
        (
            "containerimage.descriptor",
            STANDARD.encode(descriptor.to_string()),
        ),
    ] {
        response.insert(key.to_owned(), value);
    }
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    name(&mut response, &names);
    response
}

fn name(response: &mut BTreeMap<String, String>, names: &[String]) {
    if !names.is_empty() {
        response.insert("image.name".to_owned(), names.join(","));
    }
}

/// The names that an exporter is to give.
fn names(exporter: &ExporterSpec) -> Result<Vec<Reference>, Error> {
    written(exporter)
        .map(|name| {
            let parsed = name.parse::<Reference>();
            parsed.map_err(|error| Error::Invalid(format!("failed to parse {name}: {error}")))
        })
        .collect()
}

/// The names that an exporter is to give, as the client wrote them.
fn written(exporter: &ExporterSpec) -> impl Iterator<Item = &str> {
    let names = exporter.attrs.get("name").map_or("", String::as_str);
    names.split(',').filter(|name| !name.is_empty())
}

/// The names in full, without a tag where the client wrote none: as dockerd tells them.
fn as_written(exporter: &ExporterSpec, names: &[Reference]) -> Vec<String> {
    let both = written(exporter).zip(names);
    both.map(|(written, name)| {
        let last = written.rsplit('/').next().unwrap_or_default();
        if last.contains([':', '@']) {
            name.to_string()
        } else {
            name.repository().to_string()
        }
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_told_with_the_tag_that_was_written() {
        let names_of = "a,localhost:5000/b,c:latest,d/e@sha256:\
            0000000000000000000000000000000000000000000000000000000000000000";
        let exporter = ExporterSpec {
            kind: ExporterKind::Image,
            attrs: [("name".to_owned(), names_of.to_owned())].into(),
        };
        let told = as_written(&exporter, &names(&exporter).unwrap());
        assert_eq!(told[..2], ["docker.io/library/a", "localhost:5000/b"]);
        assert_eq!(told[2], "docker.io/library/c:latest");
        assert!(told[3].starts_with("docker.io/d/e@sha256:0"), "{told:?}");
    }
}
