//! `GET /containers/{id}/stats`.

use arca_containers::{Containers, StatsRequest};
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use http::StatusCode;

use crate::compat::{ApiVersion, has_platform_and_one_shot};
use crate::convert::stats as wire;
use crate::error::ApiError;
use crate::http::{Client, Query, json, lines};

/// Sends what a container uses, once or every second.
pub(super) async fn stats(
    State(containers): State<Containers>,
    Path(id): Path<String>,
    version: ApiVersion,
    query: Query,
    client: Client,
) -> Result<Response, ApiError> {
    containers.get(&id)?;
    let stream = query.flag_or("stream", true);
    let one_shot = has_platform_and_one_shot(version) && query.flag("one-shot");
    if stream && one_shot {
        return Err(ApiError::bad("cannot have stream=true and one-shot=true"));
    }
    let mut samples = containers.stats(&id, StatsRequest { stream, one_shot })?;
    if stream {
        return Ok(lines(client, samples.map(|sample| wire(&sample))));
    }
    match client.unless_gone(samples.next()).await.flatten() {
        Some(sample) => {
            let mut stats = wire(&sample);
            if one_shot && sample.current.is_some() {
                // dockerd names a container that runs only where it has waited for a second sample
                (stats.id, stats.name) = Default::default();
            }
            Ok(json(StatusCode::OK, &stats))
        }
        // nobody waits for it any more
        None => Ok(StatusCode::OK.into_response()),
    }
}
