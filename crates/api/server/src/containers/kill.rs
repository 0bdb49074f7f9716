//! `POST /containers/{id}/kill`.

use arca_containers::Containers;
use axum::extract::{Path, State};
use http::StatusCode;

use crate::error::ApiError;
use crate::http::Query;

/// Sends a signal (`SIGKILL` unless told otherwise): 204.
pub(super) async fn kill(
    State(containers): State<Containers>,
    Path(id): Path<String>,
    query: Query,
) -> Result<StatusCode, ApiError> {
    containers
        .kill(&id, query.some("signal").as_deref())
        .await?;
    Ok(StatusCode::NO_CONTENT)
}
