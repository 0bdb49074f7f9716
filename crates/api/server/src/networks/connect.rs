//! `POST /networks/{id}/connect` and `…/disconnect`.

use arca_containers::Containers;
use arca_wire::network::{NetworkConnectRequest, NetworkDisconnectRequest};
use axum::extract::{Path, State};

use crate::convert::endpoint_request;
use crate::error::ApiError;
use crate::http::JsonBody;

/// Puts a container on a network: 200, with nothing to say.
pub(super) async fn connect(
    State(containers): State<Containers>,
    Path(id): Path<String>,
    JsonBody(body): JsonBody<NetworkConnectRequest>,
) -> Result<(), ApiError> {
    let NetworkConnectRequest {
        container,
        endpoint_config,
    } = body;
    let request = endpoint_request(endpoint_config.unwrap_or_default())?;
    Ok(containers.connect(&container, id, request).await?)
}

/// Takes a container off a network: 200, with nothing to say.
pub(super) async fn disconnect(
    State(containers): State<Containers>,
    Path(id): Path<String>,
    JsonBody(body): JsonBody<NetworkDisconnectRequest>,
) -> Result<(), ApiError> {
    let NetworkDisconnectRequest { container, force } = body;
    Ok(containers.disconnect(&container, id, force).await?)
}
