//! `POST /grpc`: the client calls.

use arca_buildkit::BuildKit;
use axum::extract::State;
use axum::response::Response;

use super::stream;
use crate::error::ApiError;
use crate::http::Hijack;
use crate::state::Sessions;

pub(super) async fn grpc(
    State((buildkit, sessions)): State<(BuildKit, Sessions)>,
    hijack: Hijack,
) -> Result<Response, ApiError> {
    let (response, connection) = hijack.accept_h2c()?;
    sessions.spawn(async move {
        match connection.await.and_then(stream) {
            Ok((socket, early)) => buildkit.serve(socket, early).await,
            Err(error) => tracing::debug!(%error, "the client went away before it was served"),
        }
    });
    Ok(response)
}
