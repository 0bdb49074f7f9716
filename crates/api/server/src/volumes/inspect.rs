//! `GET /volumes/{name}`.

use arca_volumes::{Told, Volume, Volumes};
use arca_wire::volume;
use axum::extract::{Path, State};
use axum::response::Response;
use http::StatusCode;

use crate::error::ApiError;
use crate::http::json;

/// Shows a volume.
pub(super) async fn inspect(
    State(volumes): State<Volumes>,
    Path(name): Path<String>,
) -> Result<Response, ApiError> {
    let (found, told) = volumes.find(&name).await?;
    Ok(json(
        StatusCode::OK,
        &with_told(volume(&volumes, &found), told),
    ))
}

/// Adds what the driver tells of a volume.
pub(super) fn with_told(mut shown: volume::Volume, told: Told) -> volume::Volume {
    if shown.mountpoint.is_empty() {
        shown.mountpoint = told.mountpoint;
    }
    shown.status = told.status;
    shown
}

/// A volume as it is shown everywhere. Times of volumes are whole seconds.
pub(crate) fn volume(volumes: &Volumes, found: &Volume) -> volume::Volume {
    let created = arca_types::Timestamp::from_unix(found.created_at.seconds(), 0);
    volume::Volume {
        created_at: created.to_string(),
        driver: found.driver.clone(),
        labels: found.labels.clone(),
        mountpoint: volumes.mountpoint(found).to_string_lossy().into_owned(),
        name: found.name.clone(),
        options: found.options.clone(),
        scope: found.scope.clone(),
        status: None,
        usage_data: None,
    }
}
