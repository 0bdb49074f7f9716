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
///
/// A terminal has at most 65535 of each.
pub(crate) fn size(query: &Query) -> Result<(u16, u16), ApiError> {
    Ok((side(query, "h", "height")?, side(query, "w", "width")?))
}

fn side(query: &Query, key: &str, name: &str) -> Result<u16, ApiError> {
    let text = query.text(key);
    let refused = |why: &str| ApiError::bad(format!("invalid resize {name} \"{text}\": {why}"));
    match text.parse::<i64>() {
        Ok(side) => match u32::try_from(side) {
            Ok(side) => Ok(u16::try_from(side).unwrap_or(u16::MAX)),
            Err(_) => Err(refused("value out of range")),
        },
        Err(error) => Err(refused(match error.kind() {
            IntErrorKind::PosOverflow | IntErrorKind::NegOverflow => "value out of range",
            _ => "invalid syntax",
        })),
    }
}
