//! arcad itself: its socket, its configuration, its signals; and the endpoints of what it is not.

use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::process::Command;

use arca_testkit::{Engine, Options, eventually};
use rustix::process::Signal;
use serde_json::json;

#[test]
fn the_socket_is_for_root_and_its_group() {
    let engine = Engine::start();
    if !engine.is_own() {
        return;
    }
    let found = std::fs::metadata(engine.http().socket()).unwrap();
    assert!(found.file_type().is_socket());
    assert_eq!(found.permissions().mode() & 0o777, 0o660);
}

#[test]
fn unknown_options_are_refused_in_dockerds_words() {
    let arcad = arca_testkit::program("arcad");
    let refused = |arguments: &[&str]| {
        let output = Command::new(&arcad).args(arguments).output().unwrap();
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    assert!(refused(&["--nosuch"]).contains("unknown flag: --nosuch"));
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("daemon.json");
    let file = path.to_str().unwrap();
    let prefix = format!("unable to configure the Docker daemon with file {file}: ");
    std::fs::write(&path, r#"{"nosuch": 1}"#).unwrap();
    assert_eq!(
        refused(&["--validate", "--config-file", file]).trim(),
        format!("{prefix}the following directives don't match any configuration option: nosuch")
    );
    std::fs::write(&path, r#"{"log-level": "debug"}"#).unwrap();
    assert_eq!(
        refused(&["--validate", "--config-file", file, "--log-level", "info"]).trim(),
        format!(
            "{prefix}the following directives are specified both as a flag and in the configuration file: log-level: (from flag: info, from file: debug)"
        )
    );
    let output = Command::new(&arcad)
        .args(["--validate", "--config-file", file])
        .output()
        .unwrap();
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "configuration OK\n"
    );
}

#[test]
fn a_hangup_reloads_what_may_change() {
    let engine = Engine::start();
    if !engine.is_own() {
        return;
    }
    let mut events = engine.events("{\"type\":[\"daemon\"]}");
    let config = engine.data_root().parent().unwrap().join("daemon.json");
    std::fs::write(
        &config,
        r#"{"labels": ["rack=7"], "insecure-registries": ["10.9.8.7:5000"], "shutdown-timeout": 33,
        "runtimes": {"other": {"path": "/usr/bin/other-runc"}}, "default-runtime": "other"}"#,
    )
    .unwrap();
    engine.signal(Signal::HUP);
    let event = events.wait_for("reload", |_| true);
    assert!(
        event["Actor"]["Attributes"]["labels"]
            .as_str()
            .unwrap()
            .contains("rack=7"),
        "{event}"
    );
    let (_, info) = engine.http().get("/v1.51/info");
    assert_eq!(info["Labels"], json!(["rack=7"]));
    assert!(
        info["RegistryConfig"]["IndexConfigs"]["10.9.8.7:5000"]["Secure"] == json!(false),
        "{}",
        info["RegistryConfig"]
    );
    assert_eq!(info["DefaultRuntime"], "other");
    assert_eq!(info["Runtimes"]["other"]["path"], "/usr/bin/other-runc");
    // What is wrong is not taken, and harms nothing.
    std::fs::write(&config, r#"{"nosuch": 1}"#).unwrap();
    engine.signal(Signal::HUP);
    eventually("the refusal is logged", || {
        engine.daemon_log().contains("nosuch").then_some(())
    });
    assert_eq!(
        engine.http().get("/v1.51/info").1["Labels"],
        json!(["rack=7"])
    );
}

#[test]
fn the_end_removes_the_socket_and_the_pid_file() {
    let engine = Engine::start();
    if !engine.is_own() {
        return;
    }
    let pidfile = engine.data_root().parent().unwrap().join("arcad.pid");
    assert_eq!(
        std::fs::read_to_string(&pidfile).unwrap(),
        engine.pid().to_string()
    );
    engine.stop();
    assert!(!pidfile.exists() && !engine.http().socket().exists());
    engine.launch();
}

#[test]
fn the_engine_answers_on_loopback_tcp_when_asked() {
    let engine = Engine::start_with(Options {
        flags: vec!["--host=tcp://127.0.0.1:2375".to_owned()],
        ..Options::default()
    });
    if !engine.is_own() {
        return;
    }
    let answer = engine.in_netns(|| {
        let mut stream = std::net::TcpStream::connect("127.0.0.1:2375").unwrap();
        std::io::Write::write_all(&mut stream, b"GET /_ping HTTP/1.0\r\n\r\n").unwrap();
        let mut text = String::new();
        std::io::Read::read_to_string(&mut stream, &mut text).unwrap();
        text
    });
    assert!(answer.ends_with("OK"), "{answer}");
}

#[test]
fn ping_and_versions() {
    let engine = Engine::start();
    let http = engine.http();
    let mut ping = http.send("GET", "/_ping", &[], b"");
    assert_eq!((ping.status, ping.bytes()), (200, b"OK".to_vec()));
    assert_eq!(ping.header("api-version"), Some("1.51"));
    assert_eq!(ping.header("ostype"), Some("linux"));
    assert_eq!(ping.header("docker-experimental"), Some("false"));
    assert_eq!(
        ping.header("cache-control"),
        Some("no-cache, no-store, must-revalidate")
    );
    assert!(ping.header("server").unwrap().starts_with("Docker/"));
    let head = http.send("HEAD", "/_ping", &[], b"");
    assert_eq!(
        (head.status, head.header("content-length")),
        (200, Some("0"))
    );
    for version in ["/v1.24", "/v1.40", "/v1.51", ""] {
        assert_eq!(
            http.get(&format!("{version}/version")).1["ApiVersion"],
            "1.51"
        );
    }
    let (status, new) = http.get("/v1.99/version");
    assert_eq!(
        (status, &new["message"]),
        (
            400,
            &json!("client version 1.99 is too new. Maximum supported API version is 1.51")
        )
    );
    // To such an old client dockerd speaks plain text.
    let mut old = http.send("GET", "/v1.12/version", &[], b"");
    let text = String::from_utf8_lossy(&old.bytes()).into_owned();
    assert_eq!(old.status, 400);
    assert!(text.contains("client version 1.12 is too old. Minimum supported API version is 1.24, please upgrade your client to a newer version"), "{text}");
    let (status, missing) = http.get("/v1.51/nosuch");
    assert_eq!(
        (status, &missing["message"]),
        (404, &json!("page not found"))
    );
}

#[test]
fn swarm_and_plugins_answer_as_where_there_are_none() {
    let engine = Engine::start();
    let http = engine.http();
    let manager = "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to connect this node to swarm and try again.";
    for path in [
        "/nodes",
        "/services",
        "/tasks",
        "/secrets",
        "/configs",
        "/swarm",
    ] {
        let (status, body) = http.get(&format!("/v1.51{path}"));
        assert_eq!(
            (status, body["message"].as_str().unwrap()),
            (503, manager),
            "{path}"
        );
    }
    assert_eq!(http.get("/v1.51/plugins"), (200, json!([])));
    assert_eq!(
        http.get("/v1.51/info").1["Swarm"]["LocalNodeState"],
        "inactive"
    );
}

#[test]
fn bad_requests_get_answers_and_hang_nobody() {
    use std::io::{Read, Write};
    let engine = Engine::start();
    let mut half = engine.http().connect();
    half.write_all(b"GET /_ping HTTP/1.1\r\nHost:").unwrap();
    let mut broken = engine.http().connect();
    broken.write_all(b"this is not HTTP\r\n\r\n").unwrap();
    let mut text = String::new();
    broken.read_to_string(&mut text).unwrap();
    assert!(text.starts_with("HTTP/1.1 400"), "{text}");
    let (status, body) = engine.http().post("/v1.51/containers/create", &json!([1]));
    assert_eq!(status, 400, "{body}");
    let mut expect = engine.http().connect();
    expect
        .write_all(b"POST /v1.51/containers/create HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 2\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut line = [0; 25];
    expect.read_exact(&mut line).unwrap();
    assert_eq!(&line, b"HTTP/1.1 100 Continue\r\n\r\n");
    expect.write_all(b"{}").unwrap();
    let mut text = String::new();
    expect.read_to_string(&mut text).unwrap();
    assert!(text.starts_with("HTTP/1.1 400"), "{text}");
    assert_eq!(engine.http().send("GET", "/_ping", &[], b"").status, 200);
}
