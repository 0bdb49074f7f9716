//! `POST /images/prune`.

use arca_images::{Images, PruneFilters};
use arca_types::{Clock, SystemClock};
use arca_wire::image::{DeleteResponse, ImagePruneResponse};
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;

use super::remove::deleted;
use crate::error::ApiError;
use crate::http::{Query, json};

/// Removes images that no container uses: those without a tag, unless `dangling=false`.
pub(super) async fn prune(
    State(images): State<Images>,
    query: Query,
) -> Result<Response, ApiError> {
    let filters = PruneFilters::parse(&query.filters()?.into_map(), SystemClock.now())?;
    let pruned = images.prune(&filters).await?;
    let removed: Vec<DeleteResponse> = pruned.removed.into_iter().map(deleted).collect();
    let answer = ImagePruneResponse {
        images_deleted: (!removed.is_empty()).then_some(removed),
        space_reclaimed: pruned.reclaimed,
    };
    Ok(json(StatusCode::OK, &answer))
}
