//! `/images`, `/commit` and `/distribution`.

mod auth;
mod commit;
mod create;
mod distribution;
mod history;
mod inspect;
mod list;
mod load;
mod manifests;
mod platform;
mod progress;
mod prune;
mod push;
mod remove;
mod save;
mod search;
mod store;
mod tag;

pub(crate) use list::summary;
pub(crate) use progress::message;

use crate::routes::{Support::*, routes};

routes! {
    GET "/images/json" "ImageList" list::list, Full;
    POST "/images/create" "ImageCreate" create::create, Full;
    GET "/images/search" "ImageSearch" search::search, Full;
    POST "/images/prune" "ImagePrune" prune::prune, Full;
    GET "/images/get" "ImageGetAll" save::save_all, Full;
    POST "/images/load" "ImageLoad" load::load, Full;
    GET "/images/{name}/json" "ImageInspect" inspect::inspect, Full;
    GET "/images/{name}/history" "ImageHistory" history::history, Full;
    GET "/images/{name}/get" "ImageGet" save::save, Full;
    POST "/images/{name}/tag" "ImageTag" tag::tag, Full;
    POST "/images/{name}/push" "ImagePush" push::push, Full;
    DELETE "/images/{name}" "ImageDelete" remove::remove, Full;
    POST "/commit" "ImageCommit" commit::commit, Full;
    POST "/arca/images/gc" "" store::gc, Full;
    POST "/arca/images/verify" "" store::verify, Full;
    GET "/distribution/{name}/json" "DistributionInspect" distribution::distribution, Full;
}
