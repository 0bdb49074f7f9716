//! `GET /volumes/{name}`.

use arca_volumes::{Volume, Volumes};
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
    let found = volumes.get(&name)?;
    let shown = volume::Volume {
        status: volumes.status(&name).await,
        ..volume(&volumes, &found)
    };
    Ok(json(StatusCode::OK, &shown))
}

/// A volume as it is shown everywhere. Times of volumes are whole seconds.
pub(crate) fn volume(volumes: &Volumes, found: &Volume) -> volume::Volume {
    let created = arca_types::Timestamp::from_unix(found.created_at.seconds(), 0);
    volume::Volume {
        created_at: created.to_string(),
        driver: found.driver.clone(),
        labels: found.labels.clone(),
        mountpoint: volumes.path(&found.name).to_string_lossy().into_owned(),
        name: found.name.clone(),
        options: found.options.clone(),
        scope: found.scope.clone(),
        status: None,
        usage_data: None,
    }
}
