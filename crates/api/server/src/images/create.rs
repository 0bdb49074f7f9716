//! `POST /images/create`: pull, or import.

use arca_images::{Images, ImportRequest, PullRequest};
use axum::body::Body;
use axum::extract::{FromRequestParts, Request, State};
use axum::response::Response;
use http::request::Parts;

use super::auth::registry_auth;
use super::progress::report;
use crate::compat::ApiVersion;
use crate::containers::platform;
use crate::error::ApiError;
use crate::http::{Client, Query, request_bytes};

/// Pulls an image (`fromImage`) or imports one (`fromSrc`), and tells how far it is.
pub(super) async fn create(
    State(images): State<Images>,
    request: Request,
) -> Result<Response, ApiError> {
    let (mut parts, body) = request.into_parts();
    let Ok(query) = Query::from_request_parts(&mut parts, &()).await;
    match query.text("fromSrc") {
        "" => pull(images, parts, &query).await,
        source => import(images, parts, &query, (source, body)).await,
    }
}

async fn pull(images: Images, mut parts: Parts, query: &Query) -> Result<Response, ApiError> {
    let client = Client::from_request_parts(&mut parts, &()).await?;
    let auth = registry_auth(&parts.headers);
    let platform = platform(query, has_platform(&mut parts).await)?;
    let request = PullRequest::new(query.text("fromImage"), query.text("tag"), platform, auth)?;
    report(
        client,
        |sink| async move { images.pull(&request, &sink).await },
    )
    .await
}

/// The archive is the body (`-`), or at an address.
async fn import(
    images: Images,
    mut parts: Parts,
    query: &Query,
    (source, body): (&str, Body),
) -> Result<Response, ApiError> {
    let client = Client::from_request_parts(&mut parts, &()).await?;
    let platform = platform(query, has_platform(&mut parts).await)?;
    let (repo, tag, message) = (query.text("repo"), query.text("tag"), query.text("message"));
    let changes = query.all("changes");
    let request = ImportRequest::new(source, (repo, tag), message, &changes, platform)?;
    if source == "-" {
        let archive = Box::pin(request_bytes(body));
        let import = async move |sink| images.import(&request, archive, &sink).await.map(drop);
        return report(client, import).await;
    }
    let source = source.to_owned();
    let import = async move |sink| images.import_from(&request, &source, &sink).await.map(drop);
    report(client, import).await
}

/// Platforms came with 1.32.
async fn has_platform(parts: &mut Parts) -> bool {
    let Ok(version) = ApiVersion::from_request_parts(parts, &()).await;
    !version.before(32)
}
