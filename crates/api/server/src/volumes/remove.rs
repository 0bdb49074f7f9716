//! `DELETE /volumes/{name}`.

use arca_volumes::Volumes;
use axum::extract::{Path, State};
use http::StatusCode;

use crate::error::ApiError;
use crate::http::Query;

/// Removes a volume: 204.
pub(super) async fn remove(
    State(volumes): State<Volumes>,
    Path(name): Path<String>,
    query: Query,
) -> Result<StatusCode, ApiError> {
    volumes.remove(&name, query.flag("force")).await?;
    Ok(StatusCode::NO_CONTENT)
}
