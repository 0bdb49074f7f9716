//! Answers compared field by field with those recorded from dockerd 28.5.2 for the same requests.
//!
//! `golden/<name>.json` is what dockerd answered (`ARCA_TEST_RECORD=1` with `ARCA_TEST_DOCKER_HOST` set
//! writes it). Values that differ from run to run are compared by type; every other difference is an
//! error unless it is listed in [`DIFFERENCES`], with its reason.
#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::too_many_lines,
    reason = "helpers of tests fail where they stand, and a story is told in one piece"
)]

use std::collections::BTreeSet;
use std::path::PathBuf;

use arca_testkit::Engine;
use serde_json::{Value, json};

/// Paths whose values belong to the host or the run; only their types are compared. `*` is any one name
/// or index, `**` any number of them.
const VOLATILE: &[&str] = &[
    "**/Id",
    "**/ID",
    "**/id",
    "**/Created",
    "**/CreatedAt",
    "**/StartedAt",
    "**/FinishedAt",
    "**/Pid",
    "**/Name",
    "**/Names/*",
    "**/name",
    "**/Hostname",
    "**/HostnamePath",
    "**/HostsPath",
    "**/LogPath",
    "**/ResolvConfPath",
    "**/SandboxID",
    "**/SandboxKey",
    "**/EndpointID",
    "**/NetworkID",
    "**/MacAddress",
    "**/IPAddress",
    "**/Gateway",
    "**/time",
    "**/timeNano",
    "**/execDuration",
    "**/execID",
    "**/container",
    "**/HostPort",
    "**/PublicPort",
    "**/ContainerID",
    "**/Image",
    "**/ImageID",
    "**/Labels/run",
    "**/run",
    "**/Mountpoint",
    "**/Source",
    // sizes of what is made from the host's packages
    "image-*/**/Size",
    "image-*/Size",
    "**/RootFS/Layers/*",
    "**/DockerVersion",
    "**/LastTagTime",
    "**/SharedSize",
    // the host's memory, processors, kernel and load
    "stats/**",
    "version/**",
    "info/**",
    "network/IPAM/Config/*/Subnet",
    "network/IPAM/Config/*/Gateway",
];

/// What is different on purpose: the path, and why.
const DIFFERENCES: &[(&str, &str)] = &[
    ("info/Containerd/**", "there is no containerd"),
    ("info/Containerd", "there is no containerd"),
    (
        "info/DriverStatus/**",
        "facts of the storage, which is another",
    ),
    (
        "info/Runtimes/**",
        "the built-in runtime has no path and no features of its own to tell",
    ),
    ("info/Plugins/**", "only what arca has"),
    ("info/Swarm/**", "fields of a swarm that is not there"),
    (
        "info/RegistryConfig/**",
        "the registries that the test engine is configured with",
    ),
    ("info/Warnings/**", "warnings belong to the host"),
    ("info/Warnings", "warnings belong to the host"),
    ("info/FirewallBackend/**", "another firewall, other facts"),
    ("version/Components/**", "the components are others"),
    ("version/BuildTime", "known to builds of releases only"),
    ("version/GoVersion", "arca is not written in Go"),
    (
        "stats/cpu_stats/cpu_usage/percpu_usage/**",
        "as many as there are processors",
    ),
    ("stats/memory_stats/stats/**", "the kernel's names"),
    (
        "stats/blkio_stats/**",
        "null or empty by the host's controllers",
    ),
    ("image-inspect/RepoTags/**", "other tags on a shared engine"),
    (
        "image-inspect/RepoDigests/**",
        "a shared engine may have pulled it",
    ),
    ("image-list/RepoTags/**", "other tags on a shared engine"),
    (
        "image-list/RepoDigests/**",
        "a shared engine may have pulled it",
    ),
    ("image-inspect/Metadata/**", "when it was tagged"),
    ("image-inspect/Comment", "made by another way of importing"),
    (
        "image-inspect/Container*",
        "made by another way of importing",
    ),
    (
        "image-inspect/GraphDriver/**",
        "directories of another storage",
    ),
    (
        "container-inspect*/GraphDriver/**",
        "directories of another storage",
    ),
    (
        "network/Containers/**",
        "containers of other tests on a shared engine",
    ),
    (
        "network/Options/com.docker.network.bridge.name",
        "the bridge has another name",
    ),
];

fn matches(pattern: &str, path: &str) -> bool {
    fn parts(pattern: &[&str], path: &[&str]) -> bool {
        match (pattern, path) {
            ([], []) => true,
            (["**", rest @ ..], _) => (0..=path.len()).any(|skip| parts(rest, &path[skip..])),
            ([first, pattern @ ..], [name, path @ ..]) => {
                let fits = match first.split_once('*') {
                    Some((before, after)) => name.starts_with(before) && name.ends_with(after),
                    None => first == name,
                };
                fits && parts(pattern, path)
            }
            _ => false,
        }
    }
    let (pattern, path): (Vec<&str>, Vec<&str>) =
        (pattern.split('/').collect(), path.split('/').collect());
    parts(&pattern, &path)
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn compare(path: &str, recorded: &Value, actual: &Value, found: &mut Vec<String>) {
    if DIFFERENCES
        .iter()
        .any(|(pattern, _)| matches(pattern, path))
    {
        return;
    }
    match (recorded, actual) {
        (Value::Object(one), Value::Object(other)) => {
            let names: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
            for name in names {
                let below = format!("{path}/{name}");
                match (one.get(name), other.get(name)) {
                    (Some(one), Some(other)) => compare(&below, one, other, found),
                    _ if DIFFERENCES
                        .iter()
                        .any(|(pattern, _)| matches(pattern, &below)) => {}
                    (Some(one), None) => found.push(format!("{below}: missing; recorded {one}")),
                    (None, other) => found.push(format!(
                        "{below}: not recorded; is {}",
                        other.unwrap_or(&Value::Null)
                    )),
                }
            }
        }
        (Value::Array(one), Value::Array(other)) if one.len() == other.len() => {
            for (index, (one, other)) in one.iter().zip(other).enumerate() {
                compare(&format!("{path}/{index}"), one, other, found);
            }
        }
        _ => {
            let volatile = VOLATILE.iter().any(|pattern| matches(pattern, path));
            if if volatile {
                kind(recorded) != kind(actual)
            } else {
                recorded != actual
            } {
                found.push(format!("{path}: recorded {recorded}, is {actual}"));
            }
        }
    }
}

fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("golden")
        .join(format!("{name}.json"))
}

/// Compares, or records.
fn check(name: &str, actual: &Value) {
    let path = file(name);
    if std::env::var_os("ARCA_TEST_RECORD").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, serde_json::to_string_pretty(actual).unwrap() + "\n").unwrap();
        return;
    }
    let recorded: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let mut found = Vec::new();
    compare(name, &recorded, actual, &mut found);
    assert!(
        found.is_empty(),
        "{name} differs from dockerd's:\n{}",
        found.join("\n")
    );
}

fn get(engine: &Engine, path: &str) -> Value {
    let (status, value) = engine.http().get(&format!("/v1.51{path}"));
    assert_eq!(status, 200, "{path}: {value}");
    value
}

/// A container with something of everything.
fn body(label: &str) -> Value {
    json!({
        "Image": "busybox:latest",
        "Cmd": ["sh", "-c", "trap 'exit 3' TERM; while :; do sleep 0.1; done"],
        "Env": ["A=b"],
        "Labels": {"run": label, "k": "v"},
        "WorkingDir": "/tmp",
        "ExposedPorts": {"80/tcp": {}, "53/udp": {}},
        "StopSignal": "SIGTERM",
        "StopTimeout": 5,
        "HostConfig": {
            "Memory": 67108864,
            "NanoCpus": 500000000,
            "PidsLimit": 100,
            "CapAdd": ["NET_ADMIN"],
            "CapDrop": ["CHOWN"],
            "PortBindings": {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "0"}]},
            "RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 3},
            "Tmpfs": {"/t": "size=1m"},
            "Ulimits": [{"Name": "nofile", "Soft": 100, "Hard": 200}],
            "ShmSize": 1048576,
            "ReadonlyRootfs": true,
            "Init": false
        }
    })
}

#[test]
fn containers() {
    let engine = Engine::start();
    let name = engine.name("golden");
    let (status, created) = engine.http().post(
        &format!("/v1.51/containers/create?name={name}"),
        &body(&name),
    );
    assert_eq!(status, 201, "{created}");
    check("container-create", &created);
    check(
        "container-inspect-created",
        &get(&engine, &format!("/containers/{name}/json")),
    );
    engine.docker(&["start", &name]).ok();
    check(
        "container-inspect",
        &get(&engine, &format!("/containers/{name}/json")),
    );
    let filters = format!("%7B%22label%22%3A%5B%22run%3D{name}%22%5D%7D");
    let mut listed = get(
        &engine,
        &format!("/containers/json?all=1&size=0&filters={filters}"),
    );
    // "Up Less than a second" or "Up 1 second"
    listed[0]["Status"] = listed[0]["Status"].as_str().unwrap()[..2].into();
    check("container-list", &listed);
    let exec = json!({"Cmd": ["sh", "-c", "exit 4"], "AttachStdout": true, "Env": ["C=d"], "User": "root"});
    let (_, exec) = engine
        .http()
        .post(&format!("/v1.51/containers/{name}/exec"), &exec);
    let id = exec["Id"].as_str().unwrap();
    check("exec-inspect", &get(&engine, &format!("/exec/{id}/json")));
    let stats = get(
        &engine,
        &format!("/containers/{name}/stats?stream=false&one-shot=true"),
    );
    check("stats", &stats);
    engine.docker(&["stop", &name]).ok();
    check(
        "container-inspect-exited",
        &get(&engine, &format!("/containers/{name}/json")),
    );
    engine.docker(&["rm", &name]).ok();
    let past = engine
        .docker(&[
            "events",
            "--since",
            "5m",
            "--until",
            "-1s",
            "-f",
            &format!("container={name}"),
            "--format",
            "{{json .}}",
        ])
        .ok();
    let mut events: Vec<Value> = past
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    events.retain(|event| event["Type"] == "container");
    // Of "die" and "stop" either may be first.
    events.sort_by_key(|event| event["Action"].as_str().unwrap().to_owned());
    check("events", &Value::Array(events));
}

#[test]
fn images() {
    let engine = Engine::start();
    let name = engine.name("golden");
    engine
        .docker(&["tag", "busybox:latest", &format!("{name}:x")])
        .ok();
    let mut inspected = get(&engine, &format!("/images/{name}:x/json"));
    check("image-inspect", &inspected);
    inspected["RepoTags"] = json!([]);
    let mut listed = get(
        &engine,
        &format!("/images/json?filters=%7B%22reference%22%3A%5B%22{name}%22%5D%7D"),
    );
    listed[0]["Containers"] = json!(-1);
    check("image-list", &listed[0]);
    check(
        "image-history",
        &get(&engine, &format!("/images/{name}:x/history"))[0]["Comment"]
            .is_string()
            .into(),
    );
    engine.docker(&["rmi", &format!("{name}:x")]).ok();
}

#[test]
fn the_system() {
    let engine = Engine::start();
    check("version", &get(&engine, "/version"));
    check("info", &get(&engine, "/info"));
    check("network", &get(&engine, "/networks/bridge"));
}

#[test]
fn volumes() {
    let engine = Engine::start();
    let name = engine.name("golden");
    let (status, created) = engine.http().post(
        "/v1.51/volumes/create",
        &json!({"Name": name, "Labels": {"k": "v"}}),
    );
    assert_eq!(status, 201, "{created}");
    check("volume-create", &created);
    check("volume-inspect", &get(&engine, &format!("/volumes/{name}")));
    assert_eq!(
        engine.http().delete(&format!("/v1.51/volumes/{name}")).0,
        204
    );
}
