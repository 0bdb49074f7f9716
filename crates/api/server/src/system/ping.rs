//! `/_ping`: whether the engine is there, and what it can do.

use axum::Router;
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, PRAGMA};

use crate::compat::served;

/// BuildKit is 2.
const BUILDER: (HeaderName, &str) = (HeaderName::from_static("builder-version"), "2");
const SWARM: (HeaderName, &str) = (HeaderName::from_static("swarm"), "inactive");

/// `/_ping` alone, which needs no engine: a client is to learn at once that the daemon is there.
pub(crate) fn early() -> Router {
    let route = axum::routing::get(ping).head(ping_head);
    Router::new().route(
        "/_ping",
        route.route_layer(axum::middleware::from_fn(served)),
    )
}

/// `GET`: `OK`.
pub(super) async fn ping() -> Response {
    answer("OK")
}

/// `HEAD`: the headers alone; the length is 0, as dockerd has it.
pub(super) async fn ping_head() -> Response {
    answer("")
}

fn answer(body: &'static str) -> Response {
    let headers = [
        BUILDER,
        SWARM,
        (CACHE_CONTROL, "no-cache, no-store, must-revalidate"),
        (PRAGMA, "no-cache"),
        (CONTENT_TYPE, "text/plain; charset=utf-8"),
    ];
    (headers, body).into_response()
}
