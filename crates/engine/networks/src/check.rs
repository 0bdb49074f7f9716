//! What can be refused before a container starts.

use std::net::IpAddr;

use arca_types::ContainerId;

use crate::Networks;
use crate::error::Error;
use crate::network::Network;
use crate::options::EndpointOptions;
use crate::spec::EndpointSpec;
use crate::translate::{HOST, NULL};

/// What a container has when it is to join or to leave a further network.
#[derive(Debug, Clone, Copy)]
pub struct Present<'a> {
    /// Whether it is on the network of the host.
    pub on_host: bool,
    /// The networks it is on already, by name.
    pub networks: &'a [String],
}

impl Networks {
    /// Checks what containers ask of networks; one that does not exist yet is no error.
    ///
    /// # Errors
    /// [`Error::InvalidEndpoint`], [`Error::Unsupported`].
    pub fn check(&self, endpoints: &[EndpointSpec]) -> Result<(), Error> {
        let state = self.0.state();
        endpoints
            .iter()
            .filter_map(|spec| Some((state.resolve(canonical(&spec.network)).ok()?, spec)))
            .try_for_each(|(network, spec)| {
                check(network, spec).map_err(|error| match error {
                    Error::EndpointSettings(_) => Error::InvalidEndpoint {
                        network: network.name.clone(),
                        problem: error.to_string(),
                    },
                    other => other,
                })
            })
    }

    /// Checks whether a container that does not run may be put on a further network; returns that
    /// network's name, or the one that was asked for when there is no such network yet.
    ///
    /// # Errors
    /// [`Error::Invalid`] for networks that exclude each other, [`Error::EndpointSettings`].
    pub fn plan(&self, present: Present<'_>, wish: &EndpointSpec) -> Result<String, Error> {
        let state = self.0.state();
        let Ok(network) = state.resolve(canonical(&wish.network)) else {
            return Ok(wish.network.clone());
        };
        refuse_configuration(network)?;
        check(network, wish)?;
        if !present.networks.contains(&network.name) {
            let private = present.networks.iter().any(|name| {
                state
                    .resolve(canonical(name))
                    .is_ok_and(|other| other.driver == NULL)
            });
            exclusive(network, present.on_host, private)?;
        }
        Ok(network.name.clone())
    }

    /// The names that a container, by its name and its host name, will have on a network; none on
    /// predefined ones.
    #[must_use]
    pub fn dns_names(
        &self,
        id: &ContainerId,
        (name, hostname): (&str, &str),
        wish: &EndpointSpec,
    ) -> Option<Vec<String>> {
        let state = self.0.state();
        let network = state.resolve(canonical(&wish.network)).ok()?;
        let names = crate::endpoint::dns_names(network, id, (name, hostname), wish);
        (!names.is_empty()).then_some(names)
    }

    /// Says under which name a container that does not run has a network.
    ///
    /// # Errors
    /// [`Error::NotPlanned`].
    pub fn planned(
        &self,
        id: &ContainerId,
        present: Present<'_>,
        network: &str,
    ) -> Result<String, Error> {
        let found = self.resolve(network);
        let name = found.map_or_else(|_missing| network.to_owned(), |network| network.name);
        if present.networks.contains(&name) {
            return Ok(name);
        }
        Err(Error::NotPlanned {
            container: id.clone(),
            network: name,
        })
    }
}

/// Refuses networks that a container cannot have together.
pub(crate) fn exclusive(network: &Network, on_host: bool, private: bool) -> Result<(), Error> {
    if on_host {
        return Err(Error::Invalid(
            "container sharing network namespace with another container or host cannot be connected \
             to any other network"
                .to_owned(),
        ));
    }
    if network.driver == HOST {
        return Err(Error::Invalid(
            "cannot connect container to host network - container must be created in host network \
             mode"
                .to_owned(),
        ));
    }
    if private || network.driver == NULL {
        return Err(Error::Invalid(
            "container cannot be connected to multiple networks with one of the networks in private \
             (none) mode"
                .to_owned(),
        ));
    }
    Ok(())
}

/// `default` is another word for `bridge`.
pub(crate) fn canonical(network: &str) -> &str {
    if network == "default" {
        "bridge"
    } else {
        network
    }
}

/// Refuses what is no network, but a configuration for others.
pub(crate) fn refuse_configuration(network: &Network) -> Result<(), Error> {
    if network.config_only {
        let text = "cannot create endpoint on configuration-only network";
        return Err(Error::Forbidden(text.to_owned()));
    }
    Ok(())
}

/// Checks what a container asks of one network.
pub(crate) fn check(network: &Network, spec: &EndpointSpec) -> Result<(), Error> {
    let mut problems = Vec::new();
    let chosen = spec.ipv4.is_some() || spec.ipv6.is_some();
    if network.predefined && chosen {
        problems.push(
            "user specified IP address is supported on user defined networks only".to_owned(),
        );
    }
    if network.predefined && !spec.aliases.is_empty() {
        problems.push(
            "network-scoped alias is supported only for containers in user defined networks"
                .to_owned(),
        );
    }
    let wishes: [Option<IpAddr>; 2] = [spec.ipv4.map(Into::into), spec.ipv6.map(Into::into)];
    for address in wishes.into_iter().flatten() {
        if address.is_unspecified() {
            let family = if address.is_ipv4() { "IPv4" } else { "IPv6" };
            problems.push(format!("invalid {family} address: {address}"));
        }
        problems.extend(range_problem(network, address));
    }
    match EndpointOptions::parse(&spec.driver_opts) {
        Err(Error::Invalid(problem)) => problems.push(problem),
        Err(other) => return Err(other),
        Ok(_) => {}
    }
    match problems.as_slice() {
        [] => Ok(()),
        [one] => Err(Error::EndpointSettings(one.clone())),
        many => {
            let lines: Vec<String> = many.iter().map(|problem| format!("* {problem}")).collect();
            Err(Error::EndpointSettings(lines.join("\n")))
        }
    }
}

fn range_problem(network: &Network, address: IpAddr) -> Option<String> {
    let mut pools = network
        .ipam
        .pools
        .iter()
        .chain(&network.ipam.idle)
        .filter(|pool| {
            (pool.chosen || network.predefined) && pool.subnet.addr().is_ipv4() == address.is_ipv4()
        })
        .peekable();
    if pools.peek().is_none() {
        return Some(
            "user specified IP address is supported only when connecting to networks with user \
             configured subnets"
                .to_owned(),
        );
    }
    let inside = pools.any(|pool| pool.subnet.contains(&address));
    (!inside).then(|| format!("no configured subnet or ip-range contain the IP address {address}"))
}
