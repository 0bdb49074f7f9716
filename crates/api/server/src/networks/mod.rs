//! `/networks`.

mod change;
mod inspect;
mod list;

use crate::routes::{Support::*, routes};

routes! {
    GET "/networks" "NetworkList" list::list, Full;
    POST "/networks/create" "NetworkCreate" change::create, Refused;
    POST "/networks/prune" "NetworkPrune" change::prune, Refused;
    GET "/networks/{id}" "NetworkInspect" inspect::inspect, Full;
    DELETE "/networks/{id}" "NetworkDelete" change::remove, Partial("only the predefined networks are there, and they stay");
    POST "/networks/{id}/connect" "NetworkConnect" change::connect, Refused;
    POST "/networks/{id}/disconnect" "NetworkDisconnect" change::disconnect, Refused;
}
