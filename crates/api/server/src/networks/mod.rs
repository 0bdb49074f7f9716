//! `/networks`.

mod connect;
mod create;
mod inspect;
mod list;
mod prune;
mod remove;

use crate::routes::{Support::*, routes};

routes! {
    GET "/networks" "NetworkList" list::list, Full;
    GET "/networks/" "" list::list, Full;
    POST "/networks/create" "NetworkCreate" create::create, Full;
    POST "/networks/prune" "NetworkPrune" prune::prune, Full;
    GET "/networks/{id}" "NetworkInspect" inspect::inspect, Full;
    DELETE "/networks/{id}" "NetworkDelete" remove::remove, Full;
    POST "/networks/{id}/connect" "NetworkConnect" connect::connect, Full;
    POST "/networks/{id}/disconnect" "NetworkDisconnect" connect::disconnect, Full;
}
