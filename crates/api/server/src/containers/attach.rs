//! `POST /containers/{id}/attach` and `GET /containers/{id}/attach/ws`.

use arca_containers::model::Streams;
use arca_containers::{AttachRequest, Attachment, Containers};
use arca_wire::frame::{MULTIPLEXED, RAW};
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{WebSocket, WebSocketUpgrade};
use axum::extract::{Path, State};
use axum::response::Response;

use crate::compat::{ApiVersion, announces_frames, websocket_streams, websocket_text};
use crate::error::ApiError;
use crate::http::{Connection, Hijack, Query, bridge};
use crate::state::Sessions;

/// What a stream of this kind is announced as.
pub(crate) fn content_type(version: ApiVersion, tty: bool) -> &'static str {
    if !tty && announces_frames(version) {
        MULTIPLEXED
    } else {
        RAW
    }
}

/// Attaches: the connection becomes the session, carried by the container's shim.
pub(super) async fn attach(
    State((containers, sessions)): State<(Containers, Sessions)>,
    Path(id): Path<String>,
    version: ApiVersion,
    query: Query,
    hijack: Hijack,
) -> Result<Response, ApiError> {
    let streams = Streams {
        stdin: query.flag("stdin"),
        stdout: query.flag("stdout"),
        stderr: query.flag("stderr"),
    };
    let attachment = containers
        .attach(&id, request(&query, streams, None))
        .await?;
    let (response, connection) = hijack.accept(content_type(version, attachment.tty))?;
    sessions.spawn(async move {
        match connection.await {
            Ok(connection) => session(attachment, connection).await,
            Err(error) => tracing::debug!(%error, "attaching ended before it began"),
        }
    });
    Ok(response)
}

/// Sends what was logged before, if asked to, and then hands the connection on.
async fn session(mut attachment: Attachment, connection: Connection) {
    if let Some(replay) = attachment.replay.take()
        && let Err(error) = connection.send_all(replay).await
    {
        return tracing::debug!(%error, "a client has not taken its replay");
    }
    if !attachment.stream {
        return;
    }
    let ended = match connection.into_parts() {
        Ok((socket, early)) => attachment.connect(socket, early).await,
        Err(error) => return tracing::warn!(%error, "cannot hand a connection on"),
    };
    if let Err(error) = ended {
        tracing::warn!(error = %arca_types::chain(&error), "an attached session failed");
    }
}

fn request(query: &Query, streams: Streams, framed: Option<bool>) -> AttachRequest {
    AttachRequest {
        streams,
        logs: query.flag("logs"),
        stream: query.flag("stream"),
        detach_keys: query.some("detachKeys"),
        framed,
    }
}

/// Attaches by websocket: output comes as messages without frames.
pub(super) async fn websocket(
    State((containers, sessions)): State<(Containers, Sessions)>,
    Path(id): Path<String>,
    version: ApiVersion,
    query: Query,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, ApiError> {
    let all = !websocket_streams(version);
    let streams = Streams {
        stdin: all || query.flag_or("stdin", true),
        stdout: all || query.flag_or("stdout", true),
        stderr: all || query.flag_or("stderr", true),
    };
    let attachment = containers
        .attach(&id, request(&query, streams, Some(false)))
        .await?;
    let text = websocket_text(version);
    let upgrade = upgrade.map_err(|rejection| ApiError::bad(rejection.body_text()))?;
    Ok(upgrade.on_upgrade(async move |socket| {
        sessions.spawn(carry(attachment, socket, text));
    }))
}

async fn carry(attachment: Attachment, socket: WebSocket, text: bool) {
    let (connection, carrier) = match bridge(socket, text) {
        Ok(bridge) => bridge,
        Err(error) => return tracing::warn!(%error, "cannot make a socket pair"),
    };
    let (carried, ()) = tokio::join!(carrier, session(attachment, connection));
    if let Err(error) = carried {
        tracing::debug!(%error, "websocket session ended");
    }
}
