//! `POST /containers/{id}/start`.

use arca_containers::{Containers, Started};
use axum::extract::{Path, State};
use http::{HeaderMap, StatusCode, header};

use crate::error::ApiError;
use crate::http::Query;

/// Starts a container: 204 when this call started it, 304 when it was running already.
///
/// `id` is an ID, an unambiguous ID prefix or a name. `detachKeys` is accepted and has no effect.
pub(super) async fn start(
    State(containers): State<Containers>,
    Path(id): Path<String>,
    query: Query,
    headers: HeaderMap,
) -> Result<StatusCode, ApiError> {
    refuse_body(&headers)?;
    if query.some("checkpoint").is_some() {
        return Err(ApiError::bad(
            "checkpoint is only supported in experimental mode",
        ));
    }
    match containers.start(&id).await? {
        Started::Now => Ok(StatusCode::NO_CONTENT),
        Started::Already => Ok(StatusCode::NOT_MODIFIED),
    }
}

/// Before 1.24 a start could carry a configuration; some clients still send an empty one (`null`, `{}`).
fn refuse_body(headers: &HeaderMap) -> Result<(), ApiError> {
    let length = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok());
    let length: u64 = length
        .and_then(|length| length.parse().ok())
        .unwrap_or_default();
    if length > 7 || headers.contains_key(header::TRANSFER_ENCODING) {
        return Err(ApiError::bad(
            "starting container with non-empty request body was deprecated since API v1.22 and removed \
             in v1.24",
        ));
    }
    Ok(())
}
