//! `/build`: the classic builder; `/build/prune` and `/build/cancel`. `/grpc` and `/session` are refused until
//! BuildKit's services are there; `/_ping` does not announce them, so that clients do not try.

mod cancel;
mod classic;
mod prune;
mod request;
mod stream;

use crate::error::ApiError;
use crate::routes::{Support::*, routes};

pub(crate) use prune::cache_item;

routes! {
    POST "/build" "ImageBuild" classic::build, Partial("version=2 is refused");
    POST "/build/prune" "BuildPrune" prune::prune, Full;
    POST "/build/cancel" "" cancel::cancel, Full;
    POST "/session" "Session" refused, Refused;
    POST "/grpc" "" refused, Refused;
}

async fn refused() -> Result<(), ApiError> {
    Err(ApiError::unsupported(
        "building images with BuildKit is not supported yet",
    ))
}
