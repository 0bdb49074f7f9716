//! `/exec`, and `/containers/{id}/exec`.

mod create;
mod inspect;
mod resize;
mod start;

use crate::routes::{Support::*, routes};

routes! {
    POST "/containers/{id}/exec" "ContainerExec" create::create, Full;
    POST "/exec/{id}/start" "ExecStart" start::start, Full;
    POST "/exec/{id}/resize" "ExecResize" resize::resize, Full;
    GET "/exec/{id}/json" "ExecInspect" inspect::inspect, Full;
}
