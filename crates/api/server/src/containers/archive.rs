//! `/containers/{id}/archive`: files of containers as archives.

use arca_containers::{Containers, ExtractRequest};
use arca_wire::container::PathStat;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderName, HeaderValue, StatusCode};

use crate::error::ApiError;
use crate::http::{Client, Query, chunks, request_bytes};

/// What is at the path: base64 of JSON.
const STAT: HeaderName = HeaderName::from_static("x-docker-container-path-stat");

/// `HEAD /containers/{id}/archive`: what is at a path.
pub(super) async fn info(
    State(containers): State<Containers>,
    Path(id): Path<String>,
    query: Query,
) -> Result<Response, ApiError> {
    let stat = containers.path_stat(&id, path(&query)?).await?;
    let mut response = Response::new(Body::empty());
    response.headers_mut().insert(STAT, header(stat)?);
    Ok(response)
}

/// `GET /containers/{id}/archive`: an archive of what is at a path.
pub(super) async fn get(
    State(containers): State<Containers>,
    Path(id): Path<String>,
    query: Query,
    client: Client,
) -> Result<Response, ApiError> {
    let archive = containers.archive(&id, path(&query)?).await?;
    let stat = header(archive.stat.clone())?;
    let mut response = chunks(client, "application/x-tar", archive);
    response.headers_mut().insert(STAT, stat);
    Ok(response)
}

/// `PUT /containers/{id}/archive`: unpacks the body in a directory.
pub(super) async fn put(
    State(containers): State<Containers>,
    Path(id): Path<String>,
    query: Query,
    body: Body,
) -> Result<StatusCode, ApiError> {
    let request = ExtractRequest {
        path: path(&query)?.to_owned(),
        keep_directories: query.flag("noOverwriteDirNonDir"),
        copy_owner: query.flag("copyUIDGID"),
    };
    let archive = Box::pin(request_bytes(body));
    containers.extract(&id, request, archive).await?;
    Ok(StatusCode::OK)
}

fn path(query: &Query) -> Result<&str, ApiError> {
    match query.text("path") {
        "" => Err(ApiError::bad("bad parameter: pathcannot be empty")),
        path => Ok(path),
    }
}

fn header(stat: arca_containers::PathStat) -> Result<HeaderValue, ApiError> {
    let arca_containers::PathStat {
        name,
        size,
        mode,
        mtime,
        link_target,
    } = stat;
    let stat = PathStat {
        name,
        size,
        mode,
        mtime: mtime.to_string(),
        link_target,
    };
    let unfit = |_cause| ApiError::internal("the path cannot be told");
    let json = serde_json::to_vec(&stat).map_err(|error| unfit(error.to_string()))?;
    HeaderValue::try_from(STANDARD.encode(json)).map_err(|error| unfit(error.to_string()))
}
