//! `POST /commit`.

use arca_containers::{CommitRequest, Containers};
use arca_wire::IdResponse;
use arca_wire::container::{Config, CreateRequest};
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;

use crate::convert::container_spec;
use crate::error::ApiError;
use crate::http::{JsonBody, Query, json};

/// Makes an image of a container: 201 with its ID.
pub(super) async fn commit(
    State(containers): State<Containers>,
    query: Query,
    JsonBody(config): JsonBody<Option<Config>>,
) -> Result<Response, ApiError> {
    let config = config.map(|config| {
        container_spec(CreateRequest {
            config: Some(config),
            ..CreateRequest::default()
        })
    });
    let request = CommitRequest {
        repo: query.text("repo").to_owned(),
        tag: query.text("tag").to_owned(),
        comment: query.text("comment").to_owned(),
        author: query.text("author").to_owned(),
        changes: query.all("changes"),
        config: config.transpose()?,
        pause: query.text("pause").is_empty() || query.flag("pause"),
    };
    let id = containers.commit(query.text("container"), request).await?;
    Ok(json(
        StatusCode::CREATED,
        &IdResponse { id: id.to_string() },
    ))
}
