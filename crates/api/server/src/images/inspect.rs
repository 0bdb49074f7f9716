//! `GET /images/{name}/json`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use arca_images::{Healthcheck, Images, InspectOptions, Inspected, RunConfig};
use arca_types::Timestamp;
use arca_wire::container::{DriverData, HealthConfig};
use arca_wire::image::{ImageConfig, ImageInspect, Metadata, RootFs};
use arca_wire::{Empty, StrSlice};
use axum::extract::{Path, State};
use axum::response::Response;
use http::StatusCode;

use crate::compat::{self, ApiVersion};
use crate::error::ApiError;
use crate::http::{Query, json};

/// Shows an image.
pub(super) async fn inspect(
    State(images): State<Images>,
    Path(name): Path<String>,
    version: ApiVersion,
    query: Query,
) -> Result<Response, ApiError> {
    let options = InspectOptions {
        // It came with 1.49.
        platform: super::platform::one(&query, !version.before(49))?,
    };
    // Manifests came with 1.48; those of one platform are not shown, as it is one.
    let with_manifests = query.flag("manifests") && !version.before(48);
    if with_manifests && options.platform.is_some() {
        return Err(ApiError::bad(
            "conflicting options: manifests and platform options cannot both be set",
        ));
    }
    let inspected = images.inspect(&name, &options).await?;
    let id = inspected.id.clone();
    let mut image = answer(inspected);
    if with_manifests {
        let (target, manifests) = super::manifests::of(&images, &id).await?;
        (image.descriptor, image.manifests) = (Some(target), Some(manifests));
    }
    Ok(json(StatusCode::OK, &compat::image_inspect(version, image)))
}

fn answer(image: Inspected) -> ImageInspect {
    let config = &image.config;
    ImageInspect {
        id: image.id.to_string(),
        repo_tags: image.repo_tags,
        repo_digests: image.repo_digests,
        parent: image
            .parent
            .map(|parent| parent.to_string())
            .unwrap_or_default(),
        comment: config.comment.clone(),
        created: config
            .created
            .map(|created| created.to_string())
            .unwrap_or_default(),
        container: None,
        container_config: None,
        docker_version: config.docker_version.clone(),
        author: config.author.clone(),
        architecture: config.architecture.clone(),
        variant: config.variant.clone(),
        os: config.os.clone(),
        os_version: config.os_version.clone(),
        size: i64::try_from(image.size).unwrap_or(i64::MAX),
        virtual_size: None,
        graph_driver: DriverData {
            data: graph(&image.directories),
            name: image.driver.to_owned(),
        },
        root_fs: RootFs {
            kind: "layers".to_owned(),
            layers: image.layers.iter().map(ToString::to_string).collect(),
        },
        metadata: Metadata {
            last_tag_time: image.last_tagged.unwrap_or(Timestamp::ZERO).to_string(),
        },
        descriptor: None,
        manifests: None,
        config: run_config(&config.config),
    }
}

/// Where the layers are. An image is never mounted on the host: it has no merged and no work directory.
fn graph(directories: &[PathBuf]) -> Option<BTreeMap<String, String>> {
    let mut texts = directories.iter().map(|path| path.to_string_lossy());
    let upper = texts.next()?.into_owned();
    let mut data = BTreeMap::from([("UpperDir".to_owned(), upper)]);
    let lower: Vec<_> = texts.collect();
    if !lower.is_empty() {
        data.insert("LowerDir".to_owned(), lower.join(":"));
    }
    Some(data)
}

fn run_config(config: &RunConfig) -> ImageConfig {
    let set = |names: &Vec<String>| names.iter().map(|name| (name.clone(), Empty {})).collect();
    // Nothing in a list is shown as no list.
    let filled = |list: &Option<Vec<String>>| list.clone().filter(|list| !list.is_empty());
    ImageConfig {
        args_escaped: config.args_escaped,
        cmd: filled(&config.cmd).map(StrSlice),
        entrypoint: filled(&config.entrypoint).map(StrSlice),
        env: filled(&config.env),
        exposed_ports: config.exposed_ports.as_ref().map(set).unwrap_or_default(),
        healthcheck: config.healthcheck.as_ref().map(health),
        labels: config.labels.clone().filter(|labels| !labels.is_empty()),
        on_build: filled(&config.on_build),
        shell: config.shell.clone().unwrap_or_default(),
        stop_signal: config.stop_signal.clone().unwrap_or_default(),
        user: config.user.clone(),
        volumes: filled(&config.volumes).as_ref().map(set),
        working_dir: config.working_dir.clone(),
    }
}

fn health(check: &Healthcheck) -> HealthConfig {
    HealthConfig {
        test: check.test.clone().unwrap_or_default(),
        interval: check.interval,
        timeout: check.timeout,
        start_period: check.start_period,
        start_interval: check.start_interval,
        retries: i32::try_from(check.retries).unwrap_or(i32::MAX),
    }
}
