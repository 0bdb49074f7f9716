//! The version a client asks for.

use std::convert::Infallible;

use axum::extract::{FromRequestParts, Request};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{StatusCode, header};

use crate::error::ApiError;

/// The newest version, and what a path without a version means.
pub(crate) const API_VERSION: &str = "1.51";
/// The oldest version.
pub(crate) const MIN_API_VERSION: &str = "1.24";

const NEWEST: u32 = 51;
const OLDEST: u32 = 24;

/// A version of the API that is served: the number behind `1.`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ApiVersion(u32);

/// A version that is not served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Unserved {
    TooOld(String),
    TooNew(String),
}

impl ApiVersion {
    pub(crate) const NEWEST: Self = Self(NEWEST);

    /// Whether the client speaks a version before `1.{minor}`.
    pub(crate) fn before(self, minor: u32) -> bool {
        self.0 < minor
    }

    /// Splits `/v1.44/containers/json` into its version and the rest. A path without a version has the
    /// newest; the rest is empty when there is nothing behind the version.
    pub(crate) fn split(path: &str) -> (Result<Self, Unserved>, &str) {
        let unversioned = (Ok(Self::NEWEST), path);
        let Some(text) = path.strip_prefix("/v") else {
            return unversioned;
        };
        let (text, rest) = match text.find('/') {
            Some(at) => text.split_at(at),
            None => return unversioned,
        };
        if text.is_empty()
            || !text
                .bytes()
                .all(|byte| byte.is_ascii_digit() || byte == b'.')
        {
            return unversioned;
        }
        (Self::parse(text), rest)
    }

    fn parse(text: &str) -> Result<Self, Unserved> {
        let mut parts = text
            .split('.')
            .map(|part| part.parse::<u32>().unwrap_or_default());
        let (major, minor) = (
            parts.next().unwrap_or_default(),
            parts.next().unwrap_or_default(),
        );
        let more = parts.any(|part| part > 0);
        match (major, minor) {
            (0, _) | (1, ..OLDEST) => Err(Unserved::TooOld(text.to_owned())),
            (1, OLDEST..NEWEST) => Ok(Self(minor)),
            (1, NEWEST) if !more => Ok(Self(minor)),
            _ => Err(Unserved::TooNew(text.to_owned())),
        }
    }
}

impl IntoResponse for Unserved {
    fn into_response(self) -> Response {
        match self {
            // clients that old do not know JSON errors
            Self::TooOld(version) => {
                let text = format!(
                    "client version {version} is too old. Minimum supported API version is \
                     {MIN_API_VERSION}, please upgrade your client to a newer version\n"
                );
                let headers = [
                    (header::CONTENT_TYPE, "text/plain; charset=utf-8"),
                    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
                ];
                (StatusCode::BAD_REQUEST, headers, text).into_response()
            }
            Self::TooNew(version) => ApiError::bad(format!(
                "client version {version} is too new. Maximum supported API version is {API_VERSION}"
            ))
            .into_response(),
        }
    }
}

/// Lets a request of a served version through to its route; one of another gets the refusal there, since
/// a path that is none is not found in any version.
pub(crate) async fn served(mut request: Request, next: Next) -> Response {
    match request.extensions_mut().remove::<Unserved>() {
        Some(refusal) => refusal.into_response(),
        None => next.run(request).await,
    }
}

impl<S: Sync> FromRequestParts<S> for ApiVersion {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts
            .extensions
            .get::<Self>()
            .copied()
            .unwrap_or(Self::NEWEST))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_taken_off_the_path() {
        let split = |path| {
            let (version, rest) = ApiVersion::split(path);
            version.map(|version| (version.0, rest))
        };
        assert_eq!(split("/v1.24/info"), Ok((24, "/info")));
        assert_eq!(split("/v1.51.0/info"), Ok((51, "/info")));
        assert_eq!(split("/v1.30.7/info"), Ok((30, "/info")));
        assert_eq!(split("/info"), Ok((51, "/info")));
        assert_eq!(split("/volumes/x"), Ok((51, "/volumes/x")));
        assert_eq!(split("/vabc/info"), Ok((51, "/vabc/info")));
        assert_eq!(split("/v1.51"), Ok((51, "/v1.51")));
        assert_eq!(split("/v1.23/info"), Err(Unserved::TooOld("1.23".into())));
        for new in ["1.52", "2", "1.51.1"] {
            let path = format!("/v{new}/info");
            assert_eq!(
                ApiVersion::split(&path).0,
                Err(Unserved::TooNew(new.into()))
            );
        }
    }
}
