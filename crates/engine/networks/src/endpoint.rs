//! Endpoints: what a container asks of a network, and what it gets.

use std::net::{Ipv4Addr, Ipv6Addr};

use arca_net::{EndpointConfig, Exposure, MacAddr};
use arca_types::{ContainerId, EndpointId};

use crate::addresses::{Assigned, gateways};
use crate::check::{canonical, check, refuse_configuration};
use crate::error::Error;
use crate::network::Network;
use crate::options::{BridgeOptions, EXPOSURE, EndpointOptions, GatewayMode, exposure};
use crate::recover::assigned;
use crate::service::State;
use crate::spec::{Endpoint, EndpointSpec, SandboxSpec};
use crate::sublink::{SubLinkOptions, is_sublink};
use crate::translate::{BRIDGE, local_mac};

/// Makes the endpoints a container asks for; when one cannot be, none has taken an address.
pub(crate) fn endpoints(
    state: &mut State,
    id: &ContainerId,
    spec: &SandboxSpec,
) -> Result<Vec<Endpoint>, Error> {
    let mut made: Vec<Endpoint> = Vec::new();
    for wish in &spec.endpoints {
        match endpoint(state, id, spec, wish, &made) {
            Ok(endpoint) => made.push(endpoint),
            Err(error) => {
                made.iter().for_each(|endpoint| release(state, endpoint));
                return Err(error);
            }
        }
    }
    choose_default_route(&mut made);
    Ok(made)
}

/// Gives the addresses of an endpoint back.
pub(crate) fn release(state: &mut State, endpoint: &Endpoint) {
    if let Some(addresses) = state.addresses.get_mut(&endpoint.network) {
        addresses.release(assigned(endpoint));
    }
}

/// Makes one endpoint and takes its addresses.
pub(crate) fn endpoint(
    state: &mut State,
    id: &ContainerId,
    sandbox: &SandboxSpec,
    wish: &EndpointSpec,
    others: &[Endpoint],
) -> Result<Endpoint, Error> {
    let network = state.resolve(canonical(&wish.network))?.clone();
    if others.iter().any(|other| other.network == network.id) {
        let (name, network) = (sandbox.name.clone(), network.name);
        return Err(Error::EndpointExists { name, network });
    }
    refuse_configuration(&network)?;
    check(&network, wish)?;
    let endpoint_id = EndpointId::random();
    if network.driver != BRIDGE && !is_sublink(&network.driver) {
        return Ok(without_interface(endpoint_id, &network, wish));
    }
    let way = Way::of(&network, sandbox.exposure.as_deref(), state.exposure)?;
    let interface = match EndpointOptions::parse(&wish.driver_opts)?.interface {
        Some(name) => name,
        None => free_interface(&way.interface_prefix, others),
    };
    if interface == "lo" || others.iter().any(|other| other.interface == interface) {
        return Err(Error::Invalid(format!(
            "interface name {interface} is used twice"
        )));
    }
    let assigned = match state.addresses.get_mut(&network.id) {
        Some(addresses) => addresses.assign(wish)?,
        None => Assigned::default(),
    };
    let (gateway4, gateway6) = gateways(&network);
    let mac = wish.mac.unwrap_or_else(|| match assigned.ipv4 {
        Some(net) => MacAddr::of_ipv4(net.addr()),
        None => local_mac(endpoint_id.as_str()),
    });
    let gateway4 = if way.by_link {
        assigned.ipv4.map(|_| Ipv4Addr::UNSPECIFIED)
    } else {
        gateway4
    };
    let gateway6 = if way.by_link {
        assigned.ipv6.map(|_| Ipv6Addr::UNSPECIFIED)
    } else {
        gateway6
    };
    let reachable = !network.internal && !way.leads_nowhere;
    Ok(Endpoint {
        host_link: EndpointConfig::host_link_of(endpoint_id.as_str()),
        interface,
        mac: Some(mac),
        ipv4: assigned.ipv4,
        gateway4: gateway4.filter(|_| reachable),
        ipv6: assigned.ipv6,
        gateway6: gateway6.filter(|_| reachable),
        publishes: reachable && way.publishes,
        routed4: way.routed.0,
        routed6: way.routed.1,
        exposure: way.exposure,
        dns_names: dns_names(&network, id, (&sandbox.name, &sandbox.hostname), wish),
        ..without_interface(endpoint_id, &network, wish)
    })
}

fn without_interface(id: EndpointId, network: &Network, wish: &EndpointSpec) -> Endpoint {
    Endpoint {
        id,
        network: network.id.clone(),
        network_name: network.name.clone(),
        spec: wish.clone(),
        interface: String::new(),
        host_link: String::new(),
        mac: None,
        ipv4: None,
        gateway4: None,
        ipv6: None,
        gateway6: None,
        default4: false,
        default6: false,
        publishes: false,
        routed4: false,
        routed6: false,
        exposure: Exposure::Open,
        dns_names: Vec::new(),
    }
}

/// What a network's driver means for its endpoints.
struct Way {
    interface_prefix: String,
    /// Whether published ports lead there at all.
    publishes: bool,
    /// Whether they are open at the endpoint's own address, for IPv4 and IPv6.
    routed: (bool, bool),
    /// Who reaches them.
    exposure: Exposure,
    /// Whether packets leave without a gateway.
    by_link: bool,
    /// Whether there is nothing outside.
    leads_nowhere: bool,
}

impl Way {
    /// `label` is what the container says about who reaches its ports, `default` what the daemon does.
    fn of(network: &Network, label: Option<&str>, default: Exposure) -> Result<Self, Error> {
        let label = label.map(|value| exposure(EXPOSURE, value)).transpose()?;
        if is_sublink(&network.driver) {
            let options = SubLinkOptions::parse(&network.driver, &network.options)?;
            return Ok(Self {
                interface_prefix: "eth".to_owned(),
                publishes: false,
                routed: (false, false),
                exposure: Exposure::Open,
                by_link: options.routes_by_link(),
                leads_nowhere: options.parent.is_none(),
            });
        }
        let options = BridgeOptions::parse(&network.options)?;
        Ok(Self {
            interface_prefix: options.interface_prefix,
            publishes: true,
            routed: (
                options.mode4 == GatewayMode::Routed,
                options.mode6 == GatewayMode::Routed,
            ),
            exposure: label.or(options.exposure).unwrap_or(default),
            by_link: false,
            leads_nowhere: false,
        })
    }
}

/// The first of `eth0`, `eth1`, .. that no endpoint has.
fn free_interface(prefix: &str, others: &[Endpoint]) -> String {
    let mut number = 0_u32;
    loop {
        let name = format!("{prefix}{number}");
        if !others.iter().any(|other| other.interface == name) {
            return name;
        }
        number += 1;
    }
}

/// The names of a container on a user-defined network.
pub(crate) fn dns_names(
    network: &Network,
    id: &ContainerId,
    (name, hostname): (&str, &str),
    wish: &EndpointSpec,
) -> Vec<String> {
    if network.predefined {
        return Vec::new();
    }
    let mut names: Vec<String> = Vec::new();
    let aliases = wish.aliases.iter().map(String::as_str);
    for name in [name]
        .into_iter()
        .chain(aliases)
        .chain([id.short(), hostname])
    {
        if !name.is_empty() && !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
    }
    names
}

/// Marks the endpoints that the default routes go through, for each family: the highest priority, then dual
/// stack, then the order of names.
pub(crate) fn choose_default_route(endpoints: &mut [Endpoint]) {
    let best = |has: fn(&Endpoint) -> bool| {
        let with_gateway = endpoints.iter().enumerate().filter(|(_, one)| has(one));
        let best = with_gateway.max_by_key(|(_, endpoint)| {
            let both = endpoint.gateway4.is_some() && endpoint.gateway6.is_some();
            let name = std::cmp::Reverse(endpoint.network_name.clone());
            (endpoint.spec.gw_priority, both, name)
        });
        best.map(|(index, _)| index)
    };
    let best4 = best(|endpoint| endpoint.gateway4.is_some());
    let best6 = best(|endpoint| endpoint.gateway6.is_some());
    for (index, endpoint) in endpoints.iter_mut().enumerate() {
        endpoint.default4 = Some(index) == best4;
        endpoint.default6 = Some(index) == best6;
    }
}
