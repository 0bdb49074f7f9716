//! `GET /images/{name}/history`.

use arca_images::{HistoryItem, Images};
use arca_wire::image;
use axum::extract::{Path, State};
use axum::response::Response;
use http::StatusCode;

use crate::compat::{ApiVersion, images_take_platform};
use crate::error::ApiError;
use crate::http::{Query, json};

/// Shows how an image was made, the last step first.
pub(super) async fn history(
    State(images): State<Images>,
    Path(name): Path<String>,
    version: ApiVersion,
    query: Query,
) -> Result<Response, ApiError> {
    let platform = super::platform::one(&query, images_take_platform(version))?;
    let items = images.history(&name, platform.as_ref()).await?;
    let items: Vec<image::HistoryItem> = items.into_iter().map(item).collect();
    Ok(json(StatusCode::OK, &items))
}

fn item(item: HistoryItem) -> image::HistoryItem {
    image::HistoryItem {
        comment: item.comment,
        created: item.created.map_or(0, |created| created.seconds()),
        created_by: item.created_by,
        id: item
            .id
            .map_or_else(|| "<missing>".to_owned(), |id| id.to_string()),
        size: i64::try_from(item.size).unwrap_or(i64::MAX),
        tags: item.tags,
    }
}
