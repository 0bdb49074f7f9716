//! `POST /build/prune`, and what is in the cache.

use arca_build::{Builder, CacheItem, PruneRequest};
use arca_wire::system::{BuildPruneResponse, CacheRecord};
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;

use crate::error::ApiError;
use crate::http::{Query, json};

/// Removes what no build uses from the cache.
pub(super) async fn prune(
    State(builder): State<Builder>,
    query: Query,
) -> Result<Response, ApiError> {
    let reserved = match size(&query, "reserved-space")? {
        0 => size(&query, "keep-storage")?,
        size => size,
    };
    let request = PruneRequest {
        all: query.flag("all"),
        filters: query.filters()?.into_map(),
        keep_duration: None,
        reserved_space: reserved,
        max_used_space: size(&query, "max-used-space")?,
        min_free_space: size(&query, "min-free-space")?,
    };
    request.check().map_err(|error| {
        let text = arca_types::chain(&error);
        ApiError::bad(format!("failed to prune build cache: {text}"))
    })?;
    let pruned = builder.prune(&request).await?;
    let deleted: Vec<String> = pruned.items.into_iter().map(|item| item.id).collect();
    let answer = BuildPruneResponse {
        caches_deleted: (!deleted.is_empty()).then_some(deleted),
        space_reclaimed: pruned.space_reclaimed,
    };
    Ok(json(StatusCode::OK, &answer))
}

fn size(query: &Query, name: &str) -> Result<u64, ApiError> {
    let number = query.number(name)?.unwrap_or(0);
    u64::try_from(number)
        .map_err(|_negative| ApiError::bad(format!("{name} is invalid: must not be negative")))
}

/// Something in the cache, as the API shows it.
pub(crate) fn cache_item(item: CacheItem) -> CacheRecord {
    CacheRecord {
        id: item.id,
        parent: String::new(),
        parents: Vec::new(),
        kind: item.kind,
        description: item.description,
        in_use: item.in_use,
        shared: item.shared,
        size: i64::try_from(item.size).unwrap_or(i64::MAX),
        created_at: item.created.to_string(),
        last_used_at: Some(item.last_used.to_string()),
        usage_count: i64::try_from(item.uses).unwrap_or(i64::MAX),
    }
}
