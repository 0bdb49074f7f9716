//! `GET /volumes`.

use arca_volumes::{Filter, Volumes};
use arca_wire::volume::VolumeListResponse;
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;

use super::volume;
use crate::error::ApiError;
use crate::http::{Query, json};

/// Lists volumes.
pub(super) async fn list(
    State(volumes): State<Volumes>,
    query: Query,
) -> Result<Response, ApiError> {
    let filters = query.filters().map_err(|error| {
        ApiError::bad(format!("error reading volume filters: {}", error.message()))
    })?;
    let filter = Filter::for_list(filters.into_map())?;
    let listed = volumes.list(&filter)?;
    let answer = VolumeListResponse {
        volumes: listed
            .iter()
            .map(|listed| volume(&volumes, &listed.volume))
            .collect(),
        warnings: None,
    };
    Ok(json(StatusCode::OK, &answer))
}
