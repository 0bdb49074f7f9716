//! `POST /exec/{id}/start`.

use arca_containers::{Containers, ExecSession, ExecStartRequest};
use arca_wire::exec::ExecStartRequest as Body;
use arca_wire::frame::{Stream, frame};
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;

use crate::compat::{ApiVersion, exec_console_size};
use crate::containers::content_type;
use crate::error::ApiError;
use crate::http::{Connection, Hijack, JsonBody};
use crate::state::Sessions;

/// Starts an exec session: 200 when nobody attaches, else the connection becomes the session.
pub(super) async fn start(
    State((containers, sessions)): State<(Containers, Sessions)>,
    Path(id): Path<String>,
    version: ApiVersion,
    hijack: Hijack,
    JsonBody(Body {
        detach,
        tty,
        console_size,
    }): JsonBody<Body>,
) -> Result<Response, ApiError> {
    let console_size = exec_console_size(version, console_size);
    let session = containers.exec_start(
        &id,
        ExecStartRequest {
            detach,
            tty,
            console_size,
        },
    )?;
    if detach {
        session.run_detached().await?;
        return Ok(StatusCode::OK.into_response());
    }
    let (response, connection) = hijack.accept(content_type(version, session.tty))?;
    sessions.spawn(async move {
        match connection.await {
            Ok(connection) => run(session, connection).await,
            Err(error) => tracing::debug!(%error, "an exec session ended before it began"),
        }
    });
    Ok(response)
}

/// Runs the session. Our descriptor of the connection is closed last: whoever sees its end may ask for
/// the exit code. A failure to start is told on the stream, as the answer has been sent.
async fn run(session: ExecSession, mut connection: Connection) {
    let tty = session.tty;
    let ended = match connection.parts() {
        Ok((socket, early)) => session.connect(socket, early).await,
        Err(error) => return tracing::warn!(%error, "cannot hand a connection on"),
    };
    let Err(error) = ended else { return };
    let text = format!("{}\r\n", arca_types::chain(&error));
    let bytes = if tty {
        text.into()
    } else {
        frame(Stream::Stdout, text.as_bytes())
    };
    if let Err(error) = connection.send(&bytes).await {
        tracing::debug!(%error, "the client of an exec session is gone");
    }
}
