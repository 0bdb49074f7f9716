//! What a client sends comes back from inspect, field by field, as recorded from dockerd.

use std::collections::BTreeMap;
use std::sync::Arc;

use arca_containers::model::{
    ContainerSpec, Endpoint, EndpointRequest, Health, HealthStatus, IpamRequest, MountPoint,
    MountType, NetworkSettings, PortBinding, ProbeResult,
};
use arca_containers::{Container, Ends, Inspection, Listed, Process, Run, State};
use arca_types::Timestamp;
use arca_wire::container::CreateRequest;
use serde_json::{Value, json};

use super::{container_spec, inspection, summary};

const FULL: &str = include_str!("../../../wire/golden/container_inspect_full.json");
const LIST: &str = include_str!("../../../wire/golden/container_list.json");

fn recorded() -> Value {
    serde_json::from_str(FULL).unwrap()
}

/// The create request that the recorded container came from, with all that was filled in since.
fn spec() -> ContainerSpec {
    let recorded = recorded();
    let mut body = recorded["Config"].clone();
    body["HostConfig"] = recorded["HostConfig"].clone();
    let request: CreateRequest = arca_wire::decode(body.to_string().as_bytes()).unwrap();
    container_spec(request).unwrap()
}

fn endpoint() -> Endpoint {
    Endpoint {
        request: EndpointRequest {
            ipam: Some(IpamRequest {
                ipv4_address: "172.30.250.9".into(),
                ..IpamRequest::default()
            }),
            aliases: Some(vec!["al".into()]),
            ..EndpointRequest::default()
        },
        network_id: "a".repeat(64),
        endpoint_id: "a".repeat(64),
        mac_address: String::new(),
        gateway: "172.30.250.1".into(),
        ip_address: "172.30.250.9".into(),
        ip_prefix_len: 24,
        dns_names: Some(vec![
            "golden-full".into(),
            "al".into(),
            "a".repeat(12),
            "h".into(),
        ]),
        ..Endpoint::default()
    }
}

fn mounts() -> Vec<MountPoint> {
    let mount = |kind, name: &str, source: &str, destination: &str| MountPoint {
        kind,
        name: name.into(),
        source: source.into(),
        destination: destination.into(),
        driver: if kind == MountType::Volume {
            "local".into()
        } else {
            String::new()
        },
        mode: String::new(),
        rw: true,
        propagation: String::new(),
        anonymous: false,
        copy_up: false,
        create_source: false,
        request: None,
        layers: None,
    };
    let id = "a".repeat(64);
    let data = |name: &str| format!("/var/lib/docker/volumes/{name}/_data");
    let mut named = mount(MountType::Volume, "golden-vol", &data("golden-vol"), "/v");
    named.mode = "ro".into();
    named.rw = false;
    let mut bind = mount(MountType::Bind, "", "/tmp", "/host");
    bind.propagation = "rprivate".into();
    let mut anonymous = mount(MountType::Volume, &id, &data(&id), "/anon");
    anonymous.anonymous = true;
    vec![
        named,
        bind,
        mount(MountType::Tmpfs, "", "", "/m"),
        anonymous,
    ]
}

fn container() -> Container {
    let at: Timestamp = "2026-01-02T03:04:05.678901234Z".parse().unwrap();
    let binding = PortBinding {
        host_ip: "127.0.0.1".into(),
        host_port: "32768".into(),
    };
    let id = "a".repeat(64);
    Container {
        id: id.parse().unwrap(),
        name: "golden-full".into(),
        created: at,
        image: format!("sha256:{}", "b".repeat(64)).parse().unwrap(),
        path: "sh".into(),
        args: vec![
            "-c".into(),
            "echo hi > /new; mkdir /d; exec sleep 1000".into(),
        ]
        .into(),
        spec: Arc::new(spec()),
        state: State::Running(Process { pid: 1 }),
        run: Run {
            started_at: at,
            ..Run::default()
        },
        restart_count: 0,
        health: Some(Arc::new(Health {
            status: HealthStatus::Healthy,
            failing_streak: 0,
            log: vec![ProbeResult {
                start: at,
                end: at,
                exit_code: 0,
                output: String::new(),
            }],
        })),
        mounts: mounts().into(),
        network: Arc::new(NetworkSettings {
            sandbox_id: id.clone(),
            sandbox_key: format!("/var/run/docker/netns/{}", "a".repeat(12)),
            ports: BTreeMap::from([
                ("80/tcp".parse().unwrap(), Some(vec![binding])),
                ("81/udp".parse().unwrap(), None),
            ]),
            networks: BTreeMap::from([("golden-net".into(), endpoint())]),
        }),
        driver: "overlay2",
        dir: std::path::Path::new("/var/lib/docker/containers")
            .join(&id)
            .into(),
        ends: Ends::default(),
    }
}

/// Takes out what differs from run to run.
fn without_random(mut value: Value) -> Value {
    if let Some(state) = value.get_mut("State").filter(|state| state.is_object()) {
        state["Pid"] = json!(1);
    }
    for (place, fixed) in [
        ("/NetworkSettings/Networks/golden-net/MacAddress", json!("")),
        ("/NetworkSettings/Ports/80~1tcp/0/HostPort", json!("32768")),
        ("/Ports/0/PublicPort", json!(32768)),
        ("/Created", json!("once")),
    ] {
        if let Some(found) = value.pointer_mut(place) {
            *found = fixed;
        }
    }
    let mounts = value["Mounts"].as_array_mut().unwrap();
    mounts.sort_by_key(|mount| mount["Destination"].to_string());
    value
}

#[test]
fn what_was_asked_for_is_shown_as_it_was_sent() {
    let spec = spec();
    let shown = serde_json::to_value(super::host_view::host_config(&spec.host)).unwrap();
    assert_eq!(shown, recorded()["HostConfig"]);
}

#[test]
fn inspect_has_every_field_of_the_recorded_answer() {
    let inspected = Inspection {
        container: Arc::new(container()),
        exec_ids: None,
        graph: recorded()["GraphDriver"]["Data"]
            .as_object()
            .unwrap()
            .iter()
            .map(|(key, value)| (key.clone(), value.as_str().unwrap().to_owned()))
            .collect(),
        size: None,
        apparmor_profile: String::new(),
        links: None,
    };
    let shown = serde_json::to_value(inspection(&inspected)).unwrap();
    let (shown, expected) = (without_random(shown), without_random(recorded()));
    for (field, value) in expected.as_object().unwrap() {
        assert_eq!(&shown[field], value, "{field}");
    }
    assert_eq!(
        shown.as_object().unwrap().len(),
        expected.as_object().unwrap().len()
    );
}

#[test]
fn a_list_has_every_field_of_the_recorded_answer() {
    let list: Value = serde_json::from_str(LIST).unwrap();
    let expected = list
        .as_array()
        .unwrap()
        .iter()
        .find(|c| c["Names"][0] == "/golden-full")
        .unwrap()
        .clone();
    let container = Arc::new(container());
    let now = container
        .run
        .started_at
        .after(std::time::Duration::from_secs(3));
    let size = arca_containers::Size {
        rw: 3,
        root_fs: 1_982_805,
    };
    let listed = Listed {
        container,
        image: "busybox".into(),
        link_names: Vec::new(),
        size: Some(size),
    };
    let shown = without_random(serde_json::to_value(summary(&listed, now)).unwrap());
    assert_eq!(shown, without_random(expected));
}

#[test]
fn what_is_not_honoured_is_refused_by_name() {
    for (host, text) in [
        (
            json!({"IOMaximumIOps": 1}),
            "QoS maximum IOPs configuration is not supported on linux",
        ),
        (
            json!({"RestartPolicy": {"Name": "sometimes"}}),
            "invalid restart policy",
        ),
        (
            json!({"PortBindings": {"x/tcp": null}}),
            "invalid port specification",
        ),
    ] {
        let body = json!({"Image": "a", "HostConfig": host}).to_string();
        let request: CreateRequest = arca_wire::decode(body.as_bytes()).unwrap();
        let error = container_spec(request).unwrap_err();
        assert!(error.message().contains(text), "{}", error.message());
    }
}
