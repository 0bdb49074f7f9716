//! What can be refused before a network is made.

use crate::create::NetworkSpec;
use crate::error::Error;
use crate::network::Network;
use crate::options::{BridgeOptions, ENABLE_IPV4, ENABLE_IPV6, boolean};
use crate::service::{Inner, State};
use crate::sublink::{SubLinkOptions, is_sublink};
use crate::translate::{self, BRIDGE, HOST, NULL};

/// Names that nobody can give.
const RESERVED: &[&str] = &["bridge", "host", "none", "default"];
/// dockerd's answer to what only a swarm has.
const NO_SWARM: &str = "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm \
                        join\" to connect this node to swarm and try again.";

impl Inner {
    /// Refuses what can be refused by itself, and fills in what another network configures.
    pub(crate) fn checked(&self, mut spec: NetworkSpec) -> Result<NetworkSpec, Error> {
        if spec.name.trim().is_empty() {
            return Err(Error::Invalid("invalid name: name is empty".to_owned()));
        }
        if RESERVED.contains(&spec.name.as_str()) {
            return Err(Error::PredefinedName(spec.name));
        }
        if spec.ingress {
            let text = "Ingress network can only be global scope network";
            return Err(Error::Forbidden(text.to_owned()));
        }
        match spec.scope.as_str() {
            "" | "local" => {}
            "swarm" => {
                let text = "cannot create a swarm scoped network when swarm is not active";
                return Err(Error::Forbidden(text.to_owned()));
            }
            other => return Err(Error::Invalid(format!("invalid network scope: {other}"))),
        }
        if spec.config_only {
            refuse_operator_fields(&spec)?;
        }
        families(&mut spec)?;
        if !spec.config_from.is_empty() {
            self.configured(&mut spec)?;
        }
        for (key, value) in self
            .config
            .default_network_options
            .get(BRIDGE)
            .into_iter()
            .flatten()
        {
            if matches!(spec.driver.as_str(), "" | BRIDGE) && !spec.config_only {
                spec.options
                    .entry(key.clone())
                    .or_insert_with(|| value.clone());
            }
        }
        drivers(&mut spec)?;
        if spec.ipv4 == Some(false) && spec.ipv6 != Some(true) {
            return Err(Error::Invalid("IPv4 or IPv6 must be enabled".to_owned()));
        }
        if is_sublink(&spec.driver) {
            SubLinkOptions::parse(&spec.driver, &spec.options)?;
        } else {
            BridgeOptions::parse(&spec.options)?.check(spec.internal || spec.config_only)?;
        }
        Ok(spec)
    }

    /// Takes over what a configuration-only network says.
    fn configured(&self, spec: &mut NetworkSpec) -> Result<(), Error> {
        let missing = || Error::NoConfiguration(spec.config_from.clone());
        let refused = |what: &str| {
            Err(Error::Forbidden(format!(
                "{what} are not supported if the network depends on a configuration network"
            )))
        };
        if !spec.pools.is_empty() || !spec.labels.is_empty() || spec.ipv6 == Some(true) {
            return refused("user specified configurations");
        }
        if !spec.options.is_empty() {
            return refused("network driver options");
        }
        let state = self.state();
        let of = state
            .resolve(&spec.config_from)
            .map_err(|_not_found| missing())?;
        if !of.config_only {
            return Err(missing());
        }
        spec.pools.clone_from(&of.configuration);
        spec.options.clone_from(&of.options);
        spec.labels.clone_from(&of.labels);
        spec.ipv4 = Some(of.ipv4);
        spec.ipv6 = Some(of.ipv6);
        spec.config_from.clone_from(&of.name);
        Ok(())
    }
}

/// Which drivers are asked for, of packets and of addresses: there are these.
fn drivers(spec: &mut NetworkSpec) -> Result<(), Error> {
    match spec.driver.as_str() {
        "" | BRIDGE => BRIDGE.clone_into(&mut spec.driver),
        driver if is_sublink(driver) => {}
        HOST | NULL => {
            let text = format!(
                "only one instance of \"{}\" network is allowed",
                spec.driver
            );
            return Err(Error::Forbidden(text));
        }
        "overlay" => return Err(Error::Forbidden(NO_SWARM.to_owned())),
        other => return Err(Error::NoDriver(other.to_owned())),
    }
    match spec.ipam_driver.as_str() {
        "" | "default" => "default".clone_into(&mut spec.ipam_driver),
        "null" => return Err(Error::Invalid("ipv4 pool is empty".to_owned())),
        other => return Err(Error::NoDriver(other.to_owned())),
    }
    if spec
        .ipam_options
        .as_ref()
        .is_some_and(|options| !options.is_empty())
    {
        return Err(Error::Unsupported(
            "an option of the default IPAM driver".to_owned(),
        ));
    }
    Ok(())
}

/// A configuration says what networks are like, and is none itself.
fn refuse_operator_fields(spec: &NetworkSpec) -> Result<(), Error> {
    if !spec.config_from.is_empty() {
        return Err(Error::Forbidden(
            "a configuration network cannot depend on another configuration network".to_owned(),
        ));
    }
    if spec.internal || spec.attachable || !spec.scope.is_empty() {
        return Err(Error::Forbidden(
            "configuration network can only contain network specific fields. Network operator fields \
             like [ ingress | internal | attachable | scope ] are not supported."
                .to_owned(),
        ));
    }
    Ok(())
}

/// Families that are switched by an option, where the request does not say it itself.
fn families(spec: &mut NetworkSpec) -> Result<(), Error> {
    for (key, family) in [(ENABLE_IPV4, &mut spec.ipv4), (ENABLE_IPV6, &mut spec.ipv6)] {
        if let (Some(value), None) = (spec.options.get(key), &family) {
            *family = Some(boolean(key, value)?);
        }
    }
    Ok(())
}

/// Refuses auxiliary addresses that are the gateway's, or that there are two of.
pub(crate) fn refuse_taken_auxiliary(network: &Network) -> Result<(), Error> {
    for pool in &network.ipam.pools {
        let mut taken = vec![pool.gateway];
        for (name, address) in &pool.auxiliary {
            if taken.contains(address) {
                return Err(Error::Failed(format!(
                    "failed to allocate secondary ip address ({name}:{address}): Address already in use"
                )));
            }
            taken.push(*address);
        }
    }
    Ok(())
}

pub(crate) fn refuse_several_subnets(network: &Network) -> Result<(), Error> {
    let count = |ipv4| {
        let pools = network.ipam.pools.iter();
        pools
            .filter(|pool| pool.subnet.addr().is_ipv4() == ipv4)
            .count()
    };
    if count(true) > 1 || count(false) > 1 {
        return Err(Error::Forbidden(
            "bridge driver doesn't support multiple subnets".to_owned(),
        ));
    }
    Ok(())
}

pub(crate) fn refuse_same_bridge(state: &State, network: &Network) -> Result<(), Error> {
    let name = |network: &Network| {
        let options = BridgeOptions::parse(&network.options)?;
        Ok::<_, Error>(translate::bridge_name(network, &options))
    };
    let own = name(network)?;
    for other in state
        .networks
        .values()
        .filter(|other| other.driver == BRIDGE && !other.config_only)
    {
        if name(other)? == own {
            return Err(Error::Forbidden(format!(
                "cannot create network {} ({own}): conflicts with network {} ({own}): networks have \
                 same bridge name",
                network.id, other.id
            )));
        }
    }
    Ok(())
}
