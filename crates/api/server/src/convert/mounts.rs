//! Mounts, asked for and shown.

use arca_containers::model::{self, IdMappingSource, MountRequest, Propagation};
use arca_wire::container::{
    BindOptions, Driver, IdMapping, ImageOptions, Mount, MountPoint, TmpfsOptions, VolumeOptions,
};

use super::refuse;
use crate::error::ApiError;

pub(super) fn mount_request(mount: Mount) -> Result<MountRequest, ApiError> {
    let Mount {
        kind,
        source,
        target,
        read_only,
        consistency,
        bind_options,
        volume_options,
        image_options,
        tmpfs_options,
        cluster_options,
    } = mount;
    refuse(
        cluster_options.is_some(),
        "mount type \"cluster\"",
        "it needs a swarm",
    )?;
    Ok(MountRequest {
        kind: kind.parse()?,
        source,
        target,
        read_only,
        consistency,
        bind: bind_options.map(of_bind).transpose()?,
        volume: volume_options.map(of_volume),
        image: image_options.map(|ImageOptions { subpath }| model::ImageOptions { subpath }),
        tmpfs: tmpfs_options.map(
            |TmpfsOptions {
                 size_bytes,
                 mode,
                 options,
             }| model::TmpfsOptions {
                size: size_bytes,
                mode,
                options,
            },
        ),
    })
}

fn of_bind(options: BindOptions) -> Result<model::BindOptions, ApiError> {
    let BindOptions {
        propagation,
        non_recursive,
        create_mountpoint,
        read_only_non_recursive,
        read_only_force_recursive,
        id_mapping,
    } = options;
    let propagation = match propagation.as_str() {
        "" => None,
        name => Some(Propagation::parse(name).ok_or_else(|| {
            ApiError::bad(format!(
                "invalid mount config for type \"bind\": invalid propagation mode: {name}"
            ))
        })?),
    };
    Ok(model::BindOptions {
        propagation,
        non_recursive,
        create_mountpoint,
        read_only_non_recursive,
        read_only_force_recursive,
        id_mapping: id_mapping.map(of_mapping).transpose()?,
    })
}

fn of_mapping(mapping: IdMapping) -> Result<model::IdMapping, ApiError> {
    let IdMapping { source, user } = mapping;
    let bad = |reason: &str| {
        let field = "field BindOptions.IDMapping.Source";
        Err(ApiError::bad(format!(
            "invalid mount config for type \"bind\": {field}: {reason}"
        )))
    };
    let source = match source.as_str() {
        "match-user" => IdMappingSource::MatchUser,
        "userns" => return bad("\"userns\" needs a container with a user namespace of its own"),
        "" => return bad("must not be empty"),
        other => {
            return bad(&format!(
                "{other:?} is neither \"match-user\" nor \"userns\""
            ));
        }
    };
    Ok(model::IdMapping { source, user })
}

fn of_volume(options: VolumeOptions) -> model::VolumeOptions {
    let VolumeOptions {
        no_copy,
        labels,
        subpath,
        driver_config,
    } = options;
    let Driver { name, options } = driver_config.unwrap_or_default();
    model::VolumeOptions {
        no_copy,
        labels,
        driver: name,
        driver_options: options,
        subpath,
    }
}

/// A mount in the long form, as it was asked for.
pub(super) fn mount(request: &MountRequest) -> Mount {
    Mount {
        kind: request.kind.as_str().to_owned(),
        source: request.source.clone(),
        target: request.target.clone(),
        read_only: request.read_only,
        consistency: request.consistency.clone(),
        bind_options: request.bind.as_ref().map(|options| BindOptions {
            propagation: options
                .propagation
                .map(Propagation::as_str)
                .unwrap_or_default()
                .to_owned(),
            non_recursive: options.non_recursive,
            create_mountpoint: options.create_mountpoint,
            read_only_non_recursive: options.read_only_non_recursive,
            read_only_force_recursive: options.read_only_force_recursive,
            id_mapping: options.id_mapping.as_ref().map(|mapping| IdMapping {
                source: match mapping.source {
                    IdMappingSource::MatchUser => "match-user".to_owned(),
                },
                user: mapping.user.clone(),
            }),
        }),
        volume_options: request.volume.as_ref().map(|options| VolumeOptions {
            no_copy: options.no_copy,
            labels: options.labels.clone(),
            subpath: options.subpath.clone(),
            driver_config: (!options.driver.is_empty() || !options.driver_options.is_empty()).then(
                || Driver {
                    name: options.driver.clone(),
                    options: options.driver_options.clone(),
                },
            ),
        }),
        image_options: request.image.as_ref().map(|options| ImageOptions {
            subpath: options.subpath.clone(),
        }),
        tmpfs_options: request.tmpfs.as_ref().map(|options| TmpfsOptions {
            size_bytes: options.size,
            mode: options.mode,
            options: options.options.clone(),
        }),
        cluster_options: None,
    }
}

/// A mount as it is.
pub(super) fn mount_point(mount: &model::MountPoint) -> MountPoint {
    MountPoint {
        kind: mount.kind.as_str().to_owned(),
        name: mount.name.clone(),
        source: mount.source.clone(),
        destination: mount.destination.clone(),
        driver: mount.driver.clone(),
        mode: mount.mode.clone(),
        rw: mount.rw,
        propagation: mount.propagation.clone(),
    }
}
