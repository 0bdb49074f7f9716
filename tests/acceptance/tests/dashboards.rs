//! Programs that look at everything, and often: the requests of a web dashboard (Portainer), and the polling
//! of a terminal dashboard (lazydocker), whose streams of stats and events stay open.

use arca_testkit::Engine;
use serde_json::Value;

/// What a web dashboard asks when its pages are opened one after the other: a path, the status, and what it
/// reads of the answer. `ID` stands for a container, `IMAGE`, `NETWORK` and `VOLUME` for the like.
const PAGES: &[(&str, u16, &[&str])] = &[
    ("/_ping", 200, &[]),
    (
        "/version",
        200,
        &["/ApiVersion", "/Version", "/Os", "/Arch"],
    ),
    (
        "/info",
        200,
        &[
            "/Containers",
            "/ContainersRunning",
            "/Images",
            "/NCPU",
            "/MemTotal",
            "/Driver",
            "/Swarm/LocalNodeState",
            "/Plugins/Volume",
            "/Plugins/Network",
            "/LoggingDriver",
            "/Name",
        ],
    ),
    (
        "/containers/json?all=1",
        200,
        &[
            "/0/Id",
            "/0/Names/0",
            "/0/State",
            "/0/Status",
            "/0/Ports",
            "/0/Labels",
            "/0/HostConfig/NetworkMode",
            "/0/Mounts",
        ],
    ),
    (
        "/containers/json?all=1&filters=%7B%22volume%22%3A%5B%22VOLUME%22%5D%7D",
        200,
        &["/0/Id"],
    ),
    (
        "/containers/ID/json",
        200,
        &[
            "/State/Running",
            "/Config/Image",
            "/HostConfig/RestartPolicy/Name",
            "/NetworkSettings/Networks",
            "/Mounts/0/Name",
        ],
    ),
    (
        "/containers/ID/json?size=1",
        200,
        &["/SizeRw", "/SizeRootFs"],
    ),
    (
        "/containers/ID/logs?stdout=1&stderr=1&timestamps=0&tail=100&since=0",
        200,
        &[],
    ),
    ("/containers/ID/top", 200, &["/Titles/0", "/Processes/0"]),
    (
        "/containers/ID/stats?stream=false",
        200,
        &[
            "/cpu_stats/cpu_usage/total_usage",
            "/memory_stats/usage",
            "/networks/eth0/rx_bytes",
            "/precpu_stats/system_cpu_usage",
        ],
    ),
    ("/containers/ID/changes", 200, &["/0/Path"]),
    (
        "/images/json?all=0",
        200,
        &["/0/Id", "/0/RepoTags", "/0/Size", "/0/Created"],
    ),
    (
        "/images/json?filters=%7B%22dangling%22%3A%5B%22true%22%5D%7D",
        200,
        &[],
    ),
    (
        "/images/IMAGE/json",
        200,
        &["/Id", "/RootFS/Layers/0", "/Config/Cmd/0"],
    ),
    ("/images/IMAGE/history", 200, &["/0/CreatedBy"]),
    (
        "/volumes",
        200,
        &[
            "/Volumes/0/Name",
            "/Volumes/0/Driver",
            "/Volumes/0/Mountpoint",
        ],
    ),
    (
        "/volumes?filters=%7B%22dangling%22%3A%5B%22true%22%5D%7D",
        200,
        &[],
    ),
    ("/volumes/VOLUME", 200, &["/Name", "/Scope"]),
    ("/networks", 200, &["/0/Id", "/0/Name", "/0/IPAM/Driver"]),
    (
        "/networks/NETWORK",
        200,
        &["/Containers", "/IPAM/Config/0/Subnet"],
    ),
    (
        "/system/df",
        200,
        &[
            "/LayersSize",
            "/Images",
            "/Containers",
            "/Volumes",
            "/BuildCache",
        ],
    ),
    ("/events?since=0&until=1", 200, &[]),
    ("/plugins", 200, &[]),
    // Outside a swarm.
    ("/swarm", 503, &["/message"]),
    ("/services", 503, &["/message"]),
    ("/tasks", 503, &["/message"]),
    ("/nodes", 503, &["/message"]),
    ("/configs", 503, &["/message"]),
    ("/secrets", 503, &["/message"]),
    ("/containers/absent/json", 404, &["/message"]),
];

/// A container with a volume in a network of its own; returns what stands for its name, volume and network.
fn application(engine: &Engine) -> (String, String) {
    let name = engine.name("dashboard");
    engine.docker(&["network", "create", &name]).ok();
    engine.docker(&["volume", "create", &name]).ok();
    let volume = format!("{name}:/data");
    let script = "echo started; touch /new; exec top -b -d 1 >/dev/null";
    let run = [
        "run",
        "-d",
        "--name",
        &name,
        "--network",
        &name,
        "-v",
        &volume,
        "busybox",
        "sh",
        "-c",
        script,
    ];
    let id = engine.docker(&run).ok();
    (name, id)
}

fn clean(engine: &Engine, name: &str) {
    engine.docker(&["rm", "-f", name]).ok();
    engine.docker(&["network", "rm", name]).ok();
    engine.docker(&["volume", "rm", name]).ok();
}

#[test]
fn a_web_dashboard_finds_what_its_pages_show() {
    let engine = Engine::start();
    let (name, id) = application(&engine);
    // Dashboards pin versions of the API, old ones too.
    for version in ["/v1.24", "/v1.41", "/v1.51", ""] {
        for (path, status, shown) in PAGES {
            let path = path
                .replace("ID", &id)
                .replace("IMAGE", "busybox:latest")
                .replace("NETWORK", &name)
                .replace("VOLUME", &name);
            let mut answer = engine
                .http()
                .send("GET", &format!("{version}{path}"), &[], b"");
            let body = answer.bytes();
            let text = String::from_utf8_lossy(&body);
            assert_eq!(answer.status, *status, "{version}{path}: {text}");
            if shown.is_empty() {
                continue;
            }
            let value: Value = serde_json::from_slice(&body).unwrap();
            for pointer in *shown {
                // The build cache is told since 1.31.
                let is_new = version == "/v1.24" && *pointer == "/BuildCache";
                let found = value.pointer(pointer).is_some();
                assert!(found || is_new, "{version}{path} has no {pointer}: {text}");
            }
        }
    }
    clean(&engine, &name);
}

#[test]
fn a_terminal_dashboard_keeps_streams_open_and_polls_beside_them() {
    let engine = Engine::start();
    let (name, id) = application(&engine);
    let filter = format!("{{\"container\":[\"{id}\"]}}");
    let mut events = engine.events(&filter);
    let path = format!("/v1.41/containers/{id}/stats?stream=1");
    let mut stats = engine.http().send("GET", &path, &[], b"");
    assert_eq!(stats.status, 200);
    let mut pending = Vec::new();
    let mut last = 0;
    for _ in 0..3 {
        let line = stats.line(&mut pending).unwrap();
        let sample: Value = serde_json::from_str(&line).unwrap();
        let used = sample["cpu_stats"]["cpu_usage"]["total_usage"]
            .as_u64()
            .unwrap();
        assert!(used >= last, "{sample}");
        last = used;
        let (status, list) = engine.http().get("/v1.41/containers/json?all=1");
        assert_eq!(status, 200);
        let list = list.as_array().unwrap();
        assert!(
            list.iter()
                .any(|one| one["Id"] == id.as_str() && one["State"] == "running")
        );
        let (_, inspected) = engine.http().get(&format!("/v1.41/containers/{id}/json"));
        assert_eq!(inspected["State"]["Running"], true);
    }
    // The streams hear of the end.
    engine.docker(&["kill", &name]).ok();
    events.wait("die", &id);
    clean(&engine, &name);
}
