//! `DELETE /networks/{id}`.

use arca_networks::Networks;
use axum::extract::{Path, State};
use http::StatusCode;

use crate::error::ApiError;

/// Removes a network: 204.
pub(super) async fn remove(
    State(networks): State<Networks>,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    networks.remove(&id).await?;
    Ok(StatusCode::NO_CONTENT)
}
