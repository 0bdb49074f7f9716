//! `GET /containers/{id}/export`.

use arca_containers::Containers;
use axum::extract::{Path, State};
use axum::response::Response;

use crate::error::ApiError;
use crate::http::{Client, chunks};

/// Sends the root filesystem as an archive.
pub(super) async fn export(
    State(containers): State<Containers>,
    Path(id): Path<String>,
    client: Client,
) -> Result<Response, ApiError> {
    let archive = containers.export(&id).await?;
    Ok(chunks(client, "application/octet-stream", archive))
}
