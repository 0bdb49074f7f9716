//! Subnets as clients write them.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::create::first_address;
use crate::error::Error;
use crate::network::IpamPool;

/// A subnet that is asked for, in the words of the client (`IPAMConfig`); empty fields are left to us.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolSpec {
    /// The subnet.
    pub subnet: String,
    /// Where addresses are taken from.
    pub range: String,
    /// The gateway.
    pub gateway: String,
    /// Addresses that are not given out, by name.
    pub auxiliary: BTreeMap<String, String>,
}

/// Reads what was asked for; every problem is told at once.
pub(crate) fn parse(specs: &[PoolSpec]) -> Result<Vec<IpamPool>, Error> {
    let mut problems = Vec::new();
    let pools: Vec<IpamPool> = specs
        .iter()
        .filter_map(|spec| parse_one(spec, &mut problems))
        .collect();
    let problem = match problems.as_slice() {
        [] => return Ok(pools),
        [one] => one.clone(),
        many => many
            .iter()
            .map(|text| format!("* {text}"))
            .collect::<Vec<_>>()
            .join("\n"),
    };
    Err(Error::Invalid(format!(
        "invalid network config:\n{problem}"
    )))
}

fn parse_one(spec: &PoolSpec, problems: &mut Vec<String>) -> Option<IpamPool> {
    let written = &spec.subnet;
    let Ok(subnet) = written.parse::<IpNet>() else {
        problems.push(format!(
            "invalid subnet {written}: invalid CIDR block notation"
        ));
        return None;
    };
    if subnet != subnet.trunc() {
        problems.push(format!(
            "invalid subnet {written}: it should be {}",
            subnet.trunc()
        ));
        return None;
    }
    let range = parse_range(&spec.range, subnet, problems);
    let gateway = parse_address("gateway", "", &spec.gateway, subnet, problems);
    let auxiliary = spec
        .auxiliary
        .iter()
        .filter_map(|(name, text)| {
            let address = parse_address("auxiliary address", name, text, subnet, problems)?;
            Some((name.clone(), address))
        })
        .collect();
    Some(IpamPool {
        subnet,
        range,
        gateway: gateway.unwrap_or_else(|| first_address(subnet, range)),
        chosen: true,
        shows_gateway: gateway.is_some(),
        auxiliary,
    })
}

fn parse_range(text: &str, subnet: IpNet, problems: &mut Vec<String>) -> Option<IpNet> {
    if text.is_empty() {
        return None;
    }
    let Ok(range) = text.parse::<IpNet>() else {
        problems.push(format!(
            "invalid ip-range {text}: invalid CIDR block notation"
        ));
        return None;
    };
    if range != range.trunc() {
        problems.push(format!(
            "invalid ip-range {text}: it should be {}",
            range.trunc()
        ));
    }
    if !subnet.contains(&range) {
        problems.push(format!(
            "invalid ip-range {text}: parent subnet {subnet} doesn't contain ip-range"
        ));
    }
    Some(range.trunc())
}

fn parse_address(
    what: &str,
    name: &str,
    text: &str,
    subnet: IpNet,
    problems: &mut Vec<String>,
) -> Option<IpAddr> {
    if text.is_empty() && name.is_empty() {
        return None;
    }
    let shown = if name.is_empty() { text } else { name };
    // A gateway may be written with the length of its prefix.
    let bare = text.split_once('/').map_or(text, |(address, _)| address);
    let Ok(address) = bare.parse::<IpAddr>() else {
        problems.push(format!("invalid {what} {shown}: invalid address"));
        return None;
    };
    if !subnet.contains(&address) {
        problems.push(format!(
            "invalid {what} {shown}: parent subnet {subnet} doesn't contain this address"
        ));
    }
    Some(address)
}

/// A subnet that nobody asked for.
pub(crate) fn chosen_by_us(subnet: IpNet) -> IpamPool {
    IpamPool {
        subnet,
        range: None,
        gateway: first_address(subnet, None),
        chosen: false,
        shows_gateway: true,
        auxiliary: BTreeMap::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(subnet: &str, range: &str, gateway: &str) -> PoolSpec {
        PoolSpec {
            subnet: subnet.to_owned(),
            range: range.to_owned(),
            gateway: gateway.to_owned(),
            auxiliary: BTreeMap::new(),
        }
    }

    fn problem(spec: PoolSpec) -> String {
        parse(&[spec]).unwrap_err().to_string()
    }

    #[test]
    fn problems_are_told_in_the_words_clients_know() {
        assert_eq!(
            problem(spec("300.98.0.0/25", "", "")),
            "invalid network config:\ninvalid subnet 300.98.0.0/25: invalid CIDR block notation"
        );
        assert_eq!(
            problem(spec("10.1.1.5/24", "", "")),
            "invalid network config:\ninvalid subnet 10.1.1.5/24: it should be 10.1.1.0/24"
        );
        let mut many = spec("10.1.1.0/24", "10.2.0.0/24", "172.17.0.0");
        many.auxiliary.insert("a".to_owned(), "1.1.1.1".to_owned());
        assert_eq!(
            problem(many),
            "invalid network config:\n\
             * invalid ip-range 10.2.0.0/24: parent subnet 10.1.1.0/24 doesn't contain ip-range\n\
             * invalid gateway 172.17.0.0: parent subnet 10.1.1.0/24 doesn't contain this address\n\
             * invalid auxiliary address a: parent subnet 10.1.1.0/24 doesn't contain this address"
        );
    }

    #[test]
    fn the_gateway_is_the_first_address_of_the_range() {
        let gateway = |subnet, range| {
            parse(&[spec(subnet, range, "")]).unwrap()[0]
                .gateway
                .to_string()
        };
        assert_eq!(gateway("10.98.0.0/24", ""), "10.98.0.1");
        assert_eq!(gateway("10.98.0.0/24", "10.98.0.128/25"), "10.98.0.128");
        assert_eq!(gateway("10.98.0.0/24", "10.98.0.0/25"), "10.98.0.1");
        assert_eq!(gateway("fd00:5::/64", ""), "fd00:5::1");
    }
}
