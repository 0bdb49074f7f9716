//! `GET /images/search`.

use arca_images::{Found, Images, SearchRequest};
use arca_wire::image::SearchResult;
use axum::extract::State;
use axum::response::Response;
use http::{HeaderMap, StatusCode};

use super::auth::registry_auth;
use crate::error::ApiError;
use crate::http::{Query, json};

/// Asks an index for repositories.
pub(super) async fn search(
    State(images): State<Images>,
    query: Query,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let limit = query
        .number("limit")
        .map_err(|error| ApiError::bad(format!("invalid limit specified: {}", error.message())))?;
    let filters = query.filters()?.into_map();
    let request = SearchRequest::new(query.text("term"), limit, &filters)?;
    let found = images.search(&request, &registry_auth(&headers)).await?;
    let results: Vec<SearchResult> = found.into_iter().map(result).collect();
    Ok(json(StatusCode::OK, &results))
}

fn result(found: Found) -> SearchResult {
    let Found {
        name,
        description,
        star_count,
        is_official,
    } = found;
    SearchResult {
        star_count,
        is_official,
        name,
        // Docker Hub has no automated builds any more.
        is_automated: false,
        description,
    }
}
