//! The answers.

use axum::extract::Path;
use axum::response::Response;
use http::StatusCode;

use crate::error::ApiError;
use crate::http::{Query, json};

/// No plugins.
pub(super) async fn list(query: Query) -> Result<Response, ApiError> {
    query.filters()?.only(&["capability", "enabled"])?;
    Ok(json::<[(); 0]>(StatusCode::OK, &[]))
}

/// 404: whatever it is called, it is not here.
pub(super) async fn not_found(Path(name): Path<String>) -> Result<(), ApiError> {
    Err(ApiError::new(
        StatusCode::NOT_FOUND,
        format!("plugin \"{name}\" not found"),
    ))
}

/// 501.
pub(super) async fn privileges(query: Query) -> Result<(), ApiError> {
    if query.text("remote").is_empty() {
        return Err(ApiError::internal("invalid reference format"));
    }
    install().await
}

/// 501.
pub(super) async fn install() -> Result<(), ApiError> {
    Err(ApiError::unsupported("installing plugins is not supported"))
}
