//! Ports and endpoints.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::Error;

/// Transport protocol of a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Protocol {
    Tcp,
    Udp,
    Sctp,
}

impl Protocol {
    /// The name that the API uses.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        }
    }
}

/// A port of the container, `80/tcp`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Port {
    /// Number.
    pub number: u16,
    /// Protocol.
    pub protocol: Protocol,
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.number, self.protocol.as_str())
    }
}

impl Port {
    /// Parses a port as [`FromStr`] does, or a range of them: `8000-8010/tcp`.
    ///
    /// # Errors
    /// [`Error::Invalid`] with dockerd's text.
    pub fn range(text: &str) -> Result<Vec<Self>, Error> {
        let (numbers, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        let Some((first, last)) = numbers.split_once('-') else {
            return text.parse().map(|port| vec![port]);
        };
        let first: Self = format!("{first}/{protocol}").parse()?;
        let last: Self = format!("{last}/{protocol}").parse()?;
        if first.number > last.number {
            return Err(Error::Invalid(format!(
                "invalid port specification: \"{text}\""
            )));
        }
        let numbers = first.number..=last.number;
        Ok(numbers.map(|number| Self { number, ..first }).collect())
    }
}

impl FromStr for Port {
    type Err = Error;

    /// Parses `80`, `80/tcp`, `53/UDP`.
    ///
    /// # Errors
    /// [`Error::Invalid`] with dockerd's text.
    fn from_str(text: &str) -> Result<Self, Error> {
        let invalid = || Error::Invalid(format!("invalid port specification: \"{text}\""));
        let (number, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        let protocol = match protocol.to_ascii_lowercase().as_str() {
            "tcp" => Protocol::Tcp,
            "udp" => Protocol::Udp,
            "sctp" => Protocol::Sctp,
            _ => return Err(invalid()),
        };
        match number.parse() {
            Ok(number) => Ok(Self { number, protocol }),
            Err(_) => Err(invalid()),
        }
    }
}

impl Serialize for Port {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Port {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Where a port of the container is published.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortBinding {
    /// Address of the host, empty for all.
    pub host_ip: String,
    /// Port or range of ports of the host, empty or `0` for a free one.
    pub host_port: String,
}

/// Addresses that a client asks for on a network.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IpamRequest {
    /// IPv4 address, empty for any.
    pub ipv4_address: String,
    /// IPv6 address, empty for any.
    pub ipv6_address: String,
    /// Link-local addresses.
    pub link_local_ips: Option<Vec<String>>,
}

/// Endpoint settings as a client gives them (`EndpointSettings`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EndpointRequest {
    /// Addresses.
    pub ipam: Option<IpamRequest>,
    /// Links.
    pub links: Option<Vec<String>>,
    /// Additional names of the container on this network.
    pub aliases: Option<Vec<String>>,
    /// MAC address, empty for any.
    pub mac_address: String,
    /// Options for the network's driver.
    pub driver_opts: Option<BTreeMap<String, String>>,
    /// Which network gives the default route: the highest.
    pub gw_priority: i64,
}

/// An endpoint as inspect shows it: what was asked for and, while the container runs, what it got.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Endpoint {
    /// What was asked for.
    pub request: EndpointRequest,
    /// ID of the network.
    pub network_id: String,
    /// ID of the endpoint.
    pub endpoint_id: String,
    /// MAC address in use.
    pub mac_address: String,
    /// IPv4 gateway.
    pub gateway: String,
    /// IPv4 address.
    pub ip_address: String,
    /// Its prefix length.
    pub ip_prefix_len: u8,
    /// IPv6 gateway.
    pub ipv6_gateway: String,
    /// IPv6 address.
    pub global_ipv6_address: String,
    /// Its prefix length.
    pub global_ipv6_prefix_len: u8,
    /// Names under which the container is found on this network; `None` on the default bridge.
    pub dns_names: Option<Vec<String>>,
}

impl Endpoint {
    /// The endpoint before it is made: a MAC address that was asked for is shown already.
    #[must_use]
    pub fn asked(request: EndpointRequest) -> Self {
        Self {
            mac_address: request.mac_address.clone(),
            request,
            ..Self::default()
        }
    }
}

/// A container's network as inspect shows it (`NetworkSettings`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NetworkSettings {
    /// ID of the sandbox, empty unless running.
    pub sandbox_id: String,
    /// Path of the network namespace, empty unless running.
    pub sandbox_key: String,
    /// Ports: `None` for one that is exposed and not published. Empty unless running.
    pub ports: BTreeMap<Port, Option<Vec<PortBinding>>>,
    /// Endpoints by name of the network.
    pub networks: BTreeMap<String, Endpoint>,
}
