//! `POST /networks/{id}/connect` and `…/disconnect`: containers keep the networks they were made with.

use arca_networks::Networks;
use arca_wire::network::{NetworkConnectRequest, NetworkDisconnectRequest};
use axum::extract::{Path, State};

use crate::error::ApiError;
use crate::http::JsonBody;

fn refused() -> Result<(), ApiError> {
    Err(ApiError::unsupported(
        "changing the networks of a container is not supported yet",
    ))
}

/// 501; 404 for a network that is not there.
pub(super) async fn connect(
    State(networks): State<Networks>,
    Path(id): Path<String>,
    JsonBody(_body): JsonBody<NetworkConnectRequest>,
) -> Result<(), ApiError> {
    networks.resolve(&id)?;
    refused()
}

/// 501; 404 for a network that is not there.
pub(super) async fn disconnect(
    State(networks): State<Networks>,
    Path(id): Path<String>,
    JsonBody(_body): JsonBody<NetworkDisconnectRequest>,
) -> Result<(), ApiError> {
    networks.resolve(&id)?;
    refused()
}
