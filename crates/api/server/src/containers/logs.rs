//! `GET /containers/{id}/logs`.

use arca_containers::{Containers, LogsRequest};
use axum::extract::{Path, State};
use axum::response::Response;

use super::content_type;
use crate::compat::ApiVersion;
use crate::error::ApiError;
use crate::http::{Client, Query, chunks, timestamp};

/// Sends what a container wrote, framed unless it has a terminal.
pub(super) async fn logs(
    State(containers): State<Containers>,
    Path(id): Path<String>,
    version: ApiVersion,
    query: Query,
    client: Client,
) -> Result<Response, ApiError> {
    let request = request(&query)?;
    let logs = containers.logs(&id, request)?;
    Ok(chunks(client, content_type(version, logs.tty), logs))
}

fn request(query: &Query) -> Result<LogsRequest, ApiError> {
    let (stdout, stderr) = (query.flag("stdout"), query.flag("stderr"));
    if !stdout && !stderr {
        return Err(ApiError::bad(
            "Bad parameters: you must choose at least one stream",
        ));
    }
    Ok(LogsRequest {
        follow: query.flag("follow"),
        stdout,
        stderr,
        since: timestamp(query.text("since"))?,
        until: timestamp(query.text("until"))?,
        timestamps: query.flag("timestamps"),
        // `all`, and whatever is no number
        tail: query.text("tail").parse().ok(),
        details: query.flag("details"),
    })
}
