//! `DELETE /images/{name}`.

use arca_images::{Images, RemoveOptions, Removed};
use arca_types::Platform;
use arca_wire::image::DeleteResponse;
use axum::extract::{Path, State};
use axum::response::Response;
use http::StatusCode;

use super::platform;
use crate::compat::{ApiVersion, delete_takes_platforms};
use crate::error::ApiError;
use crate::http::{Query, json};

/// Takes a name from an image, or the image away.
pub(super) async fn remove(
    State(images): State<Images>,
    Path(name): Path<String>,
    version: ApiVersion,
    query: Query,
) -> Result<Response, ApiError> {
    if name.trim().is_empty() {
        return Err(ApiError::bad("image name cannot be blank"));
    }
    let options = RemoveOptions {
        force: query.flag("force"),
        no_prune: query.flag("noprune"),
        platforms: if delete_takes_platforms(version) {
            platforms(&query)?
        } else {
            Vec::new()
        },
    };
    let removed = images.remove(&name, &options).await?;
    let removed: Vec<DeleteResponse> = removed.into_iter().map(deleted).collect();
    Ok(json(StatusCode::OK, &removed))
}

fn platforms(query: &Query) -> Result<Vec<Platform>, ApiError> {
    let asked = query.all("platforms");
    asked.iter().map(|text| platform::decode(text)).collect()
}

pub(super) fn deleted(removed: Removed) -> DeleteResponse {
    match removed {
        Removed::Untagged(untagged) => DeleteResponse {
            untagged,
            ..DeleteResponse::default()
        },
        Removed::Deleted(deleted) => DeleteResponse {
            deleted,
            ..DeleteResponse::default()
        },
    }
}
