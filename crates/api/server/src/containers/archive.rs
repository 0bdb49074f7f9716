//! Files of containers: not there yet, and refused so that nothing looks copied that is not.

use axum::extract::Path;

use crate::error::ApiError;
use crate::http::Query;

fn refused<T>(what: &str) -> Result<T, ApiError> {
    Err(ApiError::unsupported(format!(
        "{what} is not supported yet"
    )))
}

fn checked(query: &Query) -> Result<(), ApiError> {
    if query.text("path").is_empty() {
        return Err(ApiError::bad("bad parameter: pathcannot be empty"));
    }
    refused("copying files from and to containers")
}

/// `GET /containers/{id}/changes`: 501.
pub(super) async fn changes(Path(_id): Path<String>) -> Result<(), ApiError> {
    refused("listing changed files of a container")
}

/// `GET /containers/{id}/export`: 501.
pub(super) async fn export(Path(_id): Path<String>) -> Result<(), ApiError> {
    refused("exporting a container")
}

/// `HEAD /containers/{id}/archive`: 501.
pub(super) async fn info(query: Query) -> Result<(), ApiError> {
    checked(&query)
}

/// `GET /containers/{id}/archive`: 501.
pub(super) async fn get(query: Query) -> Result<(), ApiError> {
    checked(&query)
}

/// `PUT /containers/{id}/archive`: 501.
pub(super) async fn put(query: Query) -> Result<(), ApiError> {
    checked(&query)
}
