//! `POST /networks/prune`.

use arca_networks::{Networks, PruneFilter};
use arca_types::{Clock, SystemClock};
use arca_wire::network::NetworkPruneResponse;
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;

use crate::error::ApiError;
use crate::http::{Query, json, until};

/// Removes the networks that nobody uses.
pub(super) async fn prune(
    State(networks): State<Networks>,
    query: Query,
) -> Result<Response, ApiError> {
    let filters = query.filters()?.only(&["until", "label", "label!"])?;
    let until = match filters.get("until") {
        [] => None,
        [text] => Some(until(text, SystemClock.now())?),
        _ => return Err(ApiError::bad("more than one until filter specified")),
    };
    let filter = PruneFilter {
        until,
        labels: filters.get("label").to_vec(),
        without_labels: filters.get("label!").to_vec(),
    };
    let names = networks.prune(&filter).await?;
    let answer = NetworkPruneResponse {
        networks_deleted: (!names.is_empty()).then_some(names),
    };
    Ok(json(StatusCode::OK, &answer))
}
