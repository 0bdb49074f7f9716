//! Saying no to what is not honoured.

use crate::error::ApiError;

/// Refuses `field` (501) when it is `set`.
pub(super) fn refuse(set: bool, field: &str, why: &str) -> Result<(), ApiError> {
    if set {
        Err(ApiError::unsupported(format!(
            "{field} is not supported: {why}"
        )))
    } else {
        Ok(())
    }
}
