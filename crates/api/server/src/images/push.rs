//! `POST /images/{name}/push`.

use arca_images::{Images, PushRequest};
use axum::extract::{Path, State};
use axum::response::Response;
use http::HeaderMap;

use super::auth::registry_auth;
use super::progress::report;
use crate::compat::ApiVersion;
use crate::error::ApiError;
use crate::http::{Client, Query};

/// Pushes an image, or all tags of a repository, and tells how far it is.
pub(super) async fn push(
    State(images): State<Images>,
    Path(name): Path<String>,
    version: ApiVersion,
    query: Query,
    headers: HeaderMap,
    client: Client,
) -> Result<Response, ApiError> {
    let auth = registry_auth(&headers);
    let platform = match query.text("platform") {
        // Platforms came with 1.46.
        text if !text.is_empty() && !version.before(46) => Some(super::remove::platform(text)?),
        _ => None,
    };
    let request = PushRequest::new(&name, query.text("tag"), platform, auth)?;
    report(
        client,
        |sink| async move { images.push(&request, &sink).await },
    )
    .await
}
