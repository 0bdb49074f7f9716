//! `GET /networks`.

use arca_networks::{Filter, Networks};
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;

use super::inspect::network;
use crate::compat::{ApiVersion, lists_containers};
use crate::error::ApiError;
use crate::http::{Query, filters::Filters, json};

/// Lists networks.
pub(super) async fn list(
    State(networks): State<Networks>,
    version: ApiVersion,
    query: Query,
) -> Result<Response, ApiError> {
    let filter = filter(query.filters()?)?;
    let with_containers = lists_containers(version);
    let listed: Vec<_> = networks
        .list(&filter)
        .iter()
        .map(|inspected| network(inspected, with_containers))
        .collect();
    Ok(json(StatusCode::OK, &listed))
}

fn filter(filters: Filters) -> Result<Filter, ApiError> {
    let filters = filters.only(&["dangling", "driver", "id", "label", "name", "scope", "type"])?;
    let values = |name: &str| filters.get(name).to_vec();
    Ok(Filter {
        names: values("name"),
        ids: values("id"),
        drivers: values("driver"),
        scopes: values("scope"),
        labels: values("label"),
        kinds: kinds(filters.get("type"))?,
        dangling: dangling(filters.get("dangling"))?,
    })
}

fn kinds(values: &[String]) -> Result<Vec<bool>, ApiError> {
    let kind = |value: &String| match value.as_str() {
        "builtin" => Ok(true),
        "custom" => Ok(false),
        // 500, as dockerd has it
        other => Err(ApiError::internal(&format!(
            "invalid filter: 'type'='{other}'"
        ))),
    };
    values.iter().map(kind).collect()
}

fn dangling(values: &[String]) -> Result<Option<bool>, ApiError> {
    match values {
        [] => Ok(None),
        [value] if matches!(value.as_str(), "true" | "1") => Ok(Some(true)),
        [value] if matches!(value.as_str(), "false" | "0") => Ok(Some(false)),
        [_] => Err(ApiError::bad(
            "invalid value for filter 'dangling', must be \"true\" (or \"1\"), or \"false\" (or \"0\")",
        )),
        _ => Err(ApiError::bad(
            "got more than one value for filter key \"dangling\"",
        )),
    }
}
