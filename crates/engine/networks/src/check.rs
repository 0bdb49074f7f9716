//! What can be refused before a container starts.

use crate::Networks;
use crate::error::Error;
use crate::network::Network;
use crate::options::EndpointOptions;
use crate::spec::EndpointSpec;

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
            .try_for_each(|(network, spec)| check(network, spec))
    }
}

/// `default` is another word for `bridge`.
pub(crate) fn canonical(network: &str) -> &str {
    if network == "default" {
        "bridge"
    } else {
        network
    }
}

/// Checks what a container asks of one network.
pub(crate) fn check(network: &Network, spec: &EndpointSpec) -> Result<(), Error> {
    EndpointOptions::parse(&spec.driver_opts)?;
    if !spec.links.is_empty() {
        return Err(Error::Unsupported("linking containers".to_owned()));
    }
    let mut problems = Vec::new();
    let chosen = spec.ipv4.is_some() || spec.ipv6.is_some() || !spec.link_local.is_empty();
    if network.predefined && chosen {
        problems.push(
            "user specified IP address is supported on user defined networks only".to_owned(),
        );
    }
    if network.predefined && !spec.aliases.is_empty() {
        problems
            .push("network-scoped aliases are only supported for user-defined networks".to_owned());
    }
    let wishes = [spec.ipv4.map(Into::into), spec.ipv6.map(Into::into)];
    for address in wishes.into_iter().flatten() {
        problems.extend(range_problem(network, address));
    }
    let problem = match problems.as_slice() {
        [] => return Ok(()),
        [one] => one.clone(),
        many => many
            .iter()
            .map(|problem| format!("* {problem}"))
            .collect::<Vec<_>>()
            .join("\n"),
    };
    Err(Error::InvalidEndpoint {
        network: network.name.clone(),
        problem: format!("invalid endpoint settings:\n{problem}"),
    })
}

fn range_problem(network: &Network, address: std::net::IpAddr) -> Option<String> {
    let mut pools = network
        .ipam
        .pools
        .iter()
        .filter(|pool| pool.chosen && pool.subnet.addr().is_ipv4() == address.is_ipv4())
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
