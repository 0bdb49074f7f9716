//! Endpoint settings.

use arca_containers::model::{Endpoint, EndpointRequest, IpamRequest};
use arca_wire::network::{EndpointIpamConfig, EndpointSettings};

use crate::error::ApiError;

/// What a client asks of an endpoint.
pub(crate) fn endpoint_request(settings: EndpointSettings) -> Result<EndpointRequest, ApiError> {
    let EndpointSettings {
        ipam_config,
        links,
        aliases,
        mac_address,
        driver_opts,
        gw_priority,
        // what inspect shows of a running endpoint: clients send it back, and it asks for nothing
        network_id: _,
        endpoint_id: _,
        gateway: _,
        ip_address: _,
        ip_prefix_len: _,
        ipv6_gateway: _,
        global_ipv6_address: _,
        global_ipv6_prefix_len: _,
        dns_names: _,
    } = settings;
    Ok(EndpointRequest {
        ipam: ipam_config.map(
            |EndpointIpamConfig {
                 ipv4_address,
                 ipv6_address,
                 link_local_ips,
             }| {
                IpamRequest {
                    ipv4_address,
                    ipv6_address,
                    link_local_ips: (!link_local_ips.is_empty()).then_some(link_local_ips),
                }
            },
        ),
        links,
        aliases,
        mac_address,
        driver_opts,
        gw_priority: i64::from(gw_priority),
    })
}

/// An endpoint as inspect shows it.
pub(super) fn endpoint_settings(endpoint: &Endpoint) -> EndpointSettings {
    let request = &endpoint.request;
    EndpointSettings {
        ipam_config: request.ipam.as_ref().map(|ipam| EndpointIpamConfig {
            ipv4_address: ipam.ipv4_address.clone(),
            ipv6_address: ipam.ipv6_address.clone(),
            link_local_ips: ipam.link_local_ips.clone().unwrap_or_default(),
        }),
        links: request.links.clone(),
        aliases: request.aliases.clone(),
        mac_address: endpoint.mac_address.clone(),
        driver_opts: request.driver_opts.clone(),
        gw_priority: i32::try_from(request.gw_priority).unwrap_or_default(),
        network_id: endpoint.network_id.clone(),
        endpoint_id: endpoint.endpoint_id.clone(),
        gateway: endpoint.gateway.clone(),
        ip_address: endpoint.ip_address.clone(),
        ip_prefix_len: endpoint.ip_prefix_len,
        ipv6_gateway: endpoint.ipv6_gateway.clone(),
        global_ipv6_address: endpoint.global_ipv6_address.clone(),
        global_ipv6_prefix_len: endpoint.global_ipv6_prefix_len,
        dns_names: endpoint.dns_names.clone(),
    }
}
