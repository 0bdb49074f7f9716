//! `GET /containers/json`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use arca_containers::{Container, Containers, ListRequest, Listed};
use arca_types::{Clock, ContainerId, SystemClock, Timestamp};
use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use http::StatusCode;

use crate::compat::{self, ApiVersion};
use crate::convert::summary;
use crate::error::ApiError;
use crate::http::{Query, json_bytes};

/// Lists containers, the newest first.
pub(super) async fn list(
    State((containers, cache)): State<(Containers, Arc<ListCache>)>,
    version: ApiVersion,
    query: Query,
) -> Result<Response, ApiError> {
    let filters = query.filters()?.into_map();
    let (all, size) = (query.flag("all"), query.flag("size"));
    let request = ListRequest {
        all,
        limit: limit(&query)?,
        size,
        filters,
    };
    let listed = containers.list(request).await?;
    let now = SystemClock.now();
    Ok(json_bytes(
        StatusCode::OK,
        cache.encode(version, &listed, now)?,
    ))
}

fn limit(query: &Query) -> Result<usize, ApiError> {
    match query.number("limit") {
        Ok(limit) => Ok(limit
            .and_then(|limit| usize::try_from(limit).ok())
            .unwrap_or_default()),
        Err(error) => Err(ApiError::internal(error.message())),
    }
}

/// Containers as JSON, kept as long as they do not change: a list is mostly made of what the last one
/// was made of. Only the words of `Status` change by themselves, and they are part of the key.
#[derive(Debug, Default)]
pub(crate) struct ListCache(Mutex<HashMap<ContainerId, Cached>>);

#[derive(Debug)]
struct Cached {
    container: Arc<Container>,
    image: String,
    link_names: Vec<String>,
    status: String,
    json: Bytes,
}

impl ListCache {
    /// The whole list.
    fn encode(
        &self,
        version: ApiVersion,
        listed: &[Listed],
        now: Timestamp,
    ) -> Result<Bytes, ApiError> {
        let mut cache = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut body = Vec::with_capacity(listed.len() * 1280 + 3);
        body.push(b'[');
        for (index, listed) in listed.iter().enumerate() {
            if index > 0 {
                body.push(b',');
            }
            if version.before(48) || listed.size.is_some() {
                let mut summary = summary(listed, now);
                compat::container_list(version, &mut summary);
                serde_json::to_writer(&mut body, &summary).map_err(unencoded)?;
                continue;
            }
            let status = listed.container.status(now);
            match cache.get(&listed.container.id) {
                Some(known) if known.is_of(listed, &status) => body.extend_from_slice(&known.json),
                _ => {
                    let known = Cached::new(listed, status, now)?;
                    body.extend_from_slice(&known.json);
                    cache.insert(listed.container.id.clone(), known);
                }
            }
        }
        forget(&mut cache, listed);
        body.extend_from_slice(b"]\n");
        Ok(body.into())
    }
}

/// Drops containers that are gone, once there are too many of them.
fn forget(cache: &mut HashMap<ContainerId, Cached>, listed: &[Listed]) {
    if cache.len() > 2 * listed.len() + 64 {
        cache.retain(|id, _| listed.iter().any(|listed| listed.container.id == *id));
    }
}

impl Cached {
    fn new(listed: &Listed, status: String, now: Timestamp) -> Result<Self, ApiError> {
        Ok(Self {
            container: Arc::clone(&listed.container),
            image: listed.image.clone(),
            link_names: listed.link_names.clone(),
            status,
            json: serde_json::to_vec(&summary(listed, now))
                .map_err(unencoded)?
                .into(),
        })
    }

    fn is_of(&self, listed: &Listed, status: &str) -> bool {
        Arc::ptr_eq(&self.container, &listed.container)
            && self.image == listed.image
            && self.link_names == listed.link_names
            && self.status == status
    }
}

fn unencoded(error: serde_json::Error) -> ApiError {
    ApiError::internal(&format!("cannot encode the answer: {error}"))
}
