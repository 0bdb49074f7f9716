//! A create request to a [`ContainerSpec`].

use arca_containers::model::{ContainerSpec, Port, Streams};
use arca_wire::container::{Config, CreateRequest, NetworkingConfig};
use std::collections::BTreeSet;

use super::endpoint::endpoint_request;
use super::health::healthcheck;
use super::host_spec::host_spec;
use crate::error::ApiError;

/// The domain's words for a create request of the newest version.
pub(crate) fn container_spec(request: CreateRequest) -> Result<ContainerSpec, ApiError> {
    let CreateRequest {
        config,
        host_config,
        networking_config,
    } = request;
    let NetworkingConfig { endpoints_config } = networking_config.unwrap_or_default();
    let networks = endpoints_config
        .into_iter()
        .map(|(network, endpoint)| Ok((network, endpoint_request(endpoint.unwrap_or_default())?)))
        .collect::<Result<_, ApiError>>()?;
    let spec = of_config(config.unwrap_or_default())?;
    Ok(ContainerSpec {
        host: host_spec(host_config.unwrap_or_default())?,
        networks,
        ..spec
    })
}

fn of_config(config: Config) -> Result<ContainerSpec, ApiError> {
    let Config {
        hostname,
        domainname,
        user,
        attach_stdin,
        attach_stdout,
        attach_stderr,
        exposed_ports,
        tty,
        open_stdin,
        stdin_once,
        env,
        cmd,
        healthcheck: check,
        args_escaped,
        image,
        volumes,
        working_dir,
        entrypoint,
        network_disabled,
        mac_address,
        on_build,
        labels,
        stop_signal,
        stop_timeout,
        shell,
    } = config;
    Ok(ContainerSpec {
        image,
        hostname,
        domainname,
        user,
        attach: Streams {
            stdin: attach_stdin,
            stdout: attach_stdout,
            stderr: attach_stderr,
        },
        exposed_ports: ports(exposed_ports.into_keys())?,
        tty,
        open_stdin,
        stdin_once,
        env: env.unwrap_or_default(),
        cmd: cmd.map(|cmd| cmd.0),
        entrypoint: entrypoint.map(|entrypoint| entrypoint.0),
        healthcheck: check.map(healthcheck).transpose()?,
        args_escaped,
        volumes: volumes.map(|volumes| volumes.into_keys().collect()),
        working_dir,
        network_disabled,
        mac_address: (!mac_address.is_empty()).then_some(mac_address),
        on_build,
        labels: labels.unwrap_or_default(),
        stop_signal: (!stop_signal.is_empty()).then_some(stop_signal),
        stop_timeout,
        shell: (!shell.is_empty()).then_some(shell),
        ..ContainerSpec::default()
    })
}

/// The ports of `80/tcp` and `8000-8010/tcp`.
fn ports(texts: impl Iterator<Item = String>) -> Result<BTreeSet<Port>, ApiError> {
    let mut ports = BTreeSet::new();
    for text in texts {
        ports.extend(Port::range(&text)?);
    }
    Ok(ports)
}
