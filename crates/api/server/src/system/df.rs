//! `GET /system/df`.

use arca_build::Builder;
use arca_engine::{Kinds, System, VolumeUsage};
use arca_types::{Clock, SystemClock};
use arca_volumes::Volumes;
use arca_wire::system::DiskUsage;
use arca_wire::volume::{UsageData, Volume};
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;

use crate::build::cache_item;
use crate::compat::{self, ApiVersion, ignores_usage_types};
use crate::convert;
use crate::error::ApiError;
use crate::http::{Query, json};
use crate::images::summary;
use crate::volumes::volume;

/// Shows how much room everything takes; kinds that were not asked for are `null`.
pub(super) async fn df(
    State((system, volumes, builder)): State<(System, Volumes, Builder)>,
    version: ApiVersion,
    query: Query,
) -> Result<Response, ApiError> {
    let kinds = kinds(version, &query)?;
    let usage = system.disk_usage(kinds).await?;
    let build_cache = match kinds.build_cache {
        true => Some(builder.usage().await?.into_iter().map(cache_item).collect()),
        false => None,
    };
    let now = SystemClock.now();
    let answer = DiskUsage {
        layers_size: signed(usage.layers_size),
        images: usage
            .images
            .map(|images| images.into_iter().map(summary).collect()),
        containers: usage.containers.map(|all| {
            all.iter()
                .map(|listed| convert::summary(listed, now))
                .collect()
        }),
        volumes: usage
            .volumes
            .map(|all| all.iter().map(|one| used(&volumes, one)).collect()),
        build_cache,
        builder_size: None,
    };
    Ok(json(StatusCode::OK, &compat::disk_usage(version, answer)))
}

fn kinds(version: ApiVersion, query: &Query) -> Result<Kinds, ApiError> {
    let asked = query.all("type");
    let all = asked.is_empty() || ignores_usage_types(version);
    let mut kinds = Kinds {
        containers: all,
        images: all,
        volumes: all,
        build_cache: all,
    };
    for kind in asked.iter().filter(|_| !all) {
        match kind.as_str() {
            "container" => kinds.containers = true,
            "image" => kinds.images = true,
            "volume" => kinds.volumes = true,
            "build-cache" => kinds.build_cache = true,
            other => return Err(ApiError::bad(format!("unknown object type: {other}"))),
        }
    }
    Ok(kinds)
}

fn used(volumes: &Volumes, usage: &VolumeUsage) -> Volume {
    Volume {
        usage_data: Some(UsageData {
            ref_count: i64::try_from(usage.users).unwrap_or(i64::MAX),
            size: usage.size.map_or(-1, signed),
        }),
        ..volume(volumes, &usage.volume)
    }
}

fn signed(size: u64) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}
