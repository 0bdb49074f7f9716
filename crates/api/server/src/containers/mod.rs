//! `/containers`.

mod archive;
mod attach;
mod changes;
mod checkpoint;
mod create;
mod export;
mod inspect;
mod kill;
mod list;
mod logs;
mod pause;
mod prune;
mod remove;
mod rename;
mod resize;
mod start;
mod stats;
mod stop;
mod top;
mod update;
mod wait;

pub(crate) use attach::content_type;
pub(crate) use create::platform;
pub(crate) use list::ListCache;
pub(crate) use resize::size;

use crate::routes::{Support::*, routes};

routes! {
    GET "/containers/json" "ContainerList" list::list, Full;
    POST "/containers/create" "ContainerCreate" create::create, Partial("an option that is not honoured is refused by name");
    POST "/containers/prune" "ContainerPrune" prune::prune, Full;
    GET "/containers/{id}/json" "ContainerInspect" inspect::inspect, Full;
    GET "/containers/{id}/checkpoints" "" checkpoint::disabled, Refused;
    POST "/containers/{id}/checkpoints" "" checkpoint::disabled, Refused;
    DELETE "/containers/{id}/checkpoints/{checkpoint}" "" checkpoint::disabled, Refused;
    GET "/containers/{id}/top" "ContainerTop" top::top, Full;
    GET "/containers/{id}/logs" "ContainerLogs" logs::logs, Full;
    GET "/containers/{id}/changes" "ContainerChanges" changes::changes, Full;
    GET "/containers/{id}/export" "ContainerExport" export::export, Full;
    GET "/containers/{id}/stats" "ContainerStats" stats::stats, Full;
    POST "/containers/{id}/resize" "ContainerResize" resize::resize, Full;
    POST "/containers/{id}/start" "ContainerStart" start::start, Full;
    POST "/containers/{id}/stop" "ContainerStop" stop::stop, Full;
    POST "/containers/{id}/restart" "ContainerRestart" stop::restart, Full;
    POST "/containers/{id}/kill" "ContainerKill" kill::kill, Full;
    POST "/containers/{id}/update" "ContainerUpdate" update::update, Full;
    POST "/containers/{id}/rename" "ContainerRename" rename::rename, Full;
    POST "/containers/{id}/pause" "ContainerPause" pause::pause, Full;
    POST "/containers/{id}/unpause" "ContainerUnpause" pause::unpause, Full;
    POST "/containers/{id}/attach" "ContainerAttach" attach::attach, Full;
    GET "/containers/{id}/attach/ws" "ContainerAttachWebsocket" attach::websocket, Full;
    POST "/containers/{id}/wait" "ContainerWait" wait::wait, Full;
    DELETE "/containers/{id}" "ContainerDelete" remove::remove, Full;
    HEAD "/containers/{id}/archive" "ContainerArchiveInfo" archive::info, Full;
    GET "/containers/{id}/archive" "ContainerArchive" archive::get, Full;
    PUT "/containers/{id}/archive" "PutContainerArchive" archive::put, Full;
}
