//! The configuration of a container as inspect shows it.

use arca_containers::Container;
use arca_containers::model::{self, CgroupnsMode, ContainerSpec, HostSpec, IpcMode, Resources};
use arca_wire::container::{
    Config, DeviceMapping, DeviceRequest, HostConfig, LogConfig, PortBinding, RestartPolicy,
    ThrottleDevice, Ulimit, WeightDevice,
};
use arca_wire::{Empty, StrSlice};

use super::health::health_config;
use super::mounts::mount;

pub(super) fn config(container: &Container) -> Config {
    let spec: &ContainerSpec = &container.spec;
    Config {
        hostname: container.hostname().to_owned(),
        domainname: spec.domainname.clone(),
        user: spec.user.clone(),
        attach_stdin: spec.attach.stdin,
        attach_stdout: spec.attach.stdout,
        attach_stderr: spec.attach.stderr,
        exposed_ports: spec
            .exposed_ports
            .iter()
            .map(|port| (port.to_string(), Empty {}))
            .collect(),
        tty: spec.tty,
        open_stdin: spec.open_stdin,
        stdin_once: spec.stdin_once,
        env: Some(spec.env.clone()),
        cmd: spec.cmd.clone().map(StrSlice),
        healthcheck: spec.healthcheck.as_ref().map(health_config),
        args_escaped: spec.args_escaped,
        image: spec.image.clone(),
        volumes: spec.volumes.as_ref().map(|volumes| {
            volumes
                .iter()
                .map(|path| (path.clone(), Empty {}))
                .collect()
        }),
        working_dir: spec.working_dir.clone(),
        entrypoint: spec.entrypoint.clone().map(StrSlice),
        network_disabled: spec.network_disabled,
        mac_address: spec.mac_address.clone().unwrap_or_default(),
        on_build: spec.on_build.clone(),
        labels: Some(spec.labels.clone()),
        stop_signal: spec.stop_signal.clone().unwrap_or_default(),
        stop_timeout: spec.stop_timeout,
        shell: spec.shell.clone().unwrap_or_default(),
    }
}

#[expect(clippy::too_many_lines, reason = "one line a field")]
pub(super) fn host_config(host: &HostSpec) -> HostConfig {
    HostConfig {
        binds: host.binds.clone(),
        container_id_file: host.container_id_file.clone(),
        log_config: LogConfig {
            kind: host.log.driver.clone(),
            config: Some(host.log.options.clone()),
        },
        network_mode: host.network_mode.to_string(),
        port_bindings: host.port_bindings.as_ref().map(|ports| {
            ports
                .iter()
                .map(|(port, bindings)| {
                    (
                        port.to_string(),
                        Some(bindings.iter().map(binding).collect()),
                    )
                })
                .collect()
        }),
        restart_policy: RestartPolicy {
            name: host.restart_policy.kind.as_str().to_owned(),
            maximum_retry_count: host.restart_policy.maximum_retry_count,
        },
        auto_remove: host.auto_remove,
        volume_driver: host.volume_driver.clone(),
        volumes_from: host.volumes_from.clone(),
        console_size: [host.console_size.0, host.console_size.1],
        annotations: host.annotations.clone().unwrap_or_default(),
        cap_add: host.cap_add.clone().map(StrSlice),
        cap_drop: host.cap_drop.clone().map(StrSlice),
        cgroupns_mode: host
            .cgroupns_mode
            .as_ref()
            .map(CgroupnsMode::to_string)
            .unwrap_or_default(),
        dns: host.dns.clone(),
        dns_options: host.dns_options.clone(),
        dns_search: host.dns_search.clone(),
        extra_hosts: host.extra_hosts.clone(),
        group_add: host.group_add.clone(),
        ipc_mode: host
            .ipc_mode
            .as_ref()
            .map(IpcMode::to_string)
            .unwrap_or_default(),
        cgroup: host.cgroup.clone(),
        links: host.links.clone(),
        oom_score_adj: host.oom_score_adj,
        pid_mode: host.pid_mode.to_string(),
        privileged: host.privileged,
        publish_all_ports: host.publish_all_ports,
        readonly_rootfs: host.readonly_rootfs,
        security_opt: host.security_opt.clone(),
        storage_opt: host.storage_opt.clone().unwrap_or_default(),
        tmpfs: host.tmpfs.clone().unwrap_or_default(),
        uts_mode: host.uts_mode.to_string(),
        userns_mode: host.userns_mode.clone(),
        shm_size: host.shm_size,
        sysctls: host.sysctls.clone().unwrap_or_default(),
        runtime: host.runtime.clone(),
        isolation: host.isolation.clone(),
        mounts: host.mounts.iter().flatten().map(mount).collect(),
        masked_paths: host.masked_paths.clone(),
        readonly_paths: host.readonly_paths.clone(),
        init: host.init,
        ..limits(&host.resources)
    }
}

fn limits(resources: &Resources) -> HostConfig {
    HostConfig {
        cpu_shares: resources.cpu_shares,
        memory: resources.memory,
        nano_cpus: resources.nano_cpus,
        cgroup_parent: resources.cgroup_parent.clone(),
        blkio_weight: resources.blkio_weight,
        blkio_weight_device: resources.blkio_weight_device.as_ref().map(|devices| {
            let weight = |d: &model::WeightDevice| WeightDevice {
                path: d.path.clone(),
                weight: d.weight,
            };
            devices.iter().map(weight).collect()
        }),
        blkio_device_read_bps: throttles(resources.blkio_device_read_bps.as_ref()),
        blkio_device_write_bps: throttles(resources.blkio_device_write_bps.as_ref()),
        blkio_device_read_iops: throttles(resources.blkio_device_read_iops.as_ref()),
        blkio_device_write_iops: throttles(resources.blkio_device_write_iops.as_ref()),
        cpu_period: resources.cpu_period,
        cpu_quota: resources.cpu_quota,
        cpu_realtime_period: resources.cpu_realtime_period,
        cpu_realtime_runtime: resources.cpu_realtime_runtime,
        cpuset_cpus: resources.cpuset_cpus.clone(),
        cpuset_mems: resources.cpuset_mems.clone(),
        devices: resources
            .devices
            .as_ref()
            .map(|devices| devices.iter().map(device).collect()),
        device_cgroup_rules: resources.device_cgroup_rules.clone(),
        device_requests: resources
            .device_requests
            .as_ref()
            .map(|requests| requests.iter().map(device_request).collect()),
        kernel_memory_tcp: resources.kernel_memory_tcp,
        memory_reservation: resources.memory_reservation,
        memory_swap: resources.memory_swap,
        memory_swappiness: resources.memory_swappiness,
        oom_kill_disable: resources.oom_kill_disable,
        pids_limit: resources.pids_limit,
        ulimits: resources.ulimits.as_ref().map(|limits| {
            let limit = |l: &model::Ulimit| Ulimit {
                name: l.name.clone(),
                hard: l.hard,
                soft: l.soft,
            };
            limits.iter().map(limit).collect()
        }),
        ..HostConfig::default()
    }
}

/// A published port.
pub(super) fn binding(binding: &model::PortBinding) -> PortBinding {
    PortBinding {
        host_ip: binding.host_ip.clone(),
        host_port: binding.host_port.clone(),
    }
}

fn device(device: &model::DeviceMapping) -> DeviceMapping {
    DeviceMapping {
        path_on_host: device.path_on_host.clone(),
        path_in_container: device.path_in_container.clone(),
        cgroup_permissions: device.cgroup_permissions.clone(),
    }
}

fn device_request(request: &model::DeviceRequest) -> DeviceRequest {
    DeviceRequest {
        driver: request.driver.clone(),
        count: request.count,
        device_ids: request.device_ids.clone(),
        capabilities: request.capabilities.clone(),
        options: request.options.clone(),
    }
}

fn throttles(devices: Option<&Vec<model::ThrottleDevice>>) -> Option<Vec<ThrottleDevice>> {
    let throttle = |d: &model::ThrottleDevice| ThrottleDevice {
        path: d.path.clone(),
        rate: d.rate,
    };
    devices.map(|devices| devices.iter().map(throttle).collect())
}
