//! Answers and bodies that come in pieces.

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures_util::{Stream, StreamExt, TryStreamExt};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use std::io;

use super::Client;

/// An answer whose pieces are sent as they come, until the stream ends or the client is gone. The
/// headers are sent at once.
pub(crate) fn chunks<S, E>(client: Client, content_type: &'static str, stream: S) -> Response
where
    S: Stream<Item = Result<Bytes, E>> + Send + 'static,
    E: std::error::Error + Send + Sync + 'static,
{
    let stream = stream.take_until(Box::pin(async move { client.gone().await }));
    let mut response = Response::new(Body::from_stream(stream));
    *response.status_mut() = StatusCode::OK;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// An answer of JSON values, a line each.
pub(crate) fn lines<S, T>(client: Client, stream: S) -> Response
where
    S: Stream<Item = T> + Send + 'static,
    T: Serialize,
{
    let stream = stream.map(|value| {
        let mut line = serde_json::to_vec(&value)?;
        line.extend_from_slice(b"\n");
        Ok::<_, serde_json::Error>(Bytes::from(line))
    });
    chunks(client, "application/json", stream)
}

/// A request's body as the engine takes it.
pub(crate) fn request_bytes(
    body: Body,
) -> impl Stream<Item = io::Result<Bytes>> + Send + Unpin + 'static {
    body.into_data_stream().map_err(io::Error::other)
}
