//! `POST /volumes/create`.

use arca_volumes::{CreateRequest, Volumes};
use arca_wire::volume::VolumeCreateRequest;
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;

use super::volume;
use crate::error::ApiError;
use crate::http::{JsonBody, json};
use crate::swarm::no_manager;

/// Makes a volume, or returns the one of that name: 201.
pub(super) async fn create(
    State(volumes): State<Volumes>,
    JsonBody(body): JsonBody<VolumeCreateRequest>,
) -> Result<Response, ApiError> {
    let VolumeCreateRequest {
        name,
        driver,
        driver_opts,
        labels,
        cluster_volume_spec,
    } = body;
    if cluster_volume_spec.is_some() {
        return Err(no_manager());
    }
    let some = |text: String| (!text.is_empty()).then_some(text);
    let request = CreateRequest {
        name: some(name),
        driver: some(driver),
        options: driver_opts,
        labels,
    };
    let made = volumes.create(request).await?;
    Ok(json(StatusCode::CREATED, &volume(&volumes, &made)))
}
