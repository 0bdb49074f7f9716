//! Operations that tell how far they are.

use std::pin::Pin;

use arca_images::{Error, Progress, ProgressSink, bar};
use arca_types::chain;
use arca_wire::progress::{JsonMessage, ProgressDetail};
use axum::response::Response;
use bytes::Bytes;
use futures_util::{Stream, stream};
use serde_json::json;
use tokio::sync::mpsc::{self, Receiver};

use super::distribution::descriptor;
use crate::error::ApiError;
use crate::http::{Client, chunks};

/// Lines that may wait for a slow client before the operation has to.
const WAITING_LINES: usize = 64;

type Operation = Pin<Box<dyn Future<Output = Result<(), Error>> + Send>>;

/// Runs an operation and sends its progress. A failure before the first line is an error of its own, a
/// later one is the last line. The operation is given up when the client goes.
pub(super) async fn report<F>(
    client: Client,
    run: impl FnOnce(ProgressSink) -> F,
) -> Result<Response, ApiError>
where
    F: Future<Output = Result<(), Error>> + Send + 'static,
{
    let (sink, lines) = mpsc::channel(WAITING_LINES);
    let mut report = Report {
        lines,
        operation: Some(Box::pin(run(sink))),
    };
    let first = match client.unless_gone(report.first()).await {
        Some(first) => first?,
        None => None,
    };
    let lines = stream::iter(first.into_iter().map(encode));
    let all = futures_util::StreamExt::chain(lines, report.into_stream());
    Ok(chunks(client, "application/json", all))
}

struct Report {
    lines: Receiver<Progress>,
    /// `None` once it has ended.
    operation: Option<Operation>,
}

impl Report {
    /// The first line, if there is one at all.
    async fn first(&mut self) -> Result<Option<Progress>, ApiError> {
        match self.next().await {
            Some(Ok(progress)) => Ok(Some(progress)),
            Some(Err(error)) => Err(error.into()),
            None => Ok(None),
        }
    }

    /// The next line; what was told before the end comes before the failure.
    async fn next(&mut self) -> Option<Result<Progress, Error>> {
        if let Some(operation) = &mut self.operation {
            tokio::select! {
                biased;
                Some(line) = self.lines.recv() => return Some(Ok(line)),
                result = operation => {
                    self.operation = None;
                    if let Err(error) = result {
                        return match self.lines.try_recv() {
                            Ok(line) => {
                                self.operation = Some(Box::pin(async { Err(error) }));
                                Some(Ok(line))
                            }
                            Err(_nothing_left) => Some(Err(error)),
                        };
                    }
                }
            }
        }
        self.lines.recv().await.map(Ok)
    }

    fn into_stream(self) -> impl Stream<Item = Result<Bytes, serde_json::Error>> + Send {
        stream::unfold(Some(self), |report| async {
            let mut report = report?;
            match report.next().await? {
                Ok(progress) => Some((encode(progress), Some(report))),
                Err(error) => Some((line(&JsonMessage::failure(chain(&error))), None)),
            }
        })
    }
}

fn encode(progress: Progress) -> Result<Bytes, serde_json::Error> {
    line(&message(progress))
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

fn line(message: &JsonMessage) -> Result<Bytes, serde_json::Error> {
    let mut bytes = serde_json::to_vec(message)?;
    bytes.extend_from_slice(b"\r\n");
    Ok(bytes.into())
}
