//! `POST /containers/{id}/stop` and `…/restart`.

use arca_containers::{Containers, StopRequest, Stopped};
use axum::extract::{Path, State};
use http::StatusCode;

use crate::compat::{ApiVersion, stop_takes_signal};
use crate::error::ApiError;
use crate::http::Query;

/// Stops a container: 204 when this call stopped it, 304 when it was not running.
pub(super) async fn stop(
    State(containers): State<Containers>,
    Path(id): Path<String>,
    version: ApiVersion,
    query: Query,
) -> Result<StatusCode, ApiError> {
    match containers.stop(&id, request(version, &query)?).await? {
        Stopped::Now => Ok(StatusCode::NO_CONTENT),
        Stopped::Already => Ok(StatusCode::NOT_MODIFIED),
    }
}

/// Stops a container if it runs, and starts it: 204.
pub(super) async fn restart(
    State(containers): State<Containers>,
    Path(id): Path<String>,
    version: ApiVersion,
    query: Query,
) -> Result<StatusCode, ApiError> {
    containers.restart(&id, request(version, &query)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn request(version: ApiVersion, query: &Query) -> Result<StopRequest, ApiError> {
    // dockerd answers 500 to what is no number, here and in lists
    let timeout = query
        .number("t")
        .map_err(|error| ApiError::internal(error.message()))?;
    Ok(StopRequest {
        timeout: timeout.map(|seconds| {
            i32::try_from(seconds).unwrap_or(if seconds < 0 { i32::MIN } else { i32::MAX })
        }),
        signal: query.some("signal").filter(|_| stop_takes_signal(version)),
    })
}
