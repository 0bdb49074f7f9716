//! Ports and endpoints between the API's words and the network service's.

use std::collections::BTreeMap;
use std::net::IpAddr;

use arca_networks::{PortSpec, PublishedPort, Sandbox};

use crate::Error;
use crate::model::{ContainerSpec, Port, PortBinding, Protocol};

/// Parses a host port or a range of them; `None` for any free one.
///
/// # Errors
/// [`Error::Invalid`] with dockerd's text.
pub(crate) fn host_range(text: &str) -> Result<Option<(u16, u16)>, Error> {
    if text.is_empty() || text == "0" {
        return Ok(None);
    }
    let invalid = || Error::Invalid(format!("invalid port specification: \"{text}\""));
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let number = |text: &str| text.parse::<u16>().map_err(|_error| invalid());
    let (first, last) = (number(first)?, number(last)?);
    if first > last {
        Err(invalid())
    } else {
        Ok(Some((first, last)))
    }
}

/// Parses an address of the host; `None` for all.
///
/// # Errors
/// [`Error::Invalid`] with dockerd's text.
pub(crate) fn host_address(text: &str) -> Result<Option<IpAddr>, Error> {
    let bare = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(text);
    if bare.is_empty() {
        return Ok(None);
    }
    let invalid = || Error::Invalid(format!("invalid IP address: \"{text}\""));
    bare.parse().map(Some).map_err(|_error| invalid())
}

/// What a container publishes.
///
/// # Errors
/// [`Error::Invalid`] for what is not a port or an address.
pub(crate) fn wanted(spec: &ContainerSpec) -> Result<Vec<PortSpec>, Error> {
    let mut all = Vec::new();
    let bindings = spec.host.port_bindings.as_ref();
    for (port, bindings) in bindings.into_iter().flatten() {
        for binding in bindings {
            all.push(PortSpec {
                protocol: convert(port.protocol),
                container_port: port.number,
                host_ip: host_address(&binding.host_ip)?,
                host_ports: host_range(&binding.host_port)?,
            });
        }
    }
    if spec.host.publish_all_ports {
        for port in &spec.exposed_ports {
            let bound = bindings
                .and_then(|all| all.get(port))
                .is_some_and(|b| !b.is_empty());
            if !bound {
                all.push(PortSpec {
                    protocol: convert(port.protocol),
                    container_port: port.number,
                    host_ip: None,
                    host_ports: None,
                });
            }
        }
    }
    Ok(all)
}

/// What inspect shows: every port that is exposed or published, with where it is published.
pub(crate) fn shown(
    spec: &ContainerSpec,
    sandbox: &Sandbox,
) -> BTreeMap<Port, Option<Vec<PortBinding>>> {
    let mut all: BTreeMap<Port, Option<Vec<PortBinding>>> = spec
        .exposed_ports
        .iter()
        .map(|port| (*port, None))
        .collect();
    let bound = spec.host.port_bindings.iter().flatten();
    for (port, _) in bound.filter(|(_, bindings)| !bindings.is_empty()) {
        all.entry(*port).or_default();
    }
    let mut published: Vec<&PublishedPort> = sandbox.ports.iter().collect();
    published.sort_by_key(|port| (port.container_port, port.host_ip.is_ipv6(), port.host_port));
    for port in published {
        let protocol = match port.protocol {
            arca_networks::Protocol::Tcp => Protocol::Tcp,
            arca_networks::Protocol::Udp => Protocol::Udp,
            arca_networks::Protocol::Sctp => Protocol::Sctp,
        };
        let key = Port {
            number: port.container_port,
            protocol,
        };
        all.entry(key)
            .or_default()
            .get_or_insert_default()
            .push(PortBinding {
                host_ip: port.host_ip.to_string(),
                // None of the host leads there: the container has an address that others reach.
                host_port: match port.host_port {
                    0 => String::new(),
                    number => number.to_string(),
                },
            });
    }
    all
}

fn convert(protocol: Protocol) -> arca_networks::Protocol {
    match protocol {
        Protocol::Tcp => arca_networks::Protocol::Tcp,
        Protocol::Udp => arca_networks::Protocol::Udp,
        Protocol::Sctp => arca_networks::Protocol::Sctp,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_ports_are_one_or_a_range_or_any() {
        assert_eq!(host_range("").unwrap(), None);
        assert_eq!(host_range("0").unwrap(), None);
        assert_eq!(host_range("80").unwrap(), Some((80, 80)));
        assert_eq!(host_range("80-90").unwrap(), Some((80, 90)));
        let error = host_range("x").unwrap_err().to_string();
        assert_eq!(error, "invalid port specification: \"x\"");
    }

    #[test]
    fn all_exposed_ports_can_be_published() {
        let mut spec = ContainerSpec::default();
        spec.exposed_ports.insert("80/tcp".parse().unwrap());
        spec.exposed_ports.insert("53/udp".parse().unwrap());
        spec.host.publish_all_ports = true;
        let binding = PortBinding {
            host_ip: "::1".into(),
            host_port: "8080".into(),
        };
        spec.host.port_bindings = Some([("80/tcp".parse().unwrap(), vec![binding])].into());
        let ports = wanted(&spec).unwrap();
        assert_eq!(ports.len(), 2);
        assert_eq!(ports[0].host_ports, Some((8080, 8080)));
        assert_eq!((ports[1].container_port, ports[1].host_ports), (53, None));
    }
}
