//! `POST /containers/{id}/exec`.

use arca_containers::model::Streams;
use arca_containers::{Containers, ExecRequest};
use arca_wire::IdResponse;
use arca_wire::exec::ExecCreateRequest;
use axum::extract::{Path, State};
use axum::response::Response;
use http::StatusCode;

use crate::compat::{ApiVersion, exec_console_size};
use crate::error::ApiError;
use crate::http::{JsonBody, json};

/// Prepares a further process in a container: 201 with its ID.
pub(super) async fn create(
    State(containers): State<Containers>,
    Path(id): Path<String>,
    version: ApiVersion,
    JsonBody(body): JsonBody<ExecCreateRequest>,
) -> Result<Response, ApiError> {
    if body.cmd.is_empty() {
        return Err(ApiError::bad("No exec command specified"));
    }
    let exec = containers.exec_create(&id, request(version, body)).await?;
    Ok(json(
        StatusCode::CREATED,
        &IdResponse {
            id: exec.to_string(),
        },
    ))
}

fn request(version: ApiVersion, body: ExecCreateRequest) -> ExecRequest {
    let ExecCreateRequest {
        user,
        privileged,
        tty,
        console_size,
        attach_stdin,
        attach_stderr,
        attach_stdout,
        // said again, and for good, by the start
        detach: _,
        detach_keys,
        env,
        working_dir,
        cmd,
    } = body;
    ExecRequest {
        streams: Streams {
            stdin: attach_stdin,
            stdout: attach_stdout,
            stderr: attach_stderr,
        },
        tty,
        cmd,
        env,
        user,
        privileged,
        working_dir,
        detach_keys: (!detach_keys.is_empty()).then_some(detach_keys),
        console_size: exec_console_size(version, console_size),
    }
}
