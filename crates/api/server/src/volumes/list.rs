//! `GET /volumes`.

use arca_volumes::{Filter, Volumes};
use arca_wire::volume::VolumeListResponse;
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;

use super::inspect::with_told;
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
    let listed = volumes.list_everywhere(&filter).await?;
    let answer = VolumeListResponse {
        volumes: listed
            .into_iter()
            .map(|(listed, told)| with_told(volume(&volumes, &listed.volume), told))
            .collect(),
        warnings: None,
    };
    Ok(json(StatusCode::OK, &answer))
}
