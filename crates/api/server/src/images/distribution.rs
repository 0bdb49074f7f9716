//! `GET /distribution/{name}/json`.

use crate::error::ApiError;

/// 501.
pub(super) async fn distribution() -> Result<(), ApiError> {
    Err(ApiError::unsupported(
        "inspecting images in registries is not supported yet",
    ))
}
