//! `GET /containers/{id}/top`.

use arca_containers::Containers;
use arca_wire::container::TopResponse;
use axum::extract::{Path, State};
use axum::response::Response;
use http::StatusCode;

use crate::error::ApiError;
use crate::http::{Query, json};

/// Lists the processes of a container, in the columns that `ps` has for `ps_args`.
pub(super) async fn top(
    State(containers): State<Containers>,
    Path(id): Path<String>,
    query: Query,
) -> Result<Response, ApiError> {
    let top = containers.top(&id, query.text("ps_args")).await?;
    Ok(json(
        StatusCode::OK,
        &TopResponse {
            processes: top.processes,
            titles: top.titles,
        },
    ))
}
