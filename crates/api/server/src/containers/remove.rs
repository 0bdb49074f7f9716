//! `DELETE /containers/{id}`.

use arca_containers::{Containers, RemoveRequest};
use axum::extract::{Path, State};
use http::StatusCode;

use crate::error::ApiError;
use crate::http::Query;

/// Removes a container, or a link by its name, which has a slash: 204.
pub(super) async fn remove(
    State(containers): State<Containers>,
    Path(id): Path<String>,
    query: Query,
) -> Result<StatusCode, ApiError> {
    let request = RemoveRequest {
        volumes: query.flag("v"),
        force: query.flag("force"),
        link: query.flag("link"),
    };
    containers.remove(&id, request).await?;
    Ok(StatusCode::NO_CONTENT)
}
