//! `POST /commit`.

use crate::error::ApiError;

/// 501.
pub(super) async fn commit() -> Result<(), ApiError> {
    Err(ApiError::unsupported(
        "making an image of a container is not supported yet",
    ))
}
