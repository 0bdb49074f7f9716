//! The ports of `EXPOSE`: `80`, `80/udp`, `8000-8010`, and what used to be allowed, `ip:host:80`.

use std::net::IpAddr;

use crate::quote::quoted;

/// Ports as one word of `EXPOSE` gives them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExposedPort {
    /// `80/tcp`, one for each port.
    pub ports: Vec<String>,
    /// Whether the protocol is written in upper case: allowed, not advised.
    pub odd_case: bool,
    /// Whether an address or a port of the host is given: allowed, without effect.
    pub host_part: bool,
}

/// A port that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum PortError {
    #[error("invalid port: {}: no port specified", quoted(.0))]
    NoPort(String),
    #[error("invalid port: {}: invalid proto: {}", quoted(.0), .1)]
    Protocol(String, String),
    #[error("invalid IP address: {0}")]
    Address(String),
    #[error("invalid containerPort: {0}")]
    ContainerPort(String),
    #[error("invalid hostPort: {0}")]
    HostPort(String),
    #[error("invalid ranges specified for container and host Ports: {0} and {1}")]
    Ranges(String, String),
}

/// Reads one word of `EXPOSE`.
///
/// # Errors
/// A part of it is no port, protocol or address.
pub fn exposed_ports(text: &str) -> Result<ExposedPort, PortError> {
    let parts: Vec<&str> = text.rsplitn(3, ':').collect();
    let (container, host, address) = match parts.as_slice() {
        [container, host, address] => (*container, *host, *address),
        [container, host] => (*container, *host, ""),
        _ => (text, "", ""),
    };
    let (ports, written) = container.split_once('/').unwrap_or((container, ""));
    if ports.is_empty() {
        return Err(PortError::NoPort(text.to_owned()));
    }
    let protocol = match written.to_lowercase().as_str() {
        "" => "tcp",
        "tcp" => "tcp",
        "udp" => "udp",
        "sctp" => "sctp",
        _ => return Err(PortError::Protocol(text.to_owned(), written.to_owned())),
    };
    let bare = address
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(address);
    if !bare.is_empty() && bare.parse::<IpAddr>().is_err() {
        return Err(PortError::Address(bare.to_owned()));
    }
    let (first, last) = range(ports).ok_or_else(|| PortError::ContainerPort(ports.to_owned()))?;
    if !host.is_empty() {
        let (start, end) = range(host).ok_or_else(|| PortError::HostPort(host.to_owned()))?;
        if end - start != last - first && first != last {
            return Err(PortError::Ranges(ports.to_owned(), host.to_owned()));
        }
    }
    Ok(ExposedPort {
        ports: (first..=last)
            .map(|port| format!("{port}/{protocol}"))
            .collect(),
        odd_case: written != written.to_lowercase(),
        host_part: !address.is_empty() || !host.is_empty(),
    })
}

fn range(text: &str) -> Option<(u16, u16)> {
    let (start, end) = text.split_once('-').unwrap_or((text, text));
    let (start, end) = (start.parse().ok()?, end.parse().ok()?);
    (start <= end).then_some((start, end))
}

#[cfg(test)]
mod tests {
    use super::exposed_ports;

    #[test]
    fn ports_have_protocols_and_ranges() {
        let ports = |text: &str| {
            exposed_ports(text)
                .map(|p| p.ports)
                .map_err(|e| e.to_string())
        };

        assert_eq!(ports("80"), Ok(vec!["80/tcp".into()]));
        assert_eq!(
            ports("80-81/UDP"),
            Ok(vec!["80/udp".into(), "81/udp".into()])
        );
        assert_eq!(ports("127.0.0.1:8080:80"), Ok(vec!["80/tcp".into()]));
        assert_eq!(ports("[::1]:8080:80/sctp"), Ok(vec!["80/sctp".into()]));
        assert_eq!(
            ports("/udp"),
            Err("invalid port: \"/udp\": no port specified".into())
        );
        assert_eq!(
            ports("80/x"),
            Err("invalid port: \"80/x\": invalid proto: x".into())
        );
        assert_eq!(ports("80808"), Err("invalid containerPort: 80808".into()));
        assert_eq!(ports("a"), Err("invalid containerPort: a".into()));
        assert_eq!(ports("x:80"), Err("invalid hostPort: x".into()));
        assert_eq!(ports("a:1:80"), Err("invalid IP address: a".into()));
        assert_eq!(ports("9-8"), Err("invalid containerPort: 9-8".into()));
    }

    #[test]
    fn what_is_allowed_but_not_advised_is_told() {
        assert!(exposed_ports("80/TCP").is_ok_and(|port| port.odd_case && !port.host_part));
        assert!(exposed_ports("1:80").is_ok_and(|port| port.host_part && !port.odd_case));
    }
}
