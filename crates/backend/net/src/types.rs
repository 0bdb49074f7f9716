//! Plain values of networking: hardware addresses, protocols, ports to publish.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A text that is none of this module's values.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// Not six pairs of hexadecimal digits with `:` or `-` between them.
    #[error("invalid MAC address: {0}")]
    Mac(String),
    /// Not `tcp`, `udp` or `sctp`.
    #[error("invalid protocol: {0}")]
    Protocol(String),
    /// Not `open`, `firewall` or `loopback`.
    #[error("invalid exposure: {0} (must be open, firewall or loopback)")]
    Exposure(String),
}

/// An Ethernet hardware address. Written and stored as `02:42:ac:11:00:02`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MacAddr(pub [u8; 6]);

impl MacAddr {
    /// The address that belongs to an IPv4 address: `02:42:` and its four bytes.
    ///
    /// An address that goes to another endpoint takes its MAC along, so a neighbour's ARP entry stays right.
    #[must_use]
    pub fn of_ipv4(address: Ipv4Addr) -> Self {
        let [a, b, c, d] = address.octets();
        Self([0x02, 0x42, a, b, c, d])
    }

    /// Makes a locally administered unicast address of six random bytes.
    #[must_use]
    pub fn local(random: [u8; 6]) -> Self {
        let [first, rest @ ..] = random;
        let [b, c, d, e, f] = rest;
        Self([(first & 0xfc) | 0x02, b, c, d, e, f])
    }
}

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for MacAddr {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let invalid = || ParseError::Mac(text.to_owned());
        let mut bytes = [0_u8; 6];
        // In pairs of digits, or in fours with dots.
        let pairs = match text.split('.').collect::<Vec<_>>().as_slice() {
            [a, b, c] if [a, b, c].iter().all(|four| four.len() == 4) => {
                let halves = [a, b, c].map(|four| four.split_at_checked(2));
                let pairs = halves.into_iter().flatten();
                pairs
                    .map(|(high, low)| format!("{high}:{low}"))
                    .collect::<Vec<_>>()
                    .join(":")
            }
            _ => text.to_owned(),
        };
        let mut groups = pairs.split([':', '-']);
        for byte in &mut bytes {
            let group = groups.next().ok_or_else(invalid)?;
            if group.len() != 2 || !group.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                return Err(invalid());
            }
            *byte = u8::from_str_radix(group, 16).ok().ok_or_else(invalid)?;
        }
        if groups.next().is_some() {
            Err(invalid())
        } else {
            Ok(Self(bytes))
        }
    }
}

impl TryFrom<String> for MacAddr {
    type Error = ParseError;

    fn try_from(text: String) -> Result<Self, ParseError> {
        text.parse()
    }
}

impl From<MacAddr> for String {
    fn from(mac: MacAddr) -> Self {
        mac.to_string()
    }
}

/// A transport protocol whose ports can be published. Written in lower case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP, where the kernel has it.
    Sctp,
}

impl Protocol {
    /// Returns its name in lower case.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        }
    }

    /// Returns its number in an IP header.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Sctp => 132,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Protocol {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        match text.to_ascii_lowercase().as_str() {
            "tcp" => Ok(Self::Tcp),
            "udp" => Ok(Self::Udp),
            "sctp" => Ok(Self::Sctp),
            _ => Err(ParseError::Protocol(text.to_owned())),
        }
    }
}

/// Who reaches published ports. Written in lower case.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Exposure {
    /// Everybody who reaches the host.
    #[default]
    Open,
    /// Those whom the host's own firewall would let in to a program that listens on the port.
    Firewall,
    /// The host itself.
    Loopback,
}

impl FromStr for Exposure {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        match text {
            "open" => Ok(Self::Open),
            "firewall" => Ok(Self::Firewall),
            "loopback" => Ok(Self::Loopback),
            _ => Err(ParseError::Exposure(text.to_owned())),
        }
    }
}

/// The wish to make a container's port reachable through the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortSpec {
    /// The protocol.
    pub protocol: Protocol,
    /// The port inside.
    pub container_port: u16,
    /// The host's address to listen on; `None` is every address of every family.
    pub host_ip: Option<IpAddr>,
    /// The host's ports to choose from, first and last; `None` is any free port of the host's
    /// ephemeral range, beginning at 32768.
    pub host_ports: Option<(u16, u16)>,
}

/// A port that is reachable through the host.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PublishedPort {
    /// The protocol.
    pub protocol: Protocol,
    /// The port inside.
    pub container_port: u16,
    /// The host's address; `0.0.0.0` and `::` are every address of the family.
    pub host_ip: IpAddr,
    /// The port of the host; 0 when none leads there and the port is open at the container's own address.
    pub host_port: u16,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mac_is_read_and_written_alike() {
        let mac: MacAddr = "02:42:AC-11:00:02".parse().unwrap();
        assert_eq!(mac.to_string(), "02:42:ac:11:00:02");
        assert_eq!(mac, MacAddr::of_ipv4(Ipv4Addr::new(172, 17, 0, 2)));
        for bad in [
            "",
            "02:42",
            "02:42:ac:11:00:02:03",
            "g2:42:ac:11:00:02",
            "2:42:ac:11:0:2",
        ] {
            assert_eq!(bad.parse::<MacAddr>(), Err(ParseError::Mac(bad.to_owned())));
        }
    }

    #[test]
    fn a_local_mac_is_unicast_and_locally_administered() {
        assert_eq!(MacAddr::local([0xff; 6]).0[0], 0xfe);
        assert_eq!(MacAddr::local([0; 6]).0[0], 0x02);
    }
}
