//! `/containers/{id}/checkpoints`: an experiment of dockerd's, and answered as where it is disabled.

use crate::error::ApiError;

/// 501.
pub(super) async fn disabled() -> Result<(), ApiError> {
    Err(ApiError::unsupported(
        "This experimental feature is disabled by default. Start the Docker daemon in experimental mode in \
         order to enable it.",
    ))
}
