//! What dockerd says when it is not in a swarm, including what it checks before it notices.

use http::StatusCode;

use crate::error::ApiError;
use crate::http::{JsonBody, Query, quoted};

type Answer = Result<(), ApiError>;

/// 503: there is no manager here.
pub(super) async fn not_manager() -> Answer {
    Err(no_manager())
}

/// What is said wherever only a manager could help.
pub(crate) fn no_manager() -> ApiError {
    ApiError::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to connect \
         this node to swarm and try again.",
    )
}

/// 503: there is no swarm to leave.
pub(super) async fn not_part() -> Answer {
    Err(ApiError::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "This node is not part of a swarm",
    ))
}

/// `PUT /volumes/{name}`: 503, it is for cluster volumes.
pub(super) async fn no_cluster_volumes() -> Answer {
    Err(ApiError::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "volume update only valid for cluster volumes, but swarm is unavailable",
    ))
}

/// What is read of a request to enter a swarm.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Entrance {
    listen_addr: String,
}

/// `POST /swarm/init` and `/swarm/join`: 501, as arca cannot be in a swarm.
pub(super) async fn no_swarm_mode(JsonBody(entrance): JsonBody<Entrance>) -> Answer {
    if entrance.listen_addr.is_empty() {
        return Err(ApiError::bad(
            "invalid ListenAddr \"\": invalid empty address",
        ));
    }
    Err(ApiError::unsupported("swarm mode is not supported"))
}

/// Logs of services and tasks want a stream first.
pub(super) async fn no_stream(query: Query) -> Answer {
    if query.flag("stdout") || query.flag("stderr") {
        return not_manager().await;
    }
    Err(ApiError::internal(
        "Bad parameters: you must choose at least one stream",
    ))
}

async fn version(query: &Query, what: &str) -> Answer {
    let text = query.text("version");
    if text.parse::<u64>().is_ok() {
        return not_manager().await;
    }
    Err(ApiError::bad(format!(
        "invalid {what} version '{text}': strconv.ParseUint: parsing {}: invalid syntax",
        quoted(text)
    )))
}

pub(super) async fn bad_swarm_version(query: Query) -> Answer {
    version(&query, "swarm").await
}

pub(super) async fn bad_node_version(query: Query) -> Answer {
    version(&query, "node").await
}

pub(super) async fn bad_service_version(query: Query) -> Answer {
    version(&query, "service").await
}

async fn short_version(query: &Query, what: &str) -> Answer {
    if query.text("version").parse::<u64>().is_ok() {
        return not_manager().await;
    }
    Err(ApiError::bad(format!("invalid {what} version")))
}

pub(super) async fn bad_secret_version(query: Query) -> Answer {
    short_version(&query, "secret").await
}

pub(super) async fn bad_config_version(query: Query) -> Answer {
    short_version(&query, "config").await
}
