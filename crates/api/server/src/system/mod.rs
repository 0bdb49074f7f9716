//! `/_ping`, `/version`, `/info`, `/events`, `/system/df`, `/auth`.

mod auth;
mod df;
mod events;
mod info;
mod ping;
mod version;

pub(crate) use ping::early;

use crate::routes::{Support::*, routes};

routes! {
    GET "/_ping" "SystemPing" ping::ping, Full;
    HEAD "/_ping" "SystemPingHead" ping::ping_head, Full;
    GET "/version" "SystemVersion" version::version, Full;
    GET "/info" "SystemInfo" info::info, Full;
    GET "/events" "SystemEvents" events::events, Full;
    GET "/system/df" "SystemDataUsage" df::df, Full;
    POST "/auth" "SystemAuth" auth::auth, Full;
}
