//! `POST /exec/{id}/start`.

use arca_containers::{Containers, ExecStartRequest};
use arca_wire::exec::ExecStartRequest as Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;

use crate::compat::{ApiVersion, exec_console_size};
use crate::containers::content_type;
use crate::error::ApiError;
use crate::http::{Hijack, JsonBody};
use crate::state::Sessions;

/// Starts an exec session: 200 when nobody attaches, else the connection becomes the session.
pub(super) async fn start(
    State((containers, sessions)): State<(Containers, Sessions)>,
    Path(id): Path<String>,
    version: ApiVersion,
    hijack: Hijack,
    JsonBody(Body { detach, tty, console_size }): JsonBody<Body>,
) -> Result<Response, ApiError> {
    let console_size = exec_console_size(version, console_size);
    let session = containers.exec_start(&id, ExecStartRequest { detach, tty, console_size }).await?;
    if detach {
        session.run_detached().await?;
        return Ok(StatusCode::OK.into_response());
    }
    let (response, connection) = hijack.accept(content_type(version, session.tty))?;
    sessions.spawn(async move {
        match connection.await {
            Ok((socket, early)) => session.connect(socket, early).await,
            Err(error) => tracing::debug!(%error, "an exec session ended before it began"),
        }
    });
    Ok(response)
}
