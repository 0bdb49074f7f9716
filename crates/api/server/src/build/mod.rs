//! `/build`: the classic builder, and with `version=2` BuildKit; `/build/prune` and `/build/cancel`. BuildKit's services are
//! in `buildkit/`.

mod buildkit;
mod cancel;
mod classic;
mod prune;
mod request;
mod stream;

use crate::routes::{Support::*, routes};

pub(crate) use prune::cache_item;

routes! {
    POST "/build" "ImageBuild" classic::build, Full;
    POST "/build/prune" "BuildPrune" prune::prune, Full;
    POST "/build/cancel" "" cancel::cancel, Full;
}
