//! Options of drivers and of endpoints: `com.docker.network.*`.

use std::collections::BTreeMap;
use std::net::IpAddr;

use arca_net::Exposure;

use crate::error::Error;

/// Everything that belongs to us begins with it.
const PREFIX: &str = "com.docker.network.";
/// The name of the host's bridge.
pub(crate) const BRIDGE_NAME: &str = "com.docker.network.bridge.name";
/// Whether it is the predefined network.
pub(crate) const DEFAULT_BRIDGE: &str = "com.docker.network.bridge.default_bridge";
/// Whether containers on it may talk to each other.
pub(crate) const ICC: &str = "com.docker.network.bridge.enable_icc";
/// Whether its containers are hidden behind the host's addresses.
pub(crate) const MASQUERADE: &str = "com.docker.network.bridge.enable_ip_masquerade";
/// The host's address for published ports that name none.
pub(crate) const HOST_BINDING: &str = "com.docker.network.bridge.host_binding_ipv4";
/// The largest packet.
pub(crate) const MTU: &str = "com.docker.network.driver.mtu";
const INHIBIT_IPV4: &str = "com.docker.network.bridge.inhibit_ipv4";
const GATEWAY_MODE_4: &str = "com.docker.network.bridge.gateway_mode_ipv4";
const GATEWAY_MODE_6: &str = "com.docker.network.bridge.gateway_mode_ipv6";
const INTERFACE_PREFIX: &str = "com.docker.network.container_iface_prefix";
const TRUSTED: &str = "com.docker.network.bridge.trusted_host_interfaces";
pub(crate) const ENABLE_IPV4: &str = "com.docker.network.enable_ipv4";
pub(crate) const ENABLE_IPV6: &str = "com.docker.network.enable_ipv6";
/// Who reaches published ports; the key of the label of containers, too.
pub const EXPOSURE: &str = "arca.exposure";
const ENDPOINT_SYSCTLS: &str = "com.docker.network.endpoint.sysctls";
const ENDPOINT_INTERFACE: &str = "com.docker.network.endpoint.ifname";

/// The options of a bridge network, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BridgeOptions {
    pub(crate) name: Option<String>,
    pub(crate) icc: bool,
    pub(crate) masquerade: bool,
    pub(crate) host_binding: Option<IpAddr>,
    pub(crate) mtu: Option<u32>,
    /// Whether the bridge has no IPv4 address of its own.
    pub(crate) inhibit_ipv4: bool,
    /// How the host treats IPv4 packets to and from it.
    pub(crate) mode4: GatewayMode,
    /// The same for IPv6.
    pub(crate) mode6: GatewayMode,
    /// Links of the host from which published ports are reached at the containers' own addresses.
    pub(crate) trusted: Vec<String>,
    pub(crate) interface_prefix: String,
    /// Who reaches published ports, when the network says so.
    pub(crate) exposure: Option<Exposure>,
}

impl BridgeOptions {
    /// Reads options as the API has them. What is not one of ours is let through: it means something to
    /// somebody else.
    pub(crate) fn parse(options: &BTreeMap<String, String>) -> Result<Self, Error> {
        let mut parsed = Self {
            name: None,
            icc: true,
            masquerade: true,
            host_binding: None,
            mtu: None,
            inhibit_ipv4: false,
            mode4: GatewayMode::Nat,
            mode6: GatewayMode::Nat,
            trusted: Vec::new(),
            interface_prefix: "eth".to_owned(),
            exposure: None,
        };
        for (key, value) in options {
            match key.as_str() {
                BRIDGE_NAME if value.is_empty() => {}
                BRIDGE_NAME => parsed.name = Some(interface_name(value)?),
                ICC => parsed.icc = boolean(key, value)?,
                MASQUERADE => parsed.masquerade = boolean(key, value)?,
                HOST_BINDING => parsed.host_binding = host_binding(key, value)?,
                MTU => parsed.mtu = Some(mtu(key, value)?),
                INHIBIT_IPV4 => parsed.inhibit_ipv4 = boolean(key, value)?,
                GATEWAY_MODE_4 => parsed.mode4 = GatewayMode::parse(key, value)?,
                GATEWAY_MODE_6 => parsed.mode6 = GatewayMode::parse(key, value)?,
                TRUSTED => {
                    let names = value.split(':').filter(|name| !name.is_empty());
                    parsed.trusted = names.map(str::to_owned).collect();
                }
                INTERFACE_PREFIX => parsed.interface_prefix = value.clone(),
                EXPOSURE => parsed.exposure = Some(exposure(key, value)?),
                DEFAULT_BRIDGE => {
                    boolean(key, value)?;
                }
                ENABLE_IPV4 | ENABLE_IPV6 => {
                    boolean(key, value)?;
                }
                other if other.starts_with(PREFIX) => {
                    return Err(Error::Unsupported(format!("network option {other}")));
                }
                _ => {}
            }
        }
        Ok(parsed)
    }

    /// What cannot be said without knowing the network.
    pub(crate) fn check(&self, internal: bool) -> Result<(), Error> {
        let isolated = [self.mode4, self.mode6].contains(&GatewayMode::Isolated);
        if isolated && !internal {
            return Err(Error::Failed(
                "gateway mode 'isolated' can only be used for an internal network".to_owned(),
            ));
        }
        let unprotected = [self.mode4, self.mode6].contains(&GatewayMode::NatUnprotected);
        if unprotected
            && self
                .exposure
                .is_some_and(|exposure| exposure != Exposure::Open)
        {
            return Err(Error::Invalid(format!(
                "{EXPOSURE} has to be open with the gateway mode 'nat-unprotected'"
            )));
        }
        Ok(())
    }
}

/// How a bridge's packets pass the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GatewayMode {
    /// Behind the host's addresses; published ports are redirected.
    Nat,
    /// The same, and everything routed to a container is let in.
    NatUnprotected,
    /// With addresses of their own; published ports are opened.
    Routed,
    /// The host is no part of the network.
    Isolated,
}

impl GatewayMode {
    fn parse(key: &str, value: &str) -> Result<Self, Error> {
        match value {
            "nat" => Ok(Self::Nat),
            "nat-unprotected" => Ok(Self::NatUnprotected),
            "routed" => Ok(Self::Routed),
            "isolated" => Ok(Self::Isolated),
            _ => Err(Error::Invalid(format!(
                "failed to parse {key} value: {value} (unknown gateway mode {value})"
            ))),
        }
    }
}

/// The options of an endpoint, checked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct EndpointOptions {
    /// The name of the interface inside.
    pub(crate) interface: Option<String>,
    /// Settings of the interface: the path below `net` with `IFNAME` in it, and the value.
    pub(crate) sysctls: Vec<(String, String)>,
}

impl EndpointOptions {
    /// Reads the options of an endpoint.
    pub(crate) fn parse(options: &BTreeMap<String, String>) -> Result<Self, Error> {
        let mut parsed = Self::default();
        for (key, value) in options {
            match key.as_str() {
                ENDPOINT_INTERFACE => parsed.interface = Some(interface_name(value)?),
                ENDPOINT_SYSCTLS => {
                    for setting in value.split(',').filter(|setting| !setting.is_empty()) {
                        parsed.sysctls.push(sysctl(setting)?);
                    }
                }
                other if other.starts_with(PREFIX) => {
                    return Err(Error::Unsupported(format!("endpoint option {other}")));
                }
                _ => {}
            }
        }
        Ok(parsed)
    }
}

/// `net.ipv4.conf.IFNAME.log_martians=1` as a path and a value.
fn sysctl(setting: &str) -> Result<(String, String), Error> {
    let invalid = || Error::Invalid(format!("invalid sysctl setting: {setting}"));
    let unknown = || {
        Error::Invalid(format!(
            "unrecognised network interface sysctl '{setting}'; represent 'net.X.Y.ethN.Z=V' as \
             'net.X.Y.IFNAME.Z=V', 'X' must be 'ipv4', 'ipv6' or 'mpls'"
        ))
    };
    let (key, value) = setting.split_once('=').ok_or_else(unknown)?;
    let path: Vec<&str> = key.split('.').collect();
    let [
        "net",
        family @ ("ipv4" | "ipv6" | "mpls"),
        kind,
        "IFNAME",
        rest @ ..,
    ] = path.as_slice()
    else {
        return Err(unknown());
    };
    if rest.is_empty() || rest.iter().chain([kind]).any(|part| !is_plain(part)) {
        return Err(invalid());
    }
    Ok((
        format!("{family}/{kind}/IFNAME/{}", rest.join("/")),
        value.to_owned(),
    ))
}

fn is_plain(part: &str) -> bool {
    !part.is_empty()
        && part
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

/// A name that the kernel takes for a link.
fn interface_name(name: &str) -> Result<String, Error> {
    let valid = (1..16).contains(&name.len())
        && name != "."
        && name != ".."
        && name
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'/' | b':'));
    if valid {
        Ok(name.to_owned())
    } else {
        Err(Error::Invalid(format!("invalid interface name: {name}")))
    }
}

/// A truth value as Go's `strconv.ParseBool` reads it.
pub(crate) fn boolean(key: &str, value: &str) -> Result<bool, Error> {
    match value {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(Error::Invalid(format!(
            "failed to parse {key} value: {value} (strconv.ParseBool: parsing \"{value}\": invalid syntax)"
        ))),
    }
}

/// Who reaches published ports, as an option or a label says it.
pub(crate) fn exposure(key: &str, value: &str) -> Result<Exposure, Error> {
    let parsed = value.parse();
    parsed
        .map_err(|error| Error::Invalid(format!("failed to parse {key} value: {value} ({error})")))
}

fn host_binding(key: &str, value: &str) -> Result<Option<IpAddr>, Error> {
    let bad = |why: &str| Error::Invalid(format!("failed to parse {key} value: {value} ({why})"));
    let ip: IpAddr = value.parse().ok().ok_or_else(|| bad("nil ip"))?;
    if ip.is_ipv6() {
        return Err(bad("not an IPv4 address"));
    }
    Ok(Some(ip).filter(|ip| !ip.is_unspecified()))
}

/// A packet's size, bytes; what the kernel does not take is refused when the link is made.
pub(crate) fn mtu(key: &str, value: &str) -> Result<u32, Error> {
    let number: i64 = value.parse().ok().ok_or_else(|| {
        Error::Invalid(format!(
            "failed to parse {key} value: {value} (strconv.Atoi: parsing \"{value}\": invalid syntax)"
        ))
    })?;
    u32::try_from(number)
        .ok()
        .filter(|number| *number <= 65_535)
        .ok_or_else(|| Error::Invalid(format!("invalid MTU number: {number}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn options_are_read_and_bad_values_refused_in_the_words_clients_know() {
        let options = BridgeOptions::parse(&map(&[
            (BRIDGE_NAME, "br9"),
            (ICC, "false"),
            (MTU, "1400"),
            (HOST_BINDING, "127.0.0.1"),
            ("foo", "bar"),
        ]))
        .unwrap();
        assert_eq!(options.name.as_deref(), Some("br9"));
        assert_eq!((options.icc, options.mtu), (false, Some(1400)));
        assert_eq!(options.host_binding, Some("127.0.0.1".parse().unwrap()));
        let error = BridgeOptions::parse(&map(&[(ICC, "xx")])).unwrap_err();
        assert_eq!(
            error.to_string(),
            "failed to parse com.docker.network.bridge.enable_icc value: xx \
             (strconv.ParseBool: parsing \"xx\": invalid syntax)"
        );
        BridgeOptions::parse(&map(&[("com.docker.network.bridge.other", "")])).unwrap_err();
        let options = BridgeOptions::parse(&map(&[(EXPOSURE, "loopback")])).unwrap();
        assert_eq!(options.exposure, Some(Exposure::Loopback));
        BridgeOptions::parse(&map(&[(EXPOSURE, "nobody")])).unwrap_err();
    }

    #[test]
    fn sysctls_of_endpoints_stay_below_their_interface() {
        let parse = |value| EndpointOptions::parse(&map(&[(ENDPOINT_SYSCTLS, value)]));
        assert_eq!(
            parse("net.ipv4.conf.IFNAME.log_martians=1")
                .unwrap()
                .sysctls,
            [("ipv4/conf/IFNAME/log_martians".to_owned(), "1".to_owned())]
        );
        for bad in [
            "net.ipv4.conf.eth0.log_martians=1",
            "kernel.shmmax=1",
            "net.ipv4.conf.IFNAME.log_martians",
            "net.ipv4.conf.IFNAME.../../x=1",
            "net.ipv4.conf.IFNAME=1",
        ] {
            parse(bad).unwrap_err();
        }
    }
}
