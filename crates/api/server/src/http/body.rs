//! JSON bodies, with dockerd's checks.

use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::extract::{FromRequest, Request};
use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::DeserializeOwned;

use crate::error::ApiError;

/// No JSON body of the API comes near this.
const LIMIT: usize = 16 << 20;
/// A client has so long to send one.
const DEADLINE: Duration = Duration::from_secs(120);

/// A JSON body that may be missing, and is the default then.
#[derive(Debug)]
pub(crate) struct JsonBody<T>(pub(crate) T);

/// A JSON body that has to be there.
#[derive(Debug)]
pub(crate) struct RequiredJson<T>(pub(crate) T);

impl<S: Sync, T: DeserializeOwned + Default> FromRequest<S> for JsonBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        let (parts, body) = request.into_parts();
        let empty = body.is_end_stream();
        check_type(&parts.headers, empty)?;
        if empty {
            return Ok(Self(T::default()));
        }
        decode(&read(body).await?).map(Self)
    }
}

impl<S: Sync, T: DeserializeOwned> FromRequest<S> for RequiredJson<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        let (parts, body) = request.into_parts();
        check_type(&parts.headers, body.is_end_stream())?;
        decode(&read(body).await?).map(Self)
    }
}

async fn read(body: Body) -> Result<Bytes, ApiError> {
    match tokio::time::timeout(DEADLINE, Limited::new(body, LIMIT).collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(ApiError::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "http: request body too large",
        )),
        Ok(Err(error)) => Err(ApiError::bad(format!(
            "cannot read the request body: {error}"
        ))),
        Err(_) => Err(ApiError::new(
            StatusCode::REQUEST_TIMEOUT,
            "timeout reading the request body",
        )),
    }
}

fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    if body.trim_ascii().is_empty() {
        return Err(ApiError::bad(
            "invalid JSON: got EOF while reading request body",
        ));
    }
    let value = arca_wire::decode(body).map_err(|e| ApiError::bad(format!("invalid JSON: {e}")))?;
    if arca_wire::decode::has_trailing_content(body) {
        return Err(ApiError::bad("unexpected content after JSON"));
    }
    Ok(value)
}

fn check_type(headers: &HeaderMap, empty: bool) -> Result<(), ApiError> {
    let given = headers
        .get(header::CONTENT_TYPE)
        .map_or(&b""[..], |value| value.as_bytes());
    let given = String::from_utf8_lossy(given);
    if given.is_empty() && empty {
        return Ok(());
    }
    let kind = given.split(';').next().unwrap_or_default().trim();
    if kind.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    if kind.is_empty() {
        return Err(ApiError::bad(format!(
            "malformed Content-Type header ({given}): mime: no media type"
        )));
    }
    Err(ApiError::bad(format!(
        "unsupported Content-Type header ({kind}): must be 'application/json'"
    )))
}
