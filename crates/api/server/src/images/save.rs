//! `GET /images/{name}/get` and `GET /images/get`.

use arca_images::{Images, SaveRequest};
use axum::extract::{Path, State};
use axum::response::Response;

use super::platform;
use crate::compat::{ApiVersion, images_take_platform};
use crate::error::ApiError;
use crate::http::{Client, Query, chunks};

/// Sends an archive of one image.
pub(super) async fn save(
    State(images): State<Images>,
    Path(name): Path<String>,
    version: ApiVersion,
    query: Query,
    client: Client,
) -> Result<Response, ApiError> {
    archive(&images, vec![name], version, &query, client).await
}

/// Sends an archive of the images of the parameter `names`.
pub(super) async fn save_all(
    State(images): State<Images>,
    version: ApiVersion,
    query: Query,
    client: Client,
) -> Result<Response, ApiError> {
    archive(&images, query.all("names"), version, &query, client).await
}

async fn archive(
    images: &Images,
    names: Vec<String>,
    version: ApiVersion,
    query: &Query,
    client: Client,
) -> Result<Response, ApiError> {
    let platform = platform::one(query, images_take_platform(version))?;
    let archive = images.save(&SaveRequest { names, platform }).await?;
    Ok(chunks(client, "application/x-tar", archive))
}
