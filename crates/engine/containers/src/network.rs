//! Between a container's network settings and the network service.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::str::FromStr;

use arca_networks::{EndpointSpec, Sandbox, SandboxMode, SandboxSpec};

use crate::Error;
use crate::actor::Actor;
use crate::check::check_remapped;
use crate::container::Container;
use crate::links;
use crate::model::{
    Endpoint, EndpointRequest, IpamRequest, IpcMode, NetworkMode, NetworkSettings, PidMode,
};
use crate::ports;
use crate::spec::Joined;
use crate::start::{blocking, network_files, text};

impl Actor {
    /// What the container asks of its networks.
    pub(crate) fn sandbox_spec(&self) -> Result<SandboxSpec, Error> {
        let spec = &self.c.spec;
        let mode = match &spec.host.network_mode {
            _ if spec.network_disabled => SandboxMode::Own,
            NetworkMode::Host => SandboxMode::Host,
            NetworkMode::Container(other) => {
                let what = "network namespace";
                let found = self.service.index.find(other);
                if found.is_ok_and(|found| found.id == self.c.id) {
                    return Err(Error::Failed(format!("cannot join own {what}")));
                }
                let joined = self.running_container(other, what);
                let joined = joined.map_err(|cause| match cause {
                    Error::NotFound(_) => {
                        Error::Failed(format!("joining {what} of container: {cause}"))
                    }
                    other => other,
                })?;
                SandboxMode::Container(self.network_owner(joined.0))
            }
            _ => SandboxMode::Own,
        };
        let shared = matches!(mode, SandboxMode::Host | SandboxMode::Container(_));
        Ok(SandboxSpec {
            name: self.c.name.to_string(),
            hostname: self.c.hostname().to_owned(),
            ports: if shared {
                Vec::new()
            } else {
                ports::wanted(spec)?
            },
            mode,
            endpoints: endpoint_specs(&self.c)?,
            name_servers: dns_settings(spec)?.servers,
            exposure: spec.labels.get(arca_networks::EXPOSURE).cloned(),
            remapped: self.ids().is_some(),
        })
    }

    /// Whose network a container is in: that of another, which may be in that of a third.
    fn network_owner(&self, mut id: arca_types::ContainerId) -> arca_types::ContainerId {
        let mut seen = std::collections::BTreeSet::new();
        while seen.insert(id.clone())
            && let Some(handle) = self.service.index.get(&id)
            && let NetworkMode::Container(other) = &handle.snapshot().spec.host.network_mode
            && let Ok(next) = self.service.index.find(other)
        {
            id = next.id.clone();
        }
        id
    }

    /// A container in another one's network has its names.
    pub(crate) fn take_over_names(&mut self) {
        let NetworkMode::Container(other) = &self.c.spec.host.network_mode else {
            return;
        };
        // One that is not there is an error of the start itself.
        let Ok(other) = self.service.index.find(other) else {
            return;
        };
        let other = other.snapshot();
        let spec = std::sync::Arc::make_mut(&mut self.c.spec);
        other.hostname().clone_into(&mut spec.hostname);
        spec.domainname.clone_from(&other.spec.domainname);
    }

    /// What inspect shows of the network while the container runs.
    pub(crate) fn network_settings(&self, sandbox: &Sandbox) -> NetworkSettings {
        let before = &self.c.network.networks;
        let mut networks: BTreeMap<String, Endpoint> = BTreeMap::new();
        for got in &sandbox.endpoints {
            let request = before
                .get(&got.spec.network)
                .or_else(|| before.get(&got.network_name))
                .map(|old| old.request.clone())
                .unwrap_or_else(|| request_of(&got.spec));
            networks.insert(got.network_name.clone(), shown(got, request));
        }
        NetworkSettings {
            sandbox_id: sandbox.id.clone(),
            sandbox_key: sandbox.key.clone(),
            ports: ports::shown(&self.c.spec, sandbox),
            networks,
        }
    }

    /// Namespaces of other containers, and the host's `/dev/shm`; refuses what cannot be shared.
    pub(crate) fn joined_namespaces(&self) -> Result<Joined, Error> {
        let host = &self.c.spec.host;
        // The container may be older than the daemon's setting.
        check_remapped(host, self.ids().is_some())?;
        let mut joined = Joined::default();
        if let PidMode::Container(other) = &host.pid_mode {
            // Dockerd reads this while it makes the specification, whose failures are its own.
            let (_, pid) = self
                .running_container(other, "PID namespace")
                .map_err(|error| Error::Failed(error.to_string()))?;
            joined.pid = Some(format!("/proc/{pid}/ns/pid"));
        }
        match &host.ipc_mode {
            Some(IpcMode::Container(other)) => {
                let (id, pid) = self.running_container(other, "IPC namespace")?;
                let theirs = self.service.index.get(&id).map(|handle| handle.snapshot());
                let mode = theirs.and_then(|other| other.spec.host.ipc_mode.clone());
                if !matches!(
                    mode,
                    Some(IpcMode::Shareable | IpcMode::Host | IpcMode::Container(_))
                ) {
                    return Err(Error::Invalid(format!(
                        "failed to join IPC namespace: container {id}: non-shareable IPC (hint: use \
                         IpcMode:shareable for the donor container)"
                    )));
                }
                joined.ipc = Some(format!("/proc/{pid}/ns/ipc"));
                joined.shm = Some(format!("/proc/{pid}/root/dev/shm"));
            }
            Some(IpcMode::Host) => joined.shm = Some("/dev/shm".to_owned()),
            _ => {}
        }
        Ok(joined)
    }

    /// A container whose namespaces are to be joined, and its process.
    fn running_container(
        &self,
        other: &str,
        what: &str,
    ) -> Result<(arca_types::ContainerId, u32), Error> {
        let found = self.service.index.find(other)?.snapshot();
        match found.state.process() {
            Some(process) => Ok((found.id.clone(), process.pid)),
            None if what.starts_with("network") => Err(Error::Conflict(format!(
                "cannot join {what} of a non running container: container {} is {}",
                found.name,
                found.state.as_str()
            ))),
            None => Err(Error::Conflict(format!(
                "failed to join {what}: container {} is not running",
                found.id
            ))),
        }
    }

    /// Writes `/etc/hosts` and its kin into the container's directory; returns the paths of
    /// `resolv.conf`, `hostname` and `hosts`.
    pub(crate) async fn write_files(
        &self,
        sandbox: &Sandbox,
    ) -> Result<Option<[String; 3]>, Error> {
        if let NetworkMode::Container(other) = &self.c.spec.host.network_mode {
            let owner = self.network_owner(self.service.index.find(other)?.id.clone());
            let dir = self
                .service
                .index
                .find(owner.as_str())?
                .snapshot()
                .dir
                .clone();
            return Ok(Some(network_files(&dir).map(|path| text(&path))));
        }
        let spec = &self.c.spec;
        let mut extra_hosts = spec.host.extra_hosts.clone().unwrap_or_default();
        extra_hosts.extend(links::hosts(&self.service.linked(&self.c)?));
        let wanted = arca_networks::FilesSpec {
            hostname: self.c.hostname().to_owned(),
            domainname: spec.domainname.clone(),
            extra_hosts,
            dns: dns_settings(spec)?,
        };
        let made = self
            .service
            .networks
            .files(sandbox, &wanted)
            .await
            .map_err(Error::from)?;
        let paths = network_files(&self.c.dir);
        let shown = paths.each_ref().map(|path| text(path));
        blocking(move || {
            let contents = [made.resolv_conf, made.hostname, made.hosts];
            for (path, content) in paths.iter().zip(contents) {
                // In place: a running container may have it mounted.
                std::fs::write(path, content).map_err(Error::file("write", path))?;
            }
            Ok(())
        })
        .await?;
        Ok(Some(shown))
    }
}

/// The name servers and search domains that a specification asks for.
///
/// # Errors
/// [`Error::Invalid`] for what is not an address.
pub(crate) fn dns_settings(
    spec: &crate::model::ContainerSpec,
) -> Result<arca_networks::DnsSettings, Error> {
    let mut servers = Vec::new();
    for server in spec.host.dns.iter().flatten() {
        let parsed = IpAddr::from_str(server).map_err(|_error| {
            Error::Failed(format!(
                "bad nameserver address {server}: ParseAddr({server:?}): unable to parse IP"
            ))
        })?;
        servers.push(parsed);
    }
    Ok(arca_networks::DnsSettings {
        servers,
        search: spec.host.dns_search.clone().unwrap_or_default(),
        options: spec.host.dns_options.clone().unwrap_or_default(),
    })
}

/// What a container asks of each of its networks, the main one first.
///
/// # Errors
/// [`Error::Invalid`] for what is not an address.
pub(crate) fn endpoint_specs(container: &Container) -> Result<Vec<EndpointSpec>, Error> {
    let main = container.spec.host.network_mode.to_string();
    let mut endpoints = Vec::new();
    for (network, endpoint) in &container.network.networks {
        let converted = endpoint_spec(network, &endpoint.request).map_err(|error| {
            Error::Invalid(format!("invalid config for network {network}: {error}"))
        })?;
        if *network == main {
            endpoints.insert(0, converted);
        } else {
            endpoints.push(converted);
        }
    }
    Ok(endpoints)
}

/// What a container asks of one network.
///
/// # Errors
/// [`Error::Invalid`] for what is not an address.
pub(crate) fn endpoint_spec(
    network: &str,
    request: &EndpointRequest,
) -> Result<EndpointSpec, Error> {
    fn address<T: FromStr>(problems: &mut Vec<String>, what: &str, text: &str) -> Option<T> {
        let parsed = text.parse().ok();
        if parsed.is_none() && !text.is_empty() {
            problems.push(format!("invalid {what} address: {text}"));
        }
        parsed
    }
    let ipam = request.ipam.clone().unwrap_or_default();
    let mac = match request.mac_address.as_str() {
        "" => None,
        text => Some(
            text.parse()
                .map_err(|_error| Error::Invalid(format!("invalid MAC address {text}")))?,
        ),
    };
    let mut problems = Vec::new();
    let ipv4 = address(&mut problems, "IPv4", &ipam.ipv4_address);
    let ipv6 = address(&mut problems, "IPv6", &ipam.ipv6_address);
    let link_local = ipam.link_local_ips.iter().flatten();
    let link_local: Vec<IpAddr> = link_local
        .filter_map(|text| address::<IpAddr>(&mut problems, "link-local IP", text))
        .collect();
    let is_link_local = |ip: &IpAddr| match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    if let Some(other) = link_local.iter().find(|ip| !is_link_local(ip)) {
        problems.push(format!("invalid link local IP address: {other}"));
    }
    let problem = match problems.as_slice() {
        [] => None,
        [one] => Some(one.clone()),
        many => Some(
            many.iter()
                .map(|problem| format!("* {problem}"))
                .collect::<Vec<_>>()
                .join("\n"),
        ),
    };
    if let Some(problem) = problem {
        return Err(Error::Invalid(format!(
            "invalid endpoint settings:\n{problem}"
        )));
    }
    Ok(EndpointSpec {
        network: network.to_owned(),
        aliases: request.aliases.clone().unwrap_or_default(),
        links: request.links.clone().unwrap_or_default(),
        ipv4,
        ipv6,
        link_local,
        mac,
        driver_opts: request.driver_opts.clone().unwrap_or_default(),
        gw_priority: request.gw_priority,
    })
}

/// What must have been asked for, when the record of the container does not say it: the daemon ended between
/// joining a network and saving that.
fn request_of(spec: &EndpointSpec) -> EndpointRequest {
    fn text<T: ToString>(value: Option<T>) -> String {
        value.map(|value| value.to_string()).unwrap_or_default()
    }
    let link_local: Vec<String> = spec.link_local.iter().map(ToString::to_string).collect();
    let ipam = IpamRequest {
        ipv4_address: text(spec.ipv4),
        ipv6_address: text(spec.ipv6),
        link_local_ips: (!link_local.is_empty()).then_some(link_local),
    };
    EndpointRequest {
        ipam: (ipam != IpamRequest::default()).then_some(ipam),
        links: Some(spec.links.clone()).filter(|links| !links.is_empty()),
        aliases: Some(spec.aliases.clone()).filter(|aliases| !aliases.is_empty()),
        mac_address: text(spec.mac),
        driver_opts: Some(spec.driver_opts.clone()).filter(|options| !options.is_empty()),
        gw_priority: spec.gw_priority,
    }
}

fn shown(got: &arca_networks::Endpoint, request: EndpointRequest) -> Endpoint {
    fn text<T: ToString>(value: Option<T>) -> String {
        value.map(|value| value.to_string()).unwrap_or_default()
    }
    Endpoint {
        request,
        network_id: got.network.to_string(),
        endpoint_id: got.id.to_string(),
        mac_address: text(got.mac),
        gateway: text(got.gateway4.filter(|ip| !ip.is_unspecified())),
        ip_address: text(got.ipv4.map(|net| net.addr())),
        ip_prefix_len: got.ipv4.map_or(0, |net| net.prefix_len()),
        ipv6_gateway: text(got.gateway6.filter(|ip| !ip.is_unspecified())),
        global_ipv6_address: text(got.ipv6.map(|net| net.addr())),
        global_ipv6_prefix_len: got.ipv6.map_or(0, |net| net.prefix_len()),
        dns_names: Some(got.dns_names.clone()).filter(|names| !names.is_empty()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::IpamRequest;

    #[test]
    fn addresses_of_a_request_are_parsed() {
        let mut request = EndpointRequest {
            ipam: Some(IpamRequest {
                ipv4_address: "10.0.0.7".into(),
                ..IpamRequest::default()
            }),
            mac_address: "02:42:ac:11:00:02".into(),
            ..EndpointRequest::default()
        };
        let spec = endpoint_spec("net", &request).unwrap();
        assert_eq!(spec.ipv4, Some([10, 0, 0, 7].into()));
        assert!(spec.mac.is_some());
        request.mac_address = "x".into();
        let error = endpoint_spec("net", &request).unwrap_err().to_string();
        assert_eq!(error, "invalid MAC address x");
    }
}
