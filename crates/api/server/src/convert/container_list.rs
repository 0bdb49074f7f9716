//! `GET /containers/json`.

use arca_containers::model::{MountType, PortBinding};
use arca_containers::{Container, Listed};
use arca_types::Timestamp;
use arca_wire::container::{
    ContainerSummary, MountPoint, Port, SummaryHostConfig, SummaryNetworkSettings,
};

use super::container_inspect::signed;
use super::endpoint::endpoint_settings;
use super::mounts::mount_point;

pub(crate) fn summary(listed: &Listed, now: Timestamp) -> ContainerSummary {
    let container: &Container = &listed.container;
    ContainerSummary {
        id: container.id.to_string(),
        names: std::iter::once(format!("/{}", container.name))
            .chain(listed.link_names.iter().cloned())
            .collect(),
        image: listed.image.clone(),
        image_id: container.image.to_string(),
        image_manifest_descriptor: None,
        command: container.command(),
        created: container.created.seconds(),
        ports: ports(container),
        size_rw: listed.size.map_or(0, |size| signed(size.rw)),
        size_root_fs: listed.size.map_or(0, |size| signed(size.root_fs)),
        labels: container.spec.labels.clone(),
        state: container.state.as_str().to_owned(),
        status: container.status(now),
        host_config: SummaryHostConfig {
            network_mode: container.spec.host.network_mode.to_string(),
            annotations: container.spec.host.annotations.clone().unwrap_or_default(),
        },
        network_settings: SummaryNetworkSettings {
            networks: container
                .network
                .networks
                .iter()
                .map(|(name, endpoint)| {
                    let mut settings = endpoint_settings(endpoint);
                    // lists do not tell names
                    settings.aliases = None;
                    settings.links = None;
                    settings.dns_names = None;
                    (name.clone(), settings)
                })
                .collect(),
        },
        mounts: container.mounts.iter().map(mount).collect(),
    }
}

/// Lists do not tell where anonymous volumes are.
fn mount(mount: &arca_containers::model::MountPoint) -> MountPoint {
    let mut shown = mount_point(mount);
    if mount.kind == MountType::Volume && mount.anonymous {
        shown.source.clear();
    }
    shown
}

fn ports(container: &Container) -> Vec<Port> {
    let mut ports = Vec::new();
    for (port, bindings) in &container.network.ports {
        let shown = |binding: Option<&PortBinding>| Port {
            ip: binding
                .map(|binding| binding.host_ip.clone())
                .unwrap_or_default(),
            private_port: port.number,
            public_port: binding
                .and_then(|b| b.host_port.parse().ok())
                .unwrap_or_default(),
            protocol: port.protocol.as_str().to_owned(),
        };
        match bindings.as_deref() {
            None | Some([]) => ports.push(shown(None)),
            Some(bindings) => ports.extend(bindings.iter().map(|binding| shown(Some(binding)))),
        }
    }
    ports
}
