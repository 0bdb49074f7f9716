//! `POST /containers/{id}/pause` and `…/unpause`.

use arca_containers::Containers;
use axum::extract::{Path, State};
use http::StatusCode;

use crate::error::ApiError;

/// Freezes everything in a container: 204.
pub(super) async fn pause(
    State(containers): State<Containers>,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    containers.pause(&id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Lets it go on: 204.
pub(super) async fn unpause(
    State(containers): State<Containers>,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    containers.unpause(&id).await?;
    Ok(StatusCode::NO_CONTENT)
}
