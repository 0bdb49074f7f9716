//! Making, changing and removing networks: only the predefined ones are there yet.

use arca_networks::{Error, Networks};
use arca_wire::network::{NetworkConnectRequest, NetworkCreateRequest, NetworkDisconnectRequest};
use axum::extract::{Path, State};

use crate::error::ApiError;
use crate::http::JsonBody;

fn refused() -> Result<(), ApiError> {
    Err(ApiError::unsupported(
        "user-defined networks are not supported yet",
    ))
}

/// `POST /networks/create`: 501, or the error that dockerd has for the name.
pub(super) async fn create(
    State(networks): State<Networks>,
    JsonBody(body): JsonBody<NetworkCreateRequest>,
) -> Result<(), ApiError> {
    if body.name.is_empty() {
        return Err(ApiError::bad("invalid name: name is empty"));
    }
    match networks.resolve(&body.name) {
        Ok(network) if network.predefined => Err(Error::PredefinedName(network.name).into()),
        _ => refused(),
    }
}

/// `POST /networks/prune`: 501.
pub(super) async fn prune() -> Result<(), ApiError> {
    refused()
}

/// `DELETE /networks/{id}`: 403 or 404, as the predefined networks are all there is.
pub(super) async fn remove(
    State(networks): State<Networks>,
    Path(id): Path<String>,
) -> Result<(), ApiError> {
    let network = networks.resolve(&id)?;
    Err(Error::Predefined(network.name).into())
}

/// `POST /networks/{id}/connect`: 501.
pub(super) async fn connect(
    State(networks): State<Networks>,
    Path(id): Path<String>,
    JsonBody(_body): JsonBody<NetworkConnectRequest>,
) -> Result<(), ApiError> {
    networks.resolve(&id)?;
    refused()
}

/// `POST /networks/{id}/disconnect`: 501.
pub(super) async fn disconnect(
    State(networks): State<Networks>,
    Path(id): Path<String>,
    JsonBody(_body): JsonBody<NetworkDisconnectRequest>,
) -> Result<(), ApiError> {
    networks.resolve(&id)?;
    refused()
}
