//! `HostConfig` of a create request.

use arca_containers::model::{
    self, CgroupnsMode, HostSpec, LogConfig as LogSpec, Port, PortBinding as Binding,
};
use arca_wire::container::{HostConfig, LogConfig, PortBinding, PortMap, RestartPolicy};
use std::collections::BTreeMap;

use super::mounts::mount_request;
use super::refuse;
use super::resources::resources;
use crate::error::ApiError;

#[expect(clippy::too_many_lines, reason = "one line a field")]
pub(super) fn host_spec(mut host: HostConfig) -> Result<HostSpec, ApiError> {
    refuse_unhonoured(&host)?;
    let resources = resources(&mut host)?;
    let HostConfig {
        binds,
        container_id_file,
        log_config: LogConfig { kind, config },
        network_mode,
        port_bindings,
        restart_policy: policy,
        auto_remove,
        volume_driver,
        volumes_from,
        console_size: [height, width],
        annotations,
        cap_add,
        cap_drop,
        cgroupns_mode,
        dns,
        dns_options,
        dns_search,
        extra_hosts,
        group_add,
        ipc_mode,
        cgroup,
        links,
        oom_score_adj,
        pid_mode,
        privileged,
        publish_all_ports,
        readonly_rootfs,
        security_opt,
        storage_opt,
        tmpfs,
        uts_mode,
        userns_mode,
        shm_size,
        sysctls,
        runtime,
        isolation,
        mounts,
        masked_paths,
        readonly_paths,
        init,
        // taken or refused by `resources`
        cpu_shares: _,
        memory: _,
        nano_cpus: _,
        cgroup_parent: _,
        blkio_weight: _,
        blkio_weight_device: _,
        blkio_device_read_bps: _,
        blkio_device_write_bps: _,
        blkio_device_read_iops: _,
        blkio_device_write_iops: _,
        cpu_period: _,
        cpu_quota: _,
        cpu_realtime_period: _,
        cpu_realtime_runtime: _,
        cpuset_cpus: _,
        cpuset_mems: _,
        devices: _,
        device_cgroup_rules: _,
        device_requests: _,
        kernel_memory: _,
        kernel_memory_tcp: _,
        memory_reservation: _,
        memory_swap: _,
        memory_swappiness: _,
        oom_kill_disable: _,
        pids_limit: _,
        ulimits: _,
        cpu_count: _,
        cpu_percent: _,
        io_maximum_iops: _,
        io_maximum_bandwidth: _,
    } = host;
    Ok(HostSpec {
        binds,
        container_id_file,
        log: LogSpec {
            driver: kind,
            options: config.unwrap_or_default(),
        },
        network_mode: network_mode.parse()?,
        port_bindings: port_bindings.map(bindings).transpose()?,
        restart_policy: restart_policy(policy)?,
        auto_remove,
        volume_driver,
        volumes_from,
        mounts: some(mounts)
            .map(|mounts| {
                mounts
                    .into_iter()
                    .map(mount_request)
                    .collect::<Result<_, _>>()
            })
            .transpose()?,
        console_size: (height, width),
        annotations: some_map(annotations),
        cap_add: cap_add.map(|names| names.0),
        cap_drop: cap_drop.map(|names| names.0),
        cgroupns_mode: CgroupnsMode::parse(&cgroupns_mode)?,
        dns,
        dns_options,
        dns_search,
        extra_hosts,
        group_add,
        ipc_mode: if ipc_mode.is_empty() {
            None
        } else {
            Some(ipc_mode.parse()?)
        },
        cgroup,
        links,
        linked: Vec::new(),
        oom_score_adj,
        pid_mode: pid_mode.parse()?,
        privileged,
        publish_all_ports,
        readonly_rootfs,
        security_opt,
        storage_opt: some_map(storage_opt),
        tmpfs: some_map(tmpfs),
        uts_mode: uts_mode.parse()?,
        userns_mode,
        shm_size,
        sysctls: some_map(sysctls),
        runtime,
        isolation,
        init,
        masked_paths,
        readonly_paths,
        resources,
    })
}

/// What would be shown again and have no effect. The words are dockerd's where it refuses it, too.
fn refuse_unhonoured(host: &HostConfig) -> Result<(), ApiError> {
    let isolation = host.isolation.as_str();
    if !isolation.is_empty() && !isolation.eq_ignore_ascii_case("default") {
        return Err(ApiError::bad(format!(
            "invalid isolation ({isolation}): linux only supports 'default'"
        )));
    }
    if host.annotations.keys().any(String::is_empty) {
        return Err(ApiError::bad(
            "invalid Annotations: the empty string is not permitted as an annotation key",
        ));
    }
    refuse(
        !host.cgroup.is_empty(),
        "Cgroup",
        "a container has a cgroup of its own",
    )?;
    if !matches!(host.userns_mode.as_str(), "" | "host") {
        return Err(ApiError::bad(format!(
            "invalid UsernsMode: {:?} is neither empty nor \"host\"",
            host.userns_mode
        )));
    }
    Ok(())
}

/// A restart policy, of create and update.
pub(crate) fn restart_policy(policy: RestartPolicy) -> Result<model::RestartPolicy, ApiError> {
    let RestartPolicy {
        name,
        maximum_retry_count,
    } = policy;
    Ok(model::RestartPolicy {
        kind: name.parse()?,
        maximum_retry_count,
    })
}

fn bindings(ports: PortMap) -> Result<BTreeMap<Port, Vec<Binding>>, ApiError> {
    ports
        .into_iter()
        .map(|(port, bindings)| {
            let binding = |PortBinding { host_ip, host_port }| Binding { host_ip, host_port };
            let bindings = bindings
                .unwrap_or_default()
                .into_iter()
                .map(binding)
                .collect();
            Ok((port.parse()?, bindings))
        })
        .collect()
}

fn some<T>(values: Vec<T>) -> Option<Vec<T>> {
    (!values.is_empty()).then_some(values)
}

fn some_map(values: BTreeMap<String, String>) -> Option<BTreeMap<String, String>> {
    (!values.is_empty()).then_some(values)
}
