//! Named contexts: `--build-context name=…` and what bake links.

use std::collections::BTreeMap;

use arca_dockerfile::ignore_file;
use arca_types::{Platform, Reference};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::definition::{self, Definition};
use super::image::Image;
use super::options::Options;
use super::{Gateway, ImageRequest, Layout, named};
use crate::Error;
use crate::graph::{
    Edge, HttpSource, ImageSource, LocalDiffer, LocalSource, OciLayoutSource, Op, Source, Vertex,
};

/// A context that has a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NamedContext {
    /// What it is called.
    name: String,
    /// The name with the platform it is for, if that is part of it.
    full_name: String,
    /// What it is: `local:…`, `docker-image://…`, ….
    value: String,
}

/// A named context that has been found.
#[derive(Debug)]
pub(super) enum Loaded {
    /// An empty tree.
    Scratch,
    /// A tree, and its configuration if it is an image.
    Tree(Edge, Option<Box<Image>>),
    /// A directory of the client, of which only some paths are needed.
    Local(LocalContext),
}

/// A directory of the client.
#[derive(Debug, Clone)]
pub(super) struct LocalContext {
    directory: String,
    full_name: String,
    session: String,
    exclude: Vec<String>,
}

impl LocalContext {
    /// The tree, of which `paths` are needed.
    pub(super) fn tree(&self, paths: Vec<String>) -> Edge {
        let source = LocalSource {
            name: self.directory.clone(),
            session: self.session.clone(),
            exclude: self.exclude.clone(),
            follow_paths: paths,
            shared_key_hint: format!("context:{}", self.full_name),
            ..LocalSource::default()
        };
        definition::local(
            source,
            &format!("[context {}] load from client", self.full_name),
        )
    }
}

impl NamedContext {
    /// The context called `name`, if there is one.
    pub(super) fn find(
        options: &Options,
        name: &str,
        platform: &Platform,
    ) -> Result<Option<Self>, Error> {
        if name.eq_ignore_ascii_case("scratch") || name.eq_ignore_ascii_case("context") {
            return Ok(None);
        }
        if !options.all.keys().any(|key| key.starts_with("context:")) {
            return Ok(None);
        }
        let reference: Reference = name
            .parse()
            .map_err(|error| Error::Invalid(format!("invalid context name {name}: {error}")))?;
        let familiar = reference.familiar();
        let name = familiar.strip_suffix(":latest").unwrap_or(&familiar);
        let full_names = [format!("{name}::{platform}"), name.to_owned()];
        let found = full_names.into_iter().find_map(|full_name| {
            let value = options.all.get(&format!("context:{full_name}"))?.clone();
            Some(Self {
                name: name.to_owned(),
                full_name,
                value,
            })
        });
        Ok(found)
    }

    /// Loads what is known of it before it is used.
    pub(super) async fn load(
        &self,
        options: &Options,
        definition: &Definition,
        gateway: &dyn Gateway,
        platform: &Platform,
    ) -> Result<Loaded, Error> {
        let Some((kind, rest)) = self.value.split_once(':') else {
            let text = format!(
                "invalid context specifier {} for {}",
                self.value, self.full_name
            );
            return Err(Error::Invalid(text));
        };
        match kind {
            "docker-image" => {
                let name = rest.trim_start_matches("//");
                if name == "scratch" {
                    Ok(Loaded::Scratch)
                } else {
                    self.image(name, options, gateway, platform).await
                }
            }
            "oci-layout" => {
                self.layout(rest.trim_start_matches("//"), gateway, platform)
                    .await
            }
            "local" => self.local(rest, options, gateway).await,
            "input" => self.input(rest, options, definition),
            "http" | "https" | "git" => self.remote(kind),
            _ if kind.starts_with("git@") => self.remote("git"),
            _ => {
                let text = format!("unsupported context source {kind} for {}", self.full_name);
                Err(Error::Invalid(text))
            }
        }
    }

    async fn image(
        &self,
        name: &str,
        options: &Options,
        gateway: &dyn Gateway,
        platform: &Platform,
    ) -> Result<Loaded, Error> {
        let reference: Reference = name
            .parse()
            .map_err(|error: arca_types::ReferenceError| Error::Invalid(error.to_string()))?;
        let request = ImageRequest {
            reference: reference.to_string(),
            platform: Some(platform.clone()),
            resolve: options.resolve,
            log_name: format!("[context {}] load metadata for {name}", self.full_name),
            layout: None,
        };
        let found = gateway.resolve_image(&request).await?;
        let source = ImageSource {
            reference: found.reference.clone(),
            resolve: options.resolve,
            layer_limit: None,
        };
        let metadata = named(format!("[context {}] {}", self.full_name, found.reference));
        let op = Op::Source(Source::Image(source));
        let tree = Vertex::new(op, Vec::new(), Some(platform.clone()), metadata).output(0);
        Ok(Loaded::Tree(tree, Some(Box::new(config(&found.config)?))))
    }

    async fn layout(
        &self,
        text: &str,
        gateway: &dyn Gateway,
        platform: &Platform,
    ) -> Result<Loaded, Error> {
        let Some((store, digest)) = text.split_once('@') else {
            return Err(Error::Invalid(format!(
                "oci-layout reference {text:?} has no digest"
            )));
        };
        let store = store
            .rsplit_once(':')
            .filter(|(_, tag)| !tag.contains('/'))
            .map_or(store, |(name, _)| name);
        // Only for people: the layout knows its image by the digest.
        let name: Reference = self.name.parse().map_err(|error| {
            Error::Invalid(format!(
                "could not parse oci-layout reference {:?}: {error}",
                self.name
            ))
        })?;
        let reference = format!("{}@{digest}", name.repository());
        let request = ImageRequest {
            reference: reference.clone(),
            platform: Some(platform.clone()),
            resolve: crate::graph::ResolveMode::PreferLocal,
            log_name: format!("[context {}] load metadata for {reference}", self.full_name),
            layout: Some(Layout {
                session: String::new(),
                store: store.to_owned(),
            }),
        };
        let found = gateway.resolve_image(&request).await?;
        let source = OciLayoutSource {
            reference,
            store: store.to_owned(),
            ..OciLayoutSource::default()
        };
        let metadata = named(format!("[context {}] OCI load from client", self.full_name));
        let op = Op::Source(Source::OciLayout(source));
        let tree = Vertex::new(op, Vec::new(), Some(platform.clone()), metadata).output(0);
        Ok(Loaded::Tree(tree, Some(Box::new(config(&found.config)?))))
    }

    async fn local(
        &self,
        directory: &str,
        options: &Options,
        gateway: &dyn Gateway,
    ) -> Result<Loaded, Error> {
        let session = definition::session(options, directory);
        let source = LocalSource {
            name: directory.to_owned(),
            session: session.clone(),
            follow_paths: vec![".dockerignore".to_owned()],
            shared_key_hint: format!("context:{}-.dockerignore", self.full_name),
            differ: LocalDiffer::None,
            ..LocalSource::default()
        };
        let tree = definition::local(
            source,
            &format!("[context {}] load .dockerignore", self.full_name),
        );
        let data = gateway
            .read_file(&tree, ".dockerignore")
            .await?
            .unwrap_or_default();
        Ok(Loaded::Local(LocalContext {
            directory: directory.to_owned(),
            full_name: self.full_name.clone(),
            session,
            exclude: ignore_file(&String::from_utf8_lossy(&data)),
        }))
    }

    fn remote(&self, kind: &str) -> Result<Loaded, Error> {
        if let Some(url) = definition::git(&self.value)? {
            return Ok(Loaded::Tree(
                definition::git_context(&url, &self.value, None),
                None,
            ));
        }
        if kind == "git" {
            return Err(Error::Invalid(format!(
                "invalid git context {}",
                self.value
            )));
        }
        let source = HttpSource {
            url: self.value.clone(),
            ..HttpSource::default()
        };
        let metadata = named(format!("[context {}] {}", self.full_name, self.value));
        let op = Op::Source(Source::Http(source));
        Ok(Loaded::Tree(
            Vertex::new(op, Vec::new(), None, metadata).output(0),
            None,
        ))
    }

    fn input(
        &self,
        name: &str,
        options: &Options,
        definition: &Definition,
    ) -> Result<Loaded, Error> {
        let Some(tree) = definition.inputs.get(name) else {
            let text = format!("invalid input {name} for {}", self.full_name);
            return Err(Error::Invalid(text));
        };
        let Some(metadata) = options.all.get(&format!("input-metadata:{name}")) else {
            return Ok(Loaded::Tree(tree.clone(), None));
        };
        let wrong = || Error::Invalid(format!("failed to parse input metadata {metadata}"));
        let entries: BTreeMap<String, String> =
            serde_json::from_str(metadata).map_err(|_error| wrong())?;
        let image = match entries.get("containerimage.config") {
            Some(text) => {
                let bytes = STANDARD.decode(text).map_err(|_error| wrong())?;
                Some(Box::new(config(&bytes)?))
            }
            None => None,
        };
        Ok(Loaded::Tree(tree.clone(), image))
    }
}

/// Reads the configuration of an image.
pub(super) fn config(bytes: &[u8]) -> Result<Image, Error> {
    serde_json::from_slice(bytes)
        .map_err(|error| Error::Invalid(format!("failed to parse image config: {error}")))
}
