//! Operations that tell how far they are: one JSON message a line.

use std::pin::Pin;

use arca_wire::progress::JsonMessage;
use axum::response::Response;
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use tokio::sync::mpsc::{self, Receiver, Sender};

use super::{Client, chunks};
use crate::error::ApiError;

/// Lines that may wait for a slow client before the operation has to.
const WAITING_LINES: usize = 64;

type Operation<E> = Pin<Box<dyn Future<Output = Result<(), E>> + Send>>;

/// How lines and failures are written.
#[derive(Debug)]
pub(crate) struct Words<L, E> {
    pub(crate) line: fn(L) -> JsonMessage,
    pub(crate) failure: fn(&E) -> JsonMessage,
}

/// Runs an operation and sends what it tells. A failure before the first line is an error of its own, a later
/// one is the last line. The operation is given up when the client goes.
pub(crate) async fn told<L, E, F>(
    client: Client,
    words: Words<L, E>,
    run: impl FnOnce(Sender<L>) -> F,
) -> Result<Response, ApiError>
where
    L: Send + 'static,
    E: Send + 'static,
    ApiError: From<E>,
    F: Future<Output = Result<(), E>> + Send + 'static,
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
    let first = first.map(|first| line(&(words.line)(first)));
    let all = stream::iter(first).chain(report.into_stream(words));
    Ok(chunks(client, "application/json", all))
}

/// As [`told`], but the answer begins at once: any failure is the last line of a success, as where dockerd
/// answers before it begins.
pub(crate) fn told_at_once<L, E, F>(
    client: Client,
    words: Words<L, E>,
    run: impl FnOnce(Sender<L>) -> F,
) -> Response
where
    L: Send + 'static,
    E: Send + 'static,
    F: Future<Output = Result<(), E>> + Send + 'static,
{
    let (sink, lines) = mpsc::channel(WAITING_LINES);
    let report = Report {
        lines,
        operation: Some(Box::pin(run(sink))),
    };
    chunks(client, "application/json", report.into_stream(words))
}

struct Report<L, E> {
    lines: Receiver<L>,
    /// `None` once it has ended.
    operation: Option<Operation<E>>,
}

impl<L, E> Report<L, E>
where
    L: Send + 'static,
    E: Send + 'static,
{
    /// The next line; what was told before the end comes before the failure.
    async fn next(&mut self) -> Option<Result<L, E>> {
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

    fn into_stream(
        self,
        words: Words<L, E>,
    ) -> impl Stream<Item = Result<Bytes, serde_json::Error>> + Send {
        stream::unfold(Some((self, words)), |state| async {
            let (mut report, words) = state?;
            match report.next().await? {
                Ok(told) => Some((line(&(words.line)(told)), Some((report, words)))),
                Err(error) => Some((line(&(words.failure)(&error)), None)),
            }
        })
    }
}

fn line(message: &JsonMessage) -> Result<Bytes, serde_json::Error> {
    let mut bytes = serde_json::to_vec(message)?;
    bytes.extend_from_slice(b"\r\n");
    Ok(bytes.into())
}
