//! `POST /containers/create`.

use arca_containers::{Containers, CreateRequest};
use arca_types::Platform;
use arca_wire::container::{CreateRequest as Body, CreateResponse};
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;

use crate::compat::{self, ApiVersion, has_platform_and_one_shot};
use crate::convert::{container_spec, drop_windows_limits};
use crate::error::ApiError;
use crate::http::{Query, RequiredJson, json};

/// Creates a container: 201 with its ID, and warnings.
pub(super) async fn create(
    State(containers): State<Containers>,
    version: ApiVersion,
    query: Query,
    RequiredJson(mut body): RequiredJson<Body>,
) -> Result<Response, ApiError> {
    if body.config.is_none() {
        return Err(ApiError::bad(
            "config cannot be empty in order to create a container",
        ));
    }
    let mut warnings = compat::create(version, &mut body)?;
    if let Some(host) = &mut body.host_config {
        warnings.extend(drop_windows_limits(host));
    }
    let spec = container_spec(body)?;
    let platform = platform(&query, has_platform_and_one_shot(version))?;
    let request = CreateRequest {
        name: query.some("name"),
        spec,
        platform,
    };
    let created = containers.create(request).await?;
    warnings.extend(created.warnings);
    Ok(json(
        StatusCode::CREATED,
        &CreateResponse {
            id: created.id.to_string(),
            warnings,
        },
    ))
}

/// The parameter `platform`, where this version has it.
pub(crate) fn platform(query: &Query, known: bool) -> Result<Option<Platform>, ApiError> {
    match query.text("platform") {
        text if known && !text.is_empty() => match text.parse() {
            Ok(platform) => Ok(Some(platform)),
            Err(error) => Err(ApiError::bad(arca_types::chain(&error))),
        },
        _ => Ok(None),
    }
}
