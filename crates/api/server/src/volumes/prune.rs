//! `POST /volumes/prune`.

use arca_volumes::{Filter, Volumes};
use arca_wire::volume::VolumePruneResponse;
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;

use crate::compat::{ApiVersion, prunes_named_volumes};
use crate::error::ApiError;
use crate::http::{Query, json};

/// Removes volumes that no container has: anonymous ones, unless `all` is asked for.
pub(super) async fn prune(
    State(volumes): State<Volumes>,
    version: ApiVersion,
    query: Query,
) -> Result<Response, ApiError> {
    let mut filters = query.filters()?.into_map();
    if prunes_named_volumes(version) {
        filters.insert("all".to_owned(), vec!["true".to_owned()]);
    }
    let pruned = volumes.prune(&Filter::for_prune(filters)?).await?;
    let answer = VolumePruneResponse {
        volumes_deleted: pruned.names,
        space_reclaimed: pruned.bytes,
    };
    Ok(json(StatusCode::OK, &answer))
}
