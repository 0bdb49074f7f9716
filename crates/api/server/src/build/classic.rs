//! `POST /build`.

use arca_build::{Builder, ClassicContext};
use arca_buildkit::BuildKit;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::HeaderMap;

use super::request::{is_buildkit, request};
use super::stream::report;
use crate::error::ApiError;
use crate::http::{Client, Query, request_bytes};

/// Builds an image by the classic builder, or by BuildKit when that is asked for, and tells what happens.
pub(super) async fn build(
    State((builder, buildkit)): State<(Builder, BuildKit)>,
    query: Query,
    client: Client,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    if is_buildkit(&query)? {
        return super::buildkit::build(buildkit, &query, client, &headers, body).await;
    }
    let request = request(&query, &headers)?;
    let context = match query.text("remote") {
        "" | "client-session" => ClassicContext::Archive(Box::pin(request_bytes(body))),
        address => ClassicContext::Remote(address.to_owned()),
    };
    report(client, |sink| async move {
        builder
            .build_classic(request, context, sink)
            .await
            .map(drop)
    })
    .await
}
