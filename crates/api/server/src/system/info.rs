//! `GET /info`.

use std::collections::BTreeMap;

use arca_engine::System;
use arca_wire::system::{
    AddressPool, Commit, Device, FirewallInfo, IndexInfo, Info, Plugins, RegistryConfig, Runtime,
    Swarm,
};
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;

use crate::compat::{self, ApiVersion};
use crate::error::ApiError;
use crate::http::json;

/// Shows the engine and its host.
pub(super) async fn info(
    State(system): State<System>,
    version: ApiVersion,
) -> Result<Response, ApiError> {
    let info = answer(system.info().await?);
    Ok(json(StatusCode::OK, &compat::info(version, info)))
}

#[expect(clippy::too_many_lines, reason = "one line a field")]
fn answer(info: arca_engine::Info) -> Info {
    let registry_config = registry(&info);
    Info {
        id: info.id,
        containers: info.containers_running + info.containers_paused + info.containers_stopped,
        containers_running: info.containers_running,
        containers_paused: info.containers_paused,
        containers_stopped: info.containers_stopped,
        images: info.images,
        driver: info.storage_driver,
        driver_status: info
            .driver_status
            .into_iter()
            .map(|(name, value)| [name, value])
            .collect(),
        plugins: Plugins {
            volume: info.volume_drivers,
            network: info.network_drivers,
            authorization: None,
            log: info.log_drivers,
        },
        memory_limit: info.memory_limit,
        swap_limit: info.swap_limit,
        kernel_memory: false,
        kernel_memory_tcp: info.kernel_memory_tcp,
        cpu_cfs_period: info.cpu_cfs_period,
        cpu_cfs_quota: info.cpu_cfs_quota,
        cpu_shares: info.cpu_shares,
        cpu_set: info.cpu_set,
        pids_limit: info.pids_limit,
        ipv4_forwarding: info.ipv4_forwarding,
        bridge_nf_iptables: None,
        bridge_nf_ip6tables: None,
        debug: info.debug,
        n_fd: info.open_files,
        oom_kill_disable: info.oom_kill_disable,
        n_goroutines: info.tasks,
        system_time: info.time.to_string(),
        logging_driver: info.log_driver,
        cgroup_driver: info.cgroup_driver,
        cgroup_version: info.cgroup_version,
        n_events_listener: info.event_listeners,
        kernel_version: info.kernel_version,
        operating_system: info.operating_system,
        os_version: info.os_version,
        os_type: "linux".to_owned(),
        architecture: info.architecture,
        index_server_address: "https://index.docker.io/v1/".to_owned(),
        registry_config: Some(registry_config),
        ncpu: info.cpus,
        mem_total: info.memory,
        generic_resources: None,
        docker_root_dir: info.root_dir.to_string_lossy().into_owned(),
        http_proxy: info.http_proxy,
        https_proxy: info.https_proxy,
        no_proxy: info.no_proxy,
        name: info.name,
        labels: info.labels,
        experimental_build: false,
        server_version: info.version,
        runtimes: info
            .runtimes
            .into_iter()
            .map(|(name, one)| (name, runtime(one)))
            .collect(),
        default_runtime: info.default_runtime,
        swarm: Swarm {
            local_node_state: "inactive".to_owned(),
            ..Swarm::default()
        },
        live_restore_enabled: true,
        isolation: String::new(),
        init_binary: info.init_binary,
        // there is neither a containerd nor a runc
        containerd_commit: Commit::default(),
        runc_commit: Commit::default(),
        init_commit: Commit::default(),
        security_options: info.security_options,
        product_license: String::new(),
        default_address_pools: info
            .address_pools
            .into_iter()
            .map(|(base, size)| AddressPool {
                base: base.to_string(),
                size,
            })
            .collect(),
        firewall_backend: Some(FirewallInfo {
            driver: info.firewall,
            info: Vec::new(),
        }),
        cdi_spec_dirs: info
            .cdi_dirs
            .iter()
            .map(|dir| dir.to_string_lossy().into_owned())
            .collect(),
        discovered_devices: info.cdi_devices.into_iter().map(device).collect(),
        containerd: None,
        warnings: (!info.warnings.is_empty()).then_some(info.warnings),
    }
}

fn device(id: String) -> Device {
    Device {
        source: "cdi".to_owned(),
        id,
    }
}

fn runtime(runtime: arca_engine::Runtime) -> Runtime {
    Runtime {
        path: runtime.path,
        runtime_args: runtime.args,
        runtime_type: String::new(),
        status: BTreeMap::new(),
    }
}

fn registry(info: &arca_engine::Info) -> RegistryConfig {
    let hub = IndexInfo {
        mirrors: info.mirrors.clone(),
        name: "docker.io".to_owned(),
        official: true,
        secure: true,
    };
    let insecure = info.insecure_registries.iter().map(|name| {
        let index = IndexInfo {
            name: name.clone(),
            ..IndexInfo::default()
        };
        (name.clone(), index)
    });
    RegistryConfig {
        allow_nondistributable_artifacts_cidrs: None,
        allow_nondistributable_artifacts_hostnames: None,
        index_configs: std::iter::once(("docker.io".to_owned(), hub))
            .chain(insecure)
            .collect(),
        insecure_registry_cidrs: info.insecure_cidrs.clone(),
        mirrors: (!info.mirrors.is_empty()).then(|| info.mirrors.clone()),
    }
}
