//! `GET /exec/{id}/json`.

use arca_containers::{Containers, ExecView};
use arca_wire::exec::{ExecInspect, ProcessConfig};
use axum::extract::{Path, State};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;

use crate::error::ApiError;
use crate::http::json;

/// Shows an exec session; `ExitCode` is `null` until it has ended.
pub(super) async fn inspect(
    State(containers): State<Containers>,
    Path(id): Path<String>,
) -> Result<Response, ApiError> {
    let view = containers.exec_inspect(&id).await?;
    Ok(json(StatusCode::OK, &answer(view)))
}

fn answer(view: ExecView) -> ExecInspect {
    let request = view.request;
    ExecInspect {
        id: view.id.to_string(),
        running: view.running,
        exit_code: view.exit_code,
        process_config: ProcessConfig {
            tty: request.tty,
            entrypoint: view.entrypoint,
            arguments: view.arguments,
            privileged: Some(request.privileged),
            user: view.user,
        },
        open_stdin: request.streams.stdin,
        open_stderr: request.streams.stderr,
        open_stdout: request.streams.stdout,
        can_remove: view.can_remove,
        container_id: view.container.to_string(),
        detach_keys: STANDARD.encode(view.detach_keys),
        pid: view.pid,
    }
}
