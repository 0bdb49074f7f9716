//! From a process of the graph to one of the container service.

use arca_containers::Ulimit;
use arca_containers::model::{ContainerSpec, HostSpec, NetworkMode as Network, Resources};

use super::mounts::Mounts;
use crate::Error;
use crate::graph::{Exec, NetworkMode, ProxyEnv, SecurityMode};
use crate::solve::Step;

/// BuildKit's name for the host of a step.
const HOSTNAME: &str = "buildkitsandbox";

pub(super) async fn of(step: &Step, exec: &Exec, mounts: &Mounts) -> Result<ContainerSpec, Error> {
    let limits = &step.job.0.limits;
    let mut env = exec.env.clone();
    proxies(&mut env, exec.proxy.as_ref());
    secrets(step, exec, &mut env).await?;
    let hosts = exec.extra_hosts.iter().chain(&limits.extra_hosts);
    let hosts: Vec<String> = hosts
        .map(|host| format!("{}:{}", host.host, host.ip))
        .collect();
    let ulimits = limits.ulimits.iter().chain(&exec.ulimits);
    let ulimits: Vec<Ulimit> = ulimits
        .map(|limit| Ulimit {
            name: limit.name.clone(),
            soft: limit.soft,
            hard: limit.hard,
        })
        .collect();
    let own = |text: &str, other: &str| if text.is_empty() { other } else { text }.to_owned();
    let resources = Resources {
        memory: limits.memory,
        memory_swap: limits.memory_swap,
        cpu_shares: limits.cpu_shares,
        cpu_period: limits.cpu_period,
        cpu_quota: limits.cpu_quota,
        cpuset_cpus: limits.cpuset_cpus.clone(),
        cpuset_mems: limits.cpuset_mems.clone(),
        cgroup_parent: own(&exec.cgroup_parent, &limits.cgroup_parent),
        ulimits: (!ulimits.is_empty()).then_some(ulimits),
        ..Resources::default()
    };
    Ok(ContainerSpec {
        hostname: own(&exec.hostname, HOSTNAME),
        user: exec.user.clone(),
        env,
        cmd: Some(exec.args.clone()),
        working_dir: exec.cwd.clone(),
        host: HostSpec {
            network_mode: network(step, exec)?,
            extra_hosts: (!hosts.is_empty()).then_some(hosts),
            privileged: exec.security == SecurityMode::Insecure,
            readonly_rootfs: mounts.read_only_root(),
            shm_size: limits.shm_size,
            resources,
            ..HostSpec::default()
        },
        ..ContainerSpec::default()
    })
}

fn network(step: &Step, exec: &Exec) -> Result<Network, Error> {
    let limits = &step.job.0.limits;
    let mode = match exec.network {
        NetworkMode::Default => limits.network,
        own => own,
    };
    Ok(match mode {
        NetworkMode::Host => Network::Host,
        NetworkMode::None => Network::None,
        NetworkMode::Default => limits
            .network_name
            .parse()
            .map_err(|error| Error::Containers(Box::new(error)))?,
    })
}

/// Adds the variables for proxies, in both spellings.
fn proxies(env: &mut Vec<String>, proxy: Option<&ProxyEnv>) {
    let Some(proxy) = proxy else {
        return;
    };
    let pairs = [
        ("HTTP_PROXY", &proxy.http_proxy),
        ("HTTPS_PROXY", &proxy.https_proxy),
        ("FTP_PROXY", &proxy.ftp_proxy),
        ("NO_PROXY", &proxy.no_proxy),
        ("ALL_PROXY", &proxy.all_proxy),
    ];
    for (name, value) in pairs.into_iter().filter(|(_, value)| !value.is_empty()) {
        env.push(format!("{name}={value}"));
        env.push(format!("{}={value}", name.to_lowercase()));
    }
}

/// Adds the secrets that are variables.
async fn secrets(step: &Step, exec: &Exec, env: &mut Vec<String>) -> Result<(), Error> {
    for secret in &exec.secret_env {
        let Some(value) = step.job.session().secret(&secret.id).await? else {
            if secret.optional {
                continue;
            }
            return Err(Error::NotFound(format!("secret {}: not found", secret.id)));
        };
        let value = String::from_utf8_lossy(value.expose()).into_owned();
        let same = format!("{}=", secret.name);
        env.retain(|variable| !variable.starts_with(&same));
        env.push(format!("{same}{value}"));
    }
    Ok(())
}
