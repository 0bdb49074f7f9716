//! `ImageCommit`: an image of what a container has changed.

use std::sync::Arc;

use arca_archive::{PackFormat, PackOptions, open_root, pack};
use arca_events::{Event, Type};
use arca_images::{HistoryEntry, Image, ImageConfig, NewImage, RunConfig};
use arca_storage::{Compression, Layer, LayerSource, Lease, Rootfs};
use arca_types::{ContainerId, ImageId, Reference};
use futures_util::StreamExt as _;

use crate::Error;
use crate::archive::pipe;
use crate::container::Container;
use crate::export::check_whole;
use crate::model::{ContainerSpec, Healthcheck};
use crate::service::{Containers, Service};
use crate::start::blocking;
use crate::state::State;

/// The digest of an archive without entries: a layer that is none.
const EMPTY: &str = "sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef";

/// What image is to be made of a container.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CommitRequest {
    /// Its name; empty for none.
    pub repo: String,
    /// Its tag; empty for that of `repo`, or `latest`.
    pub tag: String,
    /// A comment.
    pub comment: String,
    /// Who made it.
    pub author: String,
    /// Instructions of a Dockerfile that change the configuration.
    pub changes: Vec<String>,
    /// A configuration instead of the container's, which fills in what is missing.
    pub config: Option<ContainerSpec>,
    /// Whether the container is frozen meanwhile.
    pub pause: bool,
}

impl Containers {
    /// Makes an image of a container (`ImageCommit`). It goes on when nobody waits for it any more.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Image`] for a wrong name or change;
    /// [`Error::Conflict`] for a container that is being removed; failures of storage.
    pub async fn commit(&self, id: &str, request: CommitRequest) -> Result<ImageId, Error> {
        let name = reference(&request)?;
        let container = self.get(id)?;
        check_whole(&container, "commit")?;
        let config = configuration(&container.spec, &request)?;
        let containers = self.clone();
        let work = self.service().tasks.spawn(async move {
            let frozen = request.pause && matches!(container.state, State::Running(_));
            let frozen = frozen && containers.pause(container.id.as_str()).await.is_ok();
            let service = containers.service();
            let lease = service.storage.lease();
            let layer = service.changed_layer(&container.id, &lease).await;
            if frozen && let Err(error) = containers.unpause(container.id.as_str()).await {
                let error = arca_types::chain(&error);
                tracing::warn!(container.id = %container.id, %error, "cannot go on after a commit");
            }
            let layer = layer?;
            let made = Commit {
                container: &container,
                request: &request,
                name: name.as_ref(),
            };
            made.finish(service, config, layer, lease).await
        });
        work.await.unwrap_or(Err(Error::ShuttingDown))
    }
}

/// A commit whose layer is there.
struct Commit<'a> {
    container: &'a Container,
    request: &'a CommitRequest,
    name: Option<&'a Reference>,
}

impl Commit<'_> {
    async fn finish(
        &self,
        service: &Arc<Service>,
        config: RunConfig,
        layer: Option<Layer>,
        lease: Lease,
    ) -> Result<ImageId, Error> {
        let base = service
            .images
            .resolve(&self.container.image.to_string(), None)
            .await?;
        let labels = config.labels.clone();
        let new = NewImage {
            config: self.image_config(&base, config, layer.as_ref(), service),
            base: Some(base.id.clone()),
            layers: layer.into_iter().collect(),
            parent: Some(base.id),
            name: None,
            lease,
        };
        let id = service.images.create(new).await?;
        let created = Event::new(Type::Image, "create", id.to_string())
            .with_all(labels.into_iter().flatten())
            .with("name", id.to_string());
        service.events.publish(created).await;
        service
            .images
            .tag(&id.to_string(), &self.request.repo, &self.request.tag)
            .await?;
        let shown = self.name.map(Reference::familiar).unwrap_or_default();
        let event = crate::actor::event(self.container, "commit")
            .with("comment", self.request.comment.clone())
            .with("imageID", id.to_string())
            .with("imageRef", shown);
        service.events.publish(event).await;
        Ok(id)
    }

    fn image_config(
        &self,
        base: &Image,
        config: RunConfig,
        layer: Option<&Layer>,
        service: &Service,
    ) -> ImageConfig {
        let now = service.clock.now();
        let mut image = ImageConfig::clone(&base.config);
        image
            .diff_ids
            .extend(layer.map(|layer| layer.diff_id.clone()));
        let command = self.container.spec.cmd.as_deref().unwrap_or_default();
        image.history.push(HistoryEntry {
            created: Some(now),
            author: self.request.author.clone(),
            created_by: command.join(" "),
            comment: self.request.comment.clone(),
            empty_layer: layer.is_none(),
        });
        ImageConfig {
            created: Some(now),
            author: self.request.author.clone(),
            comment: self.request.comment.clone(),
            container: self.container.id.to_string(),
            config,
            ..image
        }
    }
}

impl Containers {
    /// Takes what a container has changed in as a layer, which `lease` holds; `None` when it has changed
    /// nothing.
    ///
    /// # Errors
    /// [`Error::NotFound`]; failures of storage.
    pub async fn written_layer(&self, id: &str, lease: &Lease) -> Result<Option<Layer>, Error> {
        let container = self.get(id)?;
        self.service().changed_layer(&container.id, lease).await
    }
}

impl Service {
    /// Takes what a container has changed in as a layer; `None` when it has changed nothing.
    async fn changed_layer(&self, id: &ContainerId, lease: &Lease) -> Result<Option<Layer>, Error> {
        let upper = match self.storage.rootfs(id).map_err(Error::Storage)? {
            Rootfs::Overlay { upper, .. } => upper,
            Rootfs::Directory(_) => {
                let text = "making an image of a container needs the storage driver overlay2";
                return Err(Error::Unsupported(text.to_owned()));
            }
        };
        let (outlet, mut pieces) = pipe();
        let packing = blocking(move || {
            outlet.fill(|out| {
                let root =
                    open_root(&upper).map_err(|error| Error::file("open", &upper)(error.into()))?;
                let options = PackOptions {
                    format: PackFormat::Layer,
                    owner: None,
                    mtime: None,
                };
                pack(root, out, options).map_err(Error::Archive)
            });
            Ok(())
        });
        let source = LayerSource {
            compression: Compression::None,
            ..LayerSource::default()
        };
        let mut ingest = self.storage.ingest_layer(lease, source);
        let taking = async move {
            while let Some(piece) = pieces.next().await {
                ingest.write(piece?).await.map_err(Error::Storage)?;
            }
            ingest.finish().await.map_err(Error::Storage)
        };
        let (packed, taken) = tokio::join!(packing, taking);
        let layer = taken?;
        packed?;
        Ok((layer.diff_id.to_string() != EMPTY).then_some(layer))
    }
}

/// The name of the image, checked before anything is done.
fn reference(request: &CommitRequest) -> Result<Option<Reference>, Error> {
    if request.repo.is_empty() {
        return Ok(None);
    }
    let of_reference = |error| Error::from(arca_images::Error::Reference(error));
    let named: Reference = request.repo.parse().map_err(of_reference)?;
    if named.digest().is_some() {
        return Err(arca_images::Error::DigestReference.into());
    }
    if request.tag.is_empty() {
        return Ok(Some(named));
    }
    let tagged = Reference::tagged(named.repository().clone(), &request.tag);
    tagged
        .map(Some)
        .map_err(|_error| arca_images::Error::Tag.into())
}

/// What containers of the image inherit.
fn configuration(spec: &ContainerSpec, request: &CommitRequest) -> Result<RunConfig, Error> {
    let own = run_config(spec);
    let mut config = request
        .config
        .as_ref()
        .map_or_else(|| own.clone(), run_config);
    config.apply(&request.changes)?;
    fill_in(&mut config, own);
    Ok(config)
}

/// Adds what only the container says.
fn fill_in(config: &mut RunConfig, own: RunConfig) {
    let empty = |words: &Option<Vec<String>>| words.as_ref().is_none_or(Vec::is_empty);
    if config.user.is_empty() {
        config.user = own.user;
    }
    union(&mut config.exposed_ports, own.exposed_ports, |a, b| a == b);
    let name = |variable: &str| variable.split('=').next().unwrap_or_default().to_owned();
    union(&mut config.env, own.env, |a, b| name(a) == name(b));
    for (key, value) in own.labels.into_iter().flatten() {
        let labels = config.labels.get_or_insert_default();
        labels.entry(key).or_insert(value);
    }
    if empty(&config.entrypoint) {
        if empty(&config.cmd) {
            config.cmd = own.cmd;
            config.args_escaped = own.args_escaped;
        }
        if config.entrypoint.is_none() {
            config.entrypoint = own.entrypoint;
        }
    }
    config.healthcheck = config.healthcheck.take().or(own.healthcheck);
    if config.working_dir.is_empty() {
        config.working_dir = own.working_dir;
    }
    union(&mut config.volumes, own.volumes, |a, b| a == b);
    config.stop_signal = config.stop_signal.take().or(own.stop_signal);
}

fn union(
    list: &mut Option<Vec<String>>,
    more: Option<Vec<String>>,
    same: impl Fn(&str, &str) -> bool,
) {
    for item in more.into_iter().flatten() {
        let list = list.get_or_insert_default();
        if !list.iter().any(|other| same(other, &item)) {
            list.push(item);
        }
    }
}

/// The part of a container's configuration that images have.
fn run_config(spec: &ContainerSpec) -> RunConfig {
    let some = |list: Vec<String>| Some(list).filter(|list| !list.is_empty());
    RunConfig {
        user: spec.user.clone(),
        exposed_ports: some(spec.exposed_ports.iter().map(ToString::to_string).collect()),
        env: some(spec.env.clone()),
        entrypoint: spec.entrypoint.clone(),
        cmd: spec.cmd.clone(),
        args_escaped: spec.args_escaped,
        volumes: spec
            .volumes
            .as_ref()
            .map(|paths| paths.iter().cloned().collect()),
        working_dir: spec.working_dir.clone(),
        labels: Some(spec.labels.clone()).filter(|labels| !labels.is_empty()),
        stop_signal: spec.stop_signal.clone(),
        stop_timeout: spec.stop_timeout.map(i64::from),
        healthcheck: spec.healthcheck.as_ref().map(healthcheck),
        on_build: spec.on_build.clone(),
        shell: spec.shell.clone(),
        network_disabled: spec.network_disabled,
    }
}

fn healthcheck(check: &Healthcheck) -> arca_images::Healthcheck {
    let nanos =
        |duration: std::time::Duration| i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX);
    arca_images::Healthcheck {
        test: Some(check.test.words()).filter(|words| !words.is_empty()),
        interval: nanos(check.interval),
        timeout: nanos(check.timeout),
        start_period: nanos(check.start_period),
        start_interval: nanos(check.start_interval),
        retries: i64::from(check.retries),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Option<Vec<String>> {
        Some(words.iter().map(|word| (*word).to_owned()).collect())
    }

    #[test]
    fn changes_go_over_the_containers_configuration() {
        let spec = ContainerSpec {
            cmd: words(&["sleep", "1"]),
            env: vec!["A=1".to_owned(), "B=2".to_owned()],
            user: "web".to_owned(),
            ..ContainerSpec::default()
        };
        let request = CommitRequest {
            changes: vec!["ENV A=9".to_owned(), "CMD [\"ls\"]".to_owned()],
            ..CommitRequest::default()
        };
        let config = configuration(&spec, &request).unwrap();
        assert_eq!(config.cmd, words(&["ls"]));
        assert_eq!(config.env, words(&["A=9", "B=2"]));
        assert_eq!(config.user, "web");
    }

    #[test]
    fn a_configuration_of_the_request_is_filled_in() {
        let spec = ContainerSpec {
            cmd: words(&["sleep", "1"]),
            entrypoint: words(&["/init"]),
            env: vec!["A=1".to_owned()],
            ..ContainerSpec::default()
        };
        let request = CommitRequest {
            config: Some(ContainerSpec {
                env: vec!["Q=1".to_owned()],
                ..ContainerSpec::default()
            }),
            ..CommitRequest::default()
        };
        let config = configuration(&spec, &request).unwrap();
        assert_eq!(config.env, words(&["Q=1", "A=1"]));
        assert_eq!(config.cmd, words(&["sleep", "1"]));
        assert_eq!(config.entrypoint, words(&["/init"]));
    }

    #[test]
    fn names_are_checked() {
        let named = |repo: &str, tag: &str| {
            reference(&CommitRequest {
                repo: repo.to_owned(),
                tag: tag.to_owned(),
                ..CommitRequest::default()
            })
            .map(|name| name.map(|name| name.familiar()))
        };
        assert_eq!(named("", "").unwrap(), None);
        assert_eq!(named("a", "").unwrap().as_deref(), Some("a:latest"));
        assert_eq!(named("a", "b").unwrap().as_deref(), Some("a:b"));
        assert!(named("A", "").is_err());
        assert!(named("a", ":").is_err());
    }
}
