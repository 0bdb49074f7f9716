//! `POST /containers/{id}/resize`.

use std::num::IntErrorKind;

use arca_containers::Containers;
use axum::extract::{Path, State};
use http::StatusCode;

use crate::error::ApiError;
use crate::http::Query;

/// Changes the size of a container's terminal: 200.
pub(super) async fn resize(
    State(containers): State<Containers>,
    Path(id): Path<String>,
    query: Query,
) -> Result<StatusCode, ApiError> {
    let (height, width) = size(&query)?;
    containers.resize(&id, height, width).await?;
    Ok(StatusCode::OK)
}

/// The parameters `h` and `w`: rows and columns.
pub(crate) fn size(query: &Query) -> Result<(u16, u16), ApiError> {
    Ok((side(query, "h", "height")?, side(query, "w", "width")?))
}

fn side(query: &Query, key: &str, name: &str) -> Result<u16, ApiError> {
    let text = query.text(key);
    text.parse::<u16>().map_err(|error| {
        let why = match error.kind() {
            IntErrorKind::PosOverflow => "value out of range",
            _ => "invalid syntax",
        };
        ApiError::bad(format!("invalid resize {name} \"{text}\": {why}"))
    })
}
