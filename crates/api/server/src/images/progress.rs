//! Operations that tell how far they are.

use arca_images::{Error, Progress, ProgressSink, bar};
use arca_types::chain;
use arca_wire::progress::{JsonMessage, ProgressDetail};
use axum::response::Response;
use serde_json::json;

use super::distribution::descriptor;
use crate::error::ApiError;
use crate::http::{Client, Words, told, told_at_once};

/// Runs an operation and sends its progress.
pub(super) async fn report<F>(
    client: Client,
    run: impl FnOnce(ProgressSink) -> F,
) -> Result<Response, ApiError>
where
    F: Future<Output = Result<(), Error>> + Send + 'static,
{
    told(client, words(), run).await
}

/// Runs an operation whose failures are told as its progress is.
pub(super) fn report_at_once<F>(client: Client, run: impl FnOnce(ProgressSink) -> F) -> Response
where
    F: Future<Output = Result<(), Error>> + Send + 'static,
{
    told_at_once(client, words(), run)
}

fn words() -> Words<Progress, Error> {
    Words {
        line: message,
        failure: |error| JsonMessage::failure(chain(error)),
    }
}

/// A line of progress as the API has it.
pub(crate) fn message(progress: Progress) -> JsonMessage {
    match progress {
        Progress::Status { id, status } => JsonMessage {
            status,
            id: id.unwrap_or_default(),
            ..JsonMessage::default()
        },
        Progress::Step { id, status, detail } => JsonMessage {
            status,
            id,
            progress: detail.map(bar).unwrap_or_default(),
            progress_detail: Some(detail.map_or_else(ProgressDetail::default, |detail| {
                ProgressDetail {
                    current: i64::try_from(detail.current).unwrap_or(i64::MAX),
                    total: i64::try_from(detail.total).unwrap_or(i64::MAX),
                    ..ProgressDetail::default()
                }
            })),
            ..JsonMessage::default()
        },
        Progress::Stream(stream) => JsonMessage {
            stream,
            ..JsonMessage::default()
        },
        Progress::Pushed { tag, target } => aux(json!({
            "Tag": tag,
            "Digest": target.digest.to_string(),
            "Size": target.size,
        })),
        Progress::PushedOneOfIndex { index, manifest } => aux(json!({
            "manifestPushedInsteadOfIndex": true,
            "originalIndex": descriptor(index),
            "selectedManifest": descriptor(manifest),
        })),
    }
}

fn aux(value: serde_json::Value) -> JsonMessage {
    JsonMessage {
        progress_detail: Some(ProgressDetail::default()),
        aux: Some(value),
        ..JsonMessage::default()
    }
}
