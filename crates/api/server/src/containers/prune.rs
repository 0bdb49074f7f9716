//! `POST /containers/prune`.

use arca_containers::Containers;
use arca_wire::container::PruneResponse;
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;

use crate::error::ApiError;
use crate::http::{Query, json};

/// Removes the containers that do not run.
pub(super) async fn prune(
    State(containers): State<Containers>,
    query: Query,
) -> Result<Response, ApiError> {
    let pruned = containers.prune(query.filters()?.into_map()).await?;
    let ids: Vec<String> = pruned.deleted.iter().map(ToString::to_string).collect();
    let answer = PruneResponse {
        containers_deleted: (!ids.is_empty()).then_some(ids),
        space_reclaimed: pruned.space_reclaimed,
    };
    Ok(json(StatusCode::OK, &answer))
}
