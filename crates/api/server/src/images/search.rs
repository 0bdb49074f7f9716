//! `GET /images/search`.

use crate::error::ApiError;

/// 501.
pub(super) async fn search() -> Result<(), ApiError> {
    Err(ApiError::unsupported(
        "searching for images is not supported yet",
    ))
}
