//! `/volumes`.

mod create;
mod inspect;
mod list;
mod prune;
mod remove;

pub(crate) use inspect::volume;

use crate::routes::{Support::*, routes};

routes! {
    GET "/volumes" "VolumeList" list::list, Full;
    POST "/volumes/create" "VolumeCreate" create::create, Full;
    POST "/volumes/prune" "VolumePrune" prune::prune, Full;
    GET "/volumes/{name}" "VolumeInspect" inspect::inspect, Full;
    DELETE "/volumes/{name}" "VolumeDelete" remove::remove, Full;
}
