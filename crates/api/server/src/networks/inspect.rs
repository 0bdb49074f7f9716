//! `GET /networks/{id}`.

use arca_networks::{EndpointSummary, Inspected, IpamPool, Networks};
use arca_wire::network::{ConfigReference, Ipam, IpamConfig, Network, NetworkContainer};
use axum::extract::{Path, State};
use axum::response::Response;
use http::StatusCode;

use crate::error::ApiError;
use crate::http::{Query, json, quoted};

/// Shows a network and who is on it. `verbose` tells more of swarm networks only, and those are not here.
pub(super) async fn inspect(
    State(networks): State<Networks>,
    Path(id): Path<String>,
    query: Query,
) -> Result<Response, ApiError> {
    verbose(query.text("verbose"))?;
    let scope = query.text("scope");
    if !matches!(scope, "" | "local") {
        return Err(arca_networks::Error::NotFound(id).into());
    }
    let inspected = networks.inspect(&id)?;
    Ok(json(StatusCode::OK, &network(&inspected, true)))
}

/// Go's `ParseBool`, which is stricter than other flags.
fn verbose(text: &str) -> Result<(), ApiError> {
    match text {
        "" | "0" | "1" | "t" | "f" | "T" | "F" => Ok(()),
        _ if matches!(text, "true" | "TRUE" | "True" | "false" | "FALSE" | "False") => Ok(()),
        _ => Err(ApiError::bad(format!(
            "invalid value for verbose: {text}: strconv.ParseBool: parsing {}: invalid syntax",
            quoted(text)
        ))),
    }
}

/// A network on the wire, with its containers or without.
pub(super) fn network(inspected: &Inspected, with_containers: bool) -> Network {
    let network = &inspected.network;
    let pools = network.ipam.shown();
    let containers = inspected.containers.iter().filter(|_| with_containers);
    Network {
        name: network.name.clone(),
        id: network.id.to_string(),
        created: network.created.to_string(),
        scope: "local".to_owned(),
        driver: network.driver.clone(),
        enable_ipv4: network.ipv4,
        enable_ipv6: network.ipv6,
        ipam: Ipam {
            driver: network.ipam.driver.clone(),
            options: network.ipam.options.clone(),
            config: (!pools.is_empty()).then(|| pools.into_iter().map(pool).collect()),
        },
        internal: network.internal,
        attachable: network.attachable,
        ingress: false,
        config_from: ConfigReference {
            network: network.config_from.clone(),
        },
        config_only: network.config_only,
        containers: containers
            .map(|(id, one)| (id.to_string(), container(one)))
            .collect(),
        options: network.options.clone(),
        labels: network.labels.clone(),
    }
}

fn pool(pool: &IpamPool) -> IpamConfig {
    let text = |value: &dyn std::fmt::Display| value.to_string();
    IpamConfig {
        subnet: pool.subnet.to_string(),
        ip_range: pool
            .range
            .as_ref()
            .map(|range| text(range))
            .unwrap_or_default(),
        gateway: if pool.shows_gateway {
            pool.gateway.to_string()
        } else {
            String::new()
        },
        auxiliary_addresses: pool
            .auxiliary
            .iter()
            .map(|(k, v)| (k.clone(), text(v)))
            .collect(),
    }
}

fn container(endpoint: &EndpointSummary) -> NetworkContainer {
    NetworkContainer {
        name: endpoint.name.clone(),
        endpoint_id: endpoint.endpoint.to_string(),
        mac_address: endpoint.mac.map(|mac| mac.to_string()).unwrap_or_default(),
        ipv4_address: endpoint.ipv4.map(|ip| ip.to_string()).unwrap_or_default(),
        ipv6_address: endpoint.ipv6.map(|ip| ip.to_string()).unwrap_or_default(),
    }
}
