//! `GET /containers/{id}/json`.

use arca_containers::Containers;
use axum::extract::{Path, State};
use axum::response::Response;
use http::StatusCode;

use crate::compat::{self, ApiVersion};
use crate::convert::inspection;
use crate::error::ApiError;
use crate::http::{Query, json};

/// Shows a container as it was when its last change was saved.
pub(super) async fn inspect(
    State(containers): State<Containers>,
    Path(id): Path<String>,
    version: ApiVersion,
    query: Query,
) -> Result<Response, ApiError> {
    let inspected = containers.inspect(&id, query.flag("size")).await?;
    let mut container = inspection(&inspected);
    compat::container_inspect(version, &mut container);
    Ok(json(StatusCode::OK, &container))
}
