//! Every recorded answer goes through its type and comes back unchanged: no field is missing, none is
//! added, and what was left out, `null` or empty is so again.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{container, event, exec, image, network, progress, system, volume};

fn same<T: DeserializeOwned + Serialize>(name: &str, recorded: &str) {
    let expected: Value = serde_json::from_str(recorded).unwrap();
    let typed: T = serde_json::from_str(recorded).unwrap_or_else(|e| panic!("{name}: {e}"));
    let written = serde_json::to_value(&typed).unwrap();
    if let Some(difference) = difference("", &expected, &written) {
        panic!("{name}{difference}");
    }
}

/// The first place where the two differ; numbers are compared as numbers.
fn difference(path: &str, expected: &Value, written: &Value) -> Option<String> {
    match (expected, written) {
        (Value::Object(a), Value::Object(b)) => {
            for key in a.keys().chain(b.keys()) {
                match (a.get(key), b.get(key)) {
                    (Some(x), Some(y)) => {
                        if let Some(found) = difference(&format!("{path}.{key}"), x, y) {
                            return Some(found);
                        }
                    }
                    (Some(_), None) => return Some(format!("{path}.{key}: missing in ours")),
                    _ => return Some(format!("{path}.{key}: only in ours")),
                }
            }
            None
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => a
            .iter()
            .zip(b)
            .enumerate()
            .find_map(|(i, (x, y))| difference(&format!("{path}[{i}]"), x, y)),
        (a, b) if a == b => None,
        (a, b) => Some(format!("{path}: recorded {a}, ours {b}")),
    }
}

macro_rules! golden {
    ($($test:ident $type:ty : $($file:literal)*;)*) => {$(
        #[test]
        fn $test() {
            $(same::<$type>($file, include_str!(concat!("../golden/", $file, ".json")));)*
        }
    )*};
}

golden! {
    version system::Version: "version";
    info system::Info: "info";
    df system::DiskUsage: "df" "df_volumes";
    container_create container::CreateResponse: "container_create" "container_create_full";
    container_inspect container::ContainerInspect:
        "container_inspect_created" "container_inspect_full" "container_inspect_host" "container_inspect_bridge";
    container_state container::ContainerState: "container_state_exited" "container_state_paused";
    container_list Vec<container::ContainerSummary>: "container_list" "container_list_running";
    container_stats container::Stats: "container_stats" "container_stats_stopped";
    container_top container::TopResponse: "container_top";
    container_changes Vec<container::Change>: "container_changes";
    container_update container::UpdateResponse: "container_update";
    container_wait container::WaitResponse: "container_wait";
    container_prune container::PruneResponse: "container_prune" "container_prune_nothing";
    exec_create crate::IdResponse: "exec_create" "commit";
    exec_inspect exec::ExecInspect: "exec_inspect_created" "exec_inspect_ended";
    image_list Vec<image::ImageSummary>: "image_list" "image_list_shared";
    image_inspect image::ImageInspect: "image_inspect";
    image_history Vec<image::HistoryItem>: "image_history";
    image_delete Vec<image::DeleteResponse>: "image_delete" "image_untag";
    image_prune image::ImagePruneResponse: "image_prune_nothing";
    distribution image::DistributionInspect: "distribution";
    network_create network::NetworkCreateResponse: "network_create";
    network_inspect network::Network: "network_inspect";
    network_list Vec<network::Network>: "network_list";
    network_prune network::NetworkPruneResponse: "network_prune" "network_prune_nothing";
    volume volume::Volume: "volume_create" "volume_inspect";
    volume_list volume::VolumeListResponse: "volume_list";
    volume_prune volume::VolumePruneResponse: "volume_prune_nothing";
    build_prune system::BuildPruneResponse: "build_prune_nothing";
    error crate::ErrorResponse: "error" "image_pull_missing";
}

#[test]
fn events_and_progress_line_by_line() {
    for line in include_str!("../golden/events.jsonl").lines() {
        same::<event::Event>("events", line);
    }
    for lines in [
        include_str!("../golden/image_pull.jsonl"),
        include_str!("../golden/image_pull_again.jsonl"),
        include_str!("../golden/image_push.jsonl"),
        include_str!("../golden/image_load.jsonl"),
    ] {
        for line in lines.lines() {
            same::<progress::JsonMessage>("progress", line);
        }
    }
}

#[test]
fn a_recorded_configuration_is_read_back_as_a_request() {
    let inspect: Value =
        serde_json::from_str(include_str!("../golden/container_inspect_full.json")).unwrap();
    let host: container::HostConfig =
        crate::decode::from_value(inspect.get("HostConfig").unwrap().clone()).unwrap();
    assert_eq!(serde_json::to_value(&host).unwrap(), inspect["HostConfig"]);
    assert_eq!(
        host.mounts
            .first()
            .unwrap()
            .tmpfs_options
            .as_ref()
            .unwrap()
            .size_bytes,
        1 << 20
    );
}
