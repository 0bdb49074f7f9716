//! `/build`, `/grpc`, `/session`: refused until there is a builder. `/_ping` does not announce BuildKit,
//! so that clients do not try.

use arca_wire::system::BuildPruneResponse;
use axum::response::Response;
use http::StatusCode;

use crate::error::ApiError;
use crate::http::json;
use crate::routes::{Support::*, routes};

routes! {
    POST "/build" "ImageBuild" refused, Refused;
    POST "/build/prune" "BuildPrune" prune, Partial("there is no build cache: nothing is reclaimed");
    POST "/build/cancel" "" refused, Refused;
    POST "/session" "Session" refused, Refused;
    POST "/grpc" "" refused, Refused;
}

/// There is no cache to prune. `docker system prune` asks for it in any case.
async fn prune() -> Response {
    json(StatusCode::OK, &BuildPruneResponse::default())
}

async fn refused() -> Result<(), ApiError> {
    Err(ApiError::unsupported(
        "building images is not supported yet",
    ))
}
