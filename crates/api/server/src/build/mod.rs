//! `/build`, `/grpc`, `/session`: refused until there is a builder. `/_ping` does not announce BuildKit,
//! so that clients do not try.

use crate::error::ApiError;
use crate::routes::{Support::*, routes};

routes! {
    POST "/build" "ImageBuild" refused, Refused;
    POST "/build/prune" "BuildPrune" refused, Refused;
    POST "/build/cancel" "" refused, Refused;
    POST "/session" "Session" refused, Refused;
    POST "/grpc" "" refused, Refused;
}

async fn refused() -> Result<(), ApiError> {
    Err(ApiError::unsupported(
        "building images is not supported yet",
    ))
}
