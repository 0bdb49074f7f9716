//! `POST /containers/{id}/update`.

use arca_containers::{Containers, UpdateRequest};
use arca_wire::container::{UpdateConfig, UpdateResponse};
use axum::extract::{Path, State};
use axum::response::Response;
use http::StatusCode;

use crate::compat::{self, ApiVersion};
use crate::convert::{drop_windows_limits, resources, restart_policy};
use crate::error::ApiError;
use crate::http::{JsonBody, json};

/// Changes limits and the restart policy.
pub(super) async fn update(
    State(containers): State<Containers>,
    Path(id): Path<String>,
    version: ApiVersion,
    JsonBody(UpdateConfig(mut body)): JsonBody<UpdateConfig>,
) -> Result<Response, ApiError> {
    compat::update(version, &mut body);
    let mut warnings = drop_windows_limits(&mut body);
    let policy = std::mem::take(&mut body.restart_policy);
    let request = UpdateRequest {
        resources: resources(&mut body)?,
        restart_policy: if policy.name.is_empty() {
            None
        } else {
            Some(restart_policy(policy)?)
        },
    };
    warnings.extend(containers.update(&id, request).await?);
    let warnings = (!warnings.is_empty()).then_some(warnings);
    Ok(json(StatusCode::OK, &UpdateResponse { warnings }))
}
