//! `GET /containers/{id}/json`.

use arca_containers::model::{Health, NetworkSettings as Network, ProbeResult};
use arca_containers::{Container, Inspection, State};
use arca_wire::container::{
    self, Config, ContainerInspect, ContainerState, DriverData, HealthcheckResult, HostConfig,
    NetworkSettings,
};

use super::endpoint::endpoint_settings;
use super::host_view::{binding, config, host_config};
use super::mounts::mount_point;

pub(crate) fn inspection(inspection: &Inspection) -> ContainerInspect {
    let container: &Container = &inspection.container;
    let path = |path: std::path::PathBuf| path.to_string_lossy().into_owned();
    ContainerInspect {
        id: container.id.to_string(),
        created: container.created.to_string(),
        path: container.path.to_string(),
        args: container.args.to_vec(),
        state: state(container),
        image: container.image.to_string(),
        resolv_conf_path: path(container.resolv_conf_path()),
        hostname_path: path(container.hostname_path()),
        hosts_path: path(container.hosts_path()),
        log_path: path(container.log_path()),
        name: format!("/{}", container.name),
        restart_count: u64::from(container.restart_count),
        driver: container.driver.to_owned(),
        platform: "linux".to_owned(),
        mount_label: String::new(),
        process_label: String::new(),
        app_armor_profile: inspection.apparmor_profile.clone(),
        exec_ids: inspection
            .exec_ids
            .as_ref()
            .map(|ids| ids.iter().map(ToString::to_string).collect()),
        host_config: HostConfig {
            links: inspection.links.clone(),
            ..host_config(&container.spec.host)
        },
        graph_driver: DriverData {
            data: Some(inspection.graph.clone()),
            name: container.driver.to_owned(),
        },
        image_manifest_descriptor: None,
        size_rw: inspection.size.map(|size| signed(size.rw)),
        size_root_fs: inspection.size.map(|size| signed(size.root_fs)),
        mounts: container.mounts.iter().map(mount_point).collect(),
        config: Config {
            mac_address: main_mac_address(container),
            ..config(container)
        },
        network_settings: network_settings(&container.network),
    }
}

/// The address that was asked for on the main network.
fn main_mac_address(container: &Container) -> String {
    let main = container.spec.host.network_mode.to_string();
    let endpoint = container.network.networks.get(&main);
    endpoint.map_or_else(String::new, |endpoint| endpoint.request.mac_address.clone())
}

pub(super) fn signed(size: u64) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

fn state(container: &Container) -> ContainerState {
    let state = container.state;
    ContainerState {
        status: state.as_str().to_owned(),
        running: state.is_running(),
        paused: matches!(state, State::Paused(_)),
        restarting: state.is_restarting(),
        oom_killed: container.run.oom_killed,
        dead: matches!(state, State::Dead),
        pid: state.process().map_or(0, |process| process.pid),
        exit_code: container.run.exit_code,
        error: container.run.error.clone(),
        started_at: container.run.started_at.to_string(),
        finished_at: container.run.finished_at.to_string(),
        health: container.health.as_deref().map(health),
    }
}

fn health(health: &Health) -> container::Health {
    let result = |probe: &ProbeResult| HealthcheckResult {
        start: probe.start.to_string(),
        end: probe.end.to_string(),
        exit_code: probe.exit_code,
        output: probe.output.clone(),
    };
    container::Health {
        status: health.status.as_str().to_owned(),
        failing_streak: i32::try_from(health.failing_streak).unwrap_or(i32::MAX),
        log: Some(health.log.iter().map(result).collect()),
    }
}

fn network_settings(network: &Network) -> NetworkSettings {
    // the fields beside `Networks` are of the default bridge, as long as that was all there was
    let bridge = network.networks.get("bridge").cloned().unwrap_or_default();
    NetworkSettings {
        bridge: String::new(),
        sandbox_id: network.sandbox_id.clone(),
        sandbox_key: network.sandbox_key.clone(),
        ports: Some(
            network
                .ports
                .iter()
                .map(|(port, bindings)| {
                    let bindings = bindings
                        .as_ref()
                        .map(|all| all.iter().map(binding).collect());
                    (port.to_string(), bindings)
                })
                .collect(),
        ),
        hairpin_mode: false,
        link_local_ipv6_address: String::new(),
        link_local_ipv6_prefix_len: 0,
        secondary_ip_addresses: None,
        secondary_ipv6_addresses: None,
        endpoint_id: bridge.endpoint_id,
        gateway: bridge.gateway,
        global_ipv6_address: bridge.global_ipv6_address,
        global_ipv6_prefix_len: bridge.global_ipv6_prefix_len,
        ip_address: bridge.ip_address,
        ip_prefix_len: bridge.ip_prefix_len,
        ipv6_gateway: bridge.ipv6_gateway,
        mac_address: bridge.mac_address,
        networks: network
            .networks
            .iter()
            .map(|(name, endpoint)| (name.clone(), endpoint_settings(endpoint)))
            .collect(),
    }
}
