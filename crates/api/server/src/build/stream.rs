//! The lines of a build.

use std::pin::Pin;

use arca_build::{ClassicLine, ClassicSink, Error};
use arca_types::chain;
use arca_wire::progress::{ErrorDetail, JsonMessage};
use axum::response::Response;
use bytes::Bytes;
use futures_util::{Stream, stream};
use serde_json::json;
use tokio::sync::mpsc::{self, Receiver};

use crate::error::ApiError;
use crate::http::{Client, chunks};
use crate::images::message;

/// Lines that may wait for a slow client before the build has to.
const WAITING_LINES: usize = 64;

type Operation = Pin<Box<dyn Future<Output = Result<(), Error>> + Send>>;

/// Runs a build and sends its lines. A failure before the first line is an error of its own, a later one is
/// the last line. The build is given up when the client goes.
pub(super) async fn report<F>(
    client: Client,
    run: impl FnOnce(ClassicSink) -> F,
) -> Result<Response, ApiError>
where
    F: Future<Output = Result<(), Error>> + Send + 'static,
{
    let (sink, lines) = mpsc::channel(WAITING_LINES);
    let mut report = Report {
        lines,
        operation: Some(Box::pin(run(sink))),
    };
    let first = match client.unless_gone(report.next()).await {
        Some(Some(first)) => Some(first?),
        Some(None) | None => None,
    };
    let lines = stream::iter(first.into_iter().map(encode));
    let all = futures_util::StreamExt::chain(lines, report.into_stream());
    Ok(chunks(client, "application/json", all))
}

struct Report {
    lines: Receiver<ClassicLine>,
    /// `None` once it has ended.
    operation: Option<Operation>,
}

impl Report {
    /// The next line; what was told before the end comes before the failure.
    async fn next(&mut self) -> Option<Result<ClassicLine, Error>> {
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
                Err(error) => Some((line(&failure(&error)), None)),
            }
        })
    }
}

/// The line that ends a build with a failure; of a command it has the exit code.
fn failure(error: &Error) -> JsonMessage {
    let message = chain(error);
    let code = match error {
        Error::Command { code, .. } => i64::from(*code),
        _ => 0,
    };
    JsonMessage {
        error: message.clone(),
        error_detail: Some(ErrorDetail { code, message }),
        ..JsonMessage::default()
    }
}

fn encode(told: ClassicLine) -> Result<Bytes, serde_json::Error> {
    line(&match told {
        ClassicLine::Stream(stream) => JsonMessage {
            stream,
            ..JsonMessage::default()
        },
        ClassicLine::Pulling(progress) => message(*progress),
        ClassicLine::Image(id) => JsonMessage {
            aux: Some(json!({ "ID": id.to_string() })),
            ..JsonMessage::default()
        },
    })
}

fn line(message: &JsonMessage) -> Result<Bytes, serde_json::Error> {
    let mut bytes = serde_json::to_vec(message)?;
    bytes.extend_from_slice(b"\r\n");
    Ok(bytes.into())
}
