//! `GET /containers/{id}/changes`.

use arca_containers::{ChangeKind, Containers};
use arca_wire::container::FilesystemChange;
use axum::extract::{Path, State};
use axum::response::Response;
use http::StatusCode;

use crate::error::ApiError;
use crate::http::json;

/// Lists what a container has changed; `null` when that is nothing.
pub(super) async fn changes(
    State(containers): State<Containers>,
    Path(id): Path<String>,
) -> Result<Response, ApiError> {
    let changes = containers.changes(&id).await?;
    let changes: Vec<FilesystemChange> = changes
        .into_iter()
        .map(|change| FilesystemChange {
            path: change.path,
            kind: match change.kind {
                ChangeKind::Modified => 0,
                ChangeKind::Added => 1,
                ChangeKind::Deleted => 2,
            },
        })
        .collect();
    Ok(json(
        StatusCode::OK,
        &Some(changes).filter(|changes| !changes.is_empty()),
    ))
}
