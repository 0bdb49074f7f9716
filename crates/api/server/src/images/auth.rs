//! The header `X-Registry-Auth`.

use arca_images::Auth;
use http::HeaderMap;

/// The credentials in the header; what cannot be read is none at all, as with dockerd.
pub(super) fn registry_auth(headers: &HeaderMap) -> Auth {
    let value = headers
        .get("x-registry-auth")
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    Auth::from_header(value).unwrap_or_else(|error| {
        tracing::debug!(%error, "X-Registry-Auth is passed over");
        Auth::Anonymous
    })
}
