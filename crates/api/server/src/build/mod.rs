//! `/build`: the classic builder; `/build/prune` and `/build/cancel`. BuildKit's services are
//! in `buildkit/`.

mod cancel;
mod classic;
mod prune;
mod request;
mod stream;

use crate::routes::{Support::*, routes};

pub(crate) use prune::cache_item;

routes! {
    POST "/build" "ImageBuild" classic::build, Partial("version=2 is refused");
    POST "/build/prune" "BuildPrune" prune::prune, Full;
    POST "/build/cancel" "" cancel::cancel, Full;
}
