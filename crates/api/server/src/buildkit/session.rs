//! `POST /session`: the client is called.

use arca_buildkit::{BuildKit, SessionHeaders};
use axum::extract::State;
use axum::response::Response;
use http::HeaderMap;

use super::stream;
use crate::error::ApiError;
use crate::http::Hijack;
use crate::state::Sessions;

pub(super) async fn session(
    State((buildkit, sessions)): State<(BuildKit, Sessions)>,
    headers: HeaderMap,
    hijack: Hijack,
) -> Result<Response, ApiError> {
    let hijacked = hijack
        .accept_h2c()
        .map_err(|refused| ApiError::bad(refused.message()));
    let (response, connection) = hijacked?;
    let headers = read(&headers);
    if headers.id.is_empty() {
        return Err(ApiError::bad(
            "the header X-Docker-Expose-Session-Uuid is missing",
        ));
    }
    sessions.spawn(async move {
        match connection.await.and_then(stream) {
            Ok((socket, early)) => buildkit.session(headers, socket, early).await,
            Err(error) => tracing::debug!(%error, "the client went away before its session"),
        }
    });
    Ok(response)
}

/// The headers of BuildKit's `session/manager.go`.
fn read(headers: &HeaderMap) -> SessionHeaders {
    let all = |name: &str| {
        let values = headers.get_all(format!("x-docker-expose-session-{name}"));
        let values = values.iter().filter_map(|value| value.to_str().ok());
        values.map(str::to_owned).collect::<Vec<_>>()
    };
    let one = |name: &str| all(name).into_iter().next().unwrap_or_default();
    SessionHeaders {
        id: one("uuid"),
        name: one("name"),
        shared_key: one("sharedkey"),
        methods: all("grpc-method"),
    }
}
