//! `POST /containers/{id}/wait`.

use arca_containers::{Containers, WaitCondition, WaitOutcome};
use arca_wire::container::{WaitError, WaitResponse};
use axum::extract::{Path, State};
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream;
use http::StatusCode;

use crate::compat::ApiVersion;
use crate::error::ApiError;
use crate::http::{Client, Query, chunks, json};

/// Answers when the condition holds. Since 1.30 the head of the answer is sent at once, so that a client
/// knows that it waits before it starts the container.
pub(super) async fn wait(
    State(containers): State<Containers>,
    Path(id): Path<String>,
    version: ApiVersion,
    query: Query,
    client: Client,
) -> Result<Response, ApiError> {
    let condition = condition(version, &query)?;
    let waiting = containers.wait(&id, condition)?;
    if version.before(30) {
        let outcome = client
            .unless_gone(waiting.outcome())
            .await
            .unwrap_or_else(gone);
        return Ok(json(StatusCode::OK, &answer(outcome)));
    }
    let silent = version.before(34) && condition == WaitCondition::Removed;
    let body = stream::once(async move { encode(waiting.outcome().await, silent) });
    Ok(chunks(client, "application/json", body))
}

fn condition(version: ApiVersion, query: &Query) -> Result<WaitCondition, ApiError> {
    if version.before(30) {
        return Ok(WaitCondition::NotRunning);
    }
    match query.text("condition") {
        "" | "not-running" => Ok(WaitCondition::NotRunning),
        "next-exit" => Ok(WaitCondition::NextExit),
        "removed" => Ok(WaitCondition::Removed),
        other => Err(ApiError::bad(format!("invalid condition: \"{other}\""))),
    }
}

/// `silent`: a removal that failed was told by an empty body.
fn encode(outcome: WaitOutcome, silent: bool) -> Result<Bytes, serde_json::Error> {
    if silent && outcome.error.is_some() {
        return Ok(Bytes::new());
    }
    let mut bytes = serde_json::to_vec(&answer(outcome))?;
    bytes.push(b'\n');
    Ok(bytes.into())
}

fn answer(outcome: WaitOutcome) -> WaitResponse {
    WaitResponse {
        error: outcome.error.map(|message| WaitError { message }),
        status_code: i64::from(outcome.exit_code),
    }
}

/// Nobody reads this answer any more.
fn gone() -> WaitOutcome {
    WaitOutcome {
        exit_code: -1,
        error: Some("context canceled".to_owned()),
    }
}
