//! Answers: JSON as dockerd writes it, with a line feed behind it.

use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;

use crate::error::ApiError;

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// `value` as JSON.
pub(crate) fn json<T: Serialize>(status: StatusCode, value: &T) -> Response {
    let mut bytes = Vec::with_capacity(256);
    match serde_json::to_writer(&mut bytes, value) {
        Ok(()) => {
            bytes.push(b'\n');
            json_bytes(status, bytes.into())
        }
        Err(error) => {
            ApiError::internal(&format!("cannot encode the answer: {error}")).into_response()
        }
    }
}

/// JSON that is encoded already.
pub(crate) fn json_bytes(status: StatusCode, bytes: Bytes) -> Response {
    let mut response = Response::new(bytes.into());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, JSON);
    response
}

/// The answer where there is no such path, or not with this method.
pub(crate) fn not_found_page() -> Response {
    ApiError::new(StatusCode::NOT_FOUND, "page not found").into_response()
}
