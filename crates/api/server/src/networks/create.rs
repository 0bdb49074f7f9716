//! `POST /networks/create`.

use arca_networks::{NetworkSpec, Networks, PoolSpec};
use arca_wire::network::{
    ConfigReference, Ipam, IpamConfig, NetworkCreateRequest, NetworkCreateResponse,
};
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;

use crate::compat::ApiVersion;
use crate::error::ApiError;
use crate::http::{JsonBody, json};

/// Makes a network: 201 with its ID.
pub(super) async fn create(
    State(networks): State<Networks>,
    version: ApiVersion,
    JsonBody(mut body): JsonBody<NetworkCreateRequest>,
) -> Result<Response, ApiError> {
    if version.before(48) {
        // not known then
        body.enable_ipv4 = None;
    }
    let id = networks.create(spec(body)).await?;
    let made = networks.resolve(id.as_str()).ok();
    let answer = NetworkCreateResponse {
        id: id.to_string(),
        warning: made.map_or_else(String::new, |network| of_idle(&network.ipam)),
    };
    Ok(json(StatusCode::CREATED, &answer))
}

/// Tells of subnets that nobody will get an address from; dockerd says nothing.
fn of_idle(ipam: &arca_networks::Ipam) -> String {
    let told = ipam.idle.iter().map(|pool| {
        let family = if pool.subnet.addr().is_ipv4() { 4 } else { 6 };
        format!(
            "IPv{family} is not enabled: subnet {} is not used",
            pool.subnet
        )
    });
    told.collect::<Vec<_>>().join("; ")
}

fn spec(body: NetworkCreateRequest) -> NetworkSpec {
    let NetworkCreateRequest {
        name,
        // names are always checked
        check_duplicate: _,
        driver,
        scope,
        enable_ipv4,
        enable_ipv6,
        ipam,
        internal,
        attachable,
        ingress,
        config_only,
        config_from,
        options,
        labels,
    } = body;
    let Ipam {
        driver: ipam_driver,
        options: ipam_options,
        config,
    } = ipam.unwrap_or_default();
    let ConfigReference {
        network: config_from,
    } = config_from.unwrap_or_default();
    NetworkSpec {
        name,
        driver,
        scope,
        ipv4: enable_ipv4,
        ipv6: enable_ipv6,
        ipam_driver,
        ipam_options,
        pools: config.unwrap_or_default().into_iter().map(pool).collect(),
        internal,
        attachable,
        ingress,
        config_only,
        config_from,
        options,
        labels,
    }
}

fn pool(config: IpamConfig) -> PoolSpec {
    let IpamConfig {
        subnet,
        ip_range,
        gateway,
        auxiliary_addresses,
    } = config;
    PoolSpec {
        subnet,
        range: ip_range,
        gateway,
        auxiliary: auxiliary_addresses,
    }
}
