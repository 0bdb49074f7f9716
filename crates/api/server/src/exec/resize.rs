//! `POST /exec/{id}/resize`.

use arca_containers::Containers;
use axum::extract::{Path, State};
use http::StatusCode;

use crate::containers::size;
use crate::error::ApiError;
use crate::http::Query;

/// Changes the size of an exec session's terminal: 200.
pub(super) async fn resize(
    State(containers): State<Containers>,
    Path(id): Path<String>,
    query: Query,
) -> Result<StatusCode, ApiError> {
    let (height, width) = size(&query)?;
    containers.exec_resize(&id, height, width).await?;
    Ok(StatusCode::OK)
}
