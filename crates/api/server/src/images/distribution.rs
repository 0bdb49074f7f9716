//! `GET /distribution/{name}/json`.

use arca_images::{Descriptor, DescriptorPlatform, Images};
use arca_wire::image::{self, DistributionInspect};
use axum::extract::{Path, State};
use axum::response::Response;
use http::{HeaderMap, StatusCode};

use super::auth::registry_auth;
use crate::error::ApiError;
use crate::http::json;

/// Shows what a registry has under a name.
pub(super) async fn distribution(
    State(images): State<Images>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let found = images.distribution(&name, registry_auth(&headers)).await?;
    let answer = DistributionInspect {
        descriptor: descriptor(found.descriptor),
        platforms: Some(found.platforms.into_iter().map(platform).collect()),
    };
    Ok(json(StatusCode::OK, &answer))
}

/// A descriptor as the API writes it.
pub(super) fn descriptor(descriptor: Descriptor) -> image::Descriptor {
    let Descriptor {
        media_type,
        digest,
        size,
        platform: of,
        annotations,
        artifact_type,
    } = descriptor;
    image::Descriptor {
        media_type,
        digest: digest.to_string(),
        size: i64::try_from(size).unwrap_or(i64::MAX),
        urls: Vec::new(),
        annotations,
        platform: of.map(platform),
        artifact_type: artifact_type.unwrap_or_default(),
    }
}

/// A platform as the API writes it.
pub(super) fn platform(platform: DescriptorPlatform) -> image::Platform {
    let DescriptorPlatform {
        architecture,
        os,
        os_version,
        os_features,
        variant,
    } = platform;
    image::Platform {
        architecture,
        os,
        os_version: os_version.unwrap_or_default(),
        os_features: os_features.unwrap_or_default(),
        variant: variant.unwrap_or_default(),
    }
}
