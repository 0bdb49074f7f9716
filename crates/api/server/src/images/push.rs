//! `POST /images/{name}/push`.

use crate::error::ApiError;

/// 501.
pub(super) async fn push() -> Result<(), ApiError> {
    Err(ApiError::unsupported("pushing images is not supported yet"))
}
