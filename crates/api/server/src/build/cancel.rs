//! `POST /build/cancel`.

use arca_build::Builder;
use axum::extract::State;

use crate::error::ApiError;
use crate::http::Query;

/// Ends the build of this ID; one that has ended is no error.
pub(super) async fn cancel(State(builder): State<Builder>, query: Query) -> Result<(), ApiError> {
    let id = query.text("id");
    if id.is_empty() {
        return Err(ApiError::bad("build ID not provided"));
    }
    let found = builder.cancel(id);
    tracing::debug!(id, found, "a build is to end");
    Ok(())
}
