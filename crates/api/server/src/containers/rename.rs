//! `POST /containers/{id}/rename`.

use arca_containers::Containers;
use axum::extract::{Path, State};
use http::StatusCode;

use crate::error::ApiError;
use crate::http::Query;

/// Gives a container another name: 204.
pub(super) async fn rename(
    State(containers): State<Containers>,
    Path(id): Path<String>,
    query: Query,
) -> Result<StatusCode, ApiError> {
    containers.rename(&id, query.text("name")).await?;
    Ok(StatusCode::NO_CONTENT)
}
