//! `POST /images/{name}/tag`.

use arca_images::Images;
use axum::extract::{Path, State};
use http::StatusCode;

use crate::error::ApiError;
use crate::http::Query;

/// Gives an image a further name: 201; without a name nothing happens, and that is a 200.
pub(super) async fn tag(
    State(images): State<Images>,
    Path(name): Path<String>,
    query: Query,
) -> Result<StatusCode, ApiError> {
    images
        .tag(&name, query.text("repo"), query.text("tag"))
        .await?;
    let nothing = query.text("repo").is_empty();
    Ok(if nothing {
        StatusCode::OK
    } else {
        StatusCode::CREATED
    })
}
