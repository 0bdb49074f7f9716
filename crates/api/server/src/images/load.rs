//! `POST /images/load`.

use arca_images::{Images, LoadRequest};
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;

use super::progress::report_at_once;
use crate::compat::{ApiVersion, images_take_platform};
use crate::error::ApiError;
use crate::http::{Client, Query, request_bytes};

/// Reads an archive of images, and tells how far it is. What is wrong with the archive is told there, too.
pub(super) async fn load(
    State(images): State<Images>,
    version: ApiVersion,
    query: Query,
    client: Client,
    body: Body,
) -> Result<Response, ApiError> {
    let request = LoadRequest {
        platform: super::platform::one(&query, images_take_platform(version))?,
        quiet: query.flag_or("quiet", true),
    };
    let archive = Box::pin(request_bytes(body));
    Ok(report_at_once(client, |sink| async move {
        images.load(&request, archive, &sink).await
    }))
}
