//! Files of containers: not there yet, and refused so that nothing looks copied that is not.

use arca_containers::Containers;
use axum::extract::{Path, State};

use crate::error::ApiError;
use crate::http::Query;

/// 404 for a container that is not there, 501 for one that is.
fn refused(containers: &Containers, id: &str, what: &str) -> Result<(), ApiError> {
    containers.get(id)?;
    Err(ApiError::unsupported(format!(
        "{what} is not supported yet"
    )))
}

/// `GET /containers/{id}/changes`.
pub(super) async fn changes(
    State(containers): State<Containers>,
    Path(id): Path<String>,
) -> Result<(), ApiError> {
    refused(&containers, &id, "listing changed files of a container")
}

/// `GET /containers/{id}/export`.
pub(super) async fn export(
    State(containers): State<Containers>,
    Path(id): Path<String>,
) -> Result<(), ApiError> {
    refused(&containers, &id, "exporting a container")
}

/// `HEAD`, `GET` and `PUT /containers/{id}/archive`.
pub(super) async fn archive(
    State(containers): State<Containers>,
    Path(id): Path<String>,
    query: Query,
) -> Result<(), ApiError> {
    if query.text("path").is_empty() {
        return Err(ApiError::bad("bad parameter: pathcannot be empty"));
    }
    refused(&containers, &id, "copying files from and to containers")
}
