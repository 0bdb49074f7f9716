//! Networks of the drivers macvlan and ipvlan.

use std::collections::BTreeMap;

use arca_net::{SubLinkConfig, SubLinkKind};

use crate::error::Error;
use crate::network::Network;
use crate::options::{ENABLE_IPV4, ENABLE_IPV6, MTU, mtu};

/// The driver whose links have hardware addresses of their own.
pub(crate) const MACVLAN: &str = "macvlan";
/// The driver whose links share that of the parent.
pub(crate) const IPVLAN: &str = "ipvlan";

/// The options of such a network, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SubLinkOptions {
    pub(crate) kind: SubLinkKind,
    /// The link of the host; `None` is one that leads nowhere.
    pub(crate) parent: Option<String>,
    pub(crate) mtu: Option<u32>,
}

/// Whether it is one of these drivers.
pub(crate) fn is_sublink(driver: &str) -> bool {
    matches!(driver, MACVLAN | IPVLAN)
}

impl SubLinkOptions {
    /// Reads options as the API has them.
    pub(crate) fn parse(driver: &str, options: &BTreeMap<String, String>) -> Result<Self, Error> {
        let get = |key: &str| options.get(key).map_or("", String::as_str);
        let kind = if driver == MACVLAN {
            macvlan(get("macvlan_mode"))?
        } else {
            ipvlan(get("ipvlan_mode"), get("ipvlan_flag"))?
        };
        let size = options.get(MTU).map(|value| mtu(MTU, value)).transpose()?;
        for key in options.keys() {
            let known = matches!(key.as_str(), MTU | ENABLE_IPV4 | ENABLE_IPV6);
            if key.starts_with("com.docker.network.") && !known {
                return Err(Error::Unsupported(format!("network option {key}")));
            }
        }
        Ok(Self {
            kind,
            parent: Some(get("parent").to_owned()).filter(|name| !name.is_empty()),
            mtu: size.filter(|size| *size != 0),
        })
    }

    /// Whether packets leave by the link alone, without a gateway.
    pub(crate) fn routes_by_link(&self) -> bool {
        matches!(self.kind, SubLinkKind::Ipvlan { mode: 1 | 2, .. })
    }

    /// The name of the parent.
    pub(crate) fn parent_of(&self, network: &Network) -> String {
        let own = || {
            let prefix = match self.kind {
                SubLinkKind::Macvlan { .. } => "dm",
                SubLinkKind::Ipvlan { .. } => "di",
            };
            format!("{prefix}-{}", network.id.short())
        };
        self.parent.clone().unwrap_or_else(own)
    }
}

fn macvlan(mode: &str) -> Result<SubLinkKind, Error> {
    let mode = match mode {
        "" | "bridge" => 4,
        "private" => 1,
        "vepa" => 2,
        "passthru" => 8,
        _ => {
            return Err(Error::Invalid(format!(
                "requested macvlan mode '{mode}' is not valid, 'bridge' mode is the macvlan driver \
                 default"
            )));
        }
    };
    Ok(SubLinkKind::Macvlan { mode })
}

fn ipvlan(mode: &str, flag: &str) -> Result<SubLinkKind, Error> {
    let mode = match mode {
        "" | "l2" => 0,
        "l3" => 1,
        "l3s" => 2,
        _ => {
            return Err(Error::Invalid(format!(
                "requested ipvlan mode '{mode}' is not valid, 'l2' mode is the ipvlan driver default"
            )));
        }
    };
    let flag = match flag {
        "" | "bridge" => 0,
        "private" => 1,
        "vepa" => 2,
        _ => {
            return Err(Error::Invalid(format!(
                "requested ipvlan flag '{flag}' is not valid, 'bridge' is the ipvlan driver default"
            )));
        }
    };
    Ok(SubLinkKind::Ipvlan { mode, flag })
}

/// What the backend has to make.
pub(crate) fn config(network: &Network) -> Result<SubLinkConfig, Error> {
    let options = SubLinkOptions::parse(&network.driver, &network.options)?;
    Ok(SubLinkConfig {
        id: network.id.short().to_owned(),
        kind: options.kind,
        parent: options.parent_of(network),
        alone: options.parent.is_none(),
        mtu: options.mtu,
    })
}

/// Refuses a parent that another network has for itself, or that this one wants for itself.
pub(crate) fn refuse_same_parent<'a>(
    network: &Network,
    others: impl Iterator<Item = &'a Network>,
) -> Result<(), Error> {
    let own = SubLinkOptions::parse(&network.driver, &network.options)?;
    let exclusive = SubLinkKind::Macvlan { mode: 8 };
    for other in others.filter(|other| other.driver == network.driver) {
        let theirs = SubLinkOptions::parse(&other.driver, &other.options)?;
        if own.parent.is_none() || own.parent != theirs.parent {
            continue;
        }
        let (parent, id) = (own.parent_of(network), other.id.short());
        if own.kind == exclusive {
            return Err(Error::Failed(format!(
                "cannot use mode passthru, macvlan network {id} is using parent interface {parent}"
            )));
        }
        if theirs.kind == exclusive {
            return Err(Error::Failed(format!(
                "macvlan network {id} is already using parent interface {parent} in mode passthru"
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(driver: &str, key: &str, value: &str) -> Result<SubLinkOptions, Error> {
        SubLinkOptions::parse(
            driver,
            &BTreeMap::from([(key.to_owned(), value.to_owned())]),
        )
    }

    #[test]
    fn modes_are_those_of_the_kernel() {
        let kind = |driver, key, value| parse(driver, key, value).unwrap().kind;
        assert_eq!(kind(MACVLAN, "x", ""), SubLinkKind::Macvlan { mode: 4 });
        assert_eq!(
            kind(MACVLAN, "macvlan_mode", "passthru"),
            SubLinkKind::Macvlan { mode: 8 }
        );
        let l3 = parse(IPVLAN, "ipvlan_mode", "l3").unwrap();
        assert_eq!(l3.kind, SubLinkKind::Ipvlan { mode: 1, flag: 0 });
        assert!(l3.routes_by_link());
        assert_eq!(
            parse(IPVLAN, "ipvlan_mode", "foo").unwrap_err().to_string(),
            "requested ipvlan mode 'foo' is not valid, 'l2' mode is the ipvlan driver default"
        );
        parse(MACVLAN, "com.docker.network.bridge.name", "x").unwrap_err();
    }
}
