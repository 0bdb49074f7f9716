//! Testcontainers for Node, Python and Rust: containers with published ports, and the reaper, which is bound
//! to the engine's socket and removes what a test that has died left behind. The reaper's own image is not
//! to be had without the internet: `c/reaper.c` speaks its protocol.
#![expect(
    clippy::unwrap_used,
    reason = "what a test needs fails the test where it stands"
)]

use std::process::Command;
use std::time::Duration;

use arca_testkit::{Engine, eventually_within};

/// An image with the reaper.
fn reaper(engine: &Engine) -> String {
    let name = format!("{}:1", engine.name("reaper"));
    let directory = tempfile::tempdir().unwrap();
    let source = include_str!("../c/reaper.c");
    arca_testkit::static_c(source, &directory.path().join("reaper"));
    let archive = Command::new("tar")
        .arg("-C")
        .arg(directory.path())
        .args(["-c", "reaper"])
        .output()
        .unwrap();
    let arguments = [
        "import",
        "--change=ENTRYPOINT [\"/reaper\"]",
        "--change=EXPOSE 8080",
        "-",
        &name,
    ];
    engine.docker_with(&arguments, &archive.stdout).ok();
    name
}

/// Runs a client where the published ports are; returns the container that it leaves behind.
fn run(engine: &Engine, image: &str, program: &std::path::Path, script: &str) -> String {
    let mut command = match engine.netns() {
        Some(netns) => netns.command(program),
        None => Command::new(program),
    };
    let socket = format!("unix://{}", engine.http().socket().display());
    let output = command
        .arg(format!("{}/{script}", env!("CARGO_MANIFEST_DIR")))
        .env("NODE_PATH", arca_testkit::node_modules())
        .env("RYUK_CONTAINER_IMAGE", image)
        .env("RYUK_RECONNECTION_TIMEOUT", "1s")
        .env("TESTCONTAINERS_RYUK_RECONNECTION_TIMEOUT", "1s")
        .env("TESTCONTAINERS_HOST_OVERRIDE", "127.0.0.1")
        .env("DOCKER_HOST", socket)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}{errors}");
    let line = text
        .lines()
        .find(|line| line.contains("testcontainers: ok"));
    let id = line.and_then(|line| line.split(' ').nth(2));
    id.unwrap_or_default().to_owned()
}

/// What is left is removed by the reaper, which then goes itself.
fn reaped(engine: &Engine, image: &str, left: &str) {
    assert_eq!(left.len(), 64, "{left}");
    let minute = Duration::from_secs(60);
    eventually_within(minute, "the reaper removes what is left", || {
        let (status, _) = engine.http().get(&format!("/containers/{left}/json"));
        (status == 404).then_some(())
    });
    eventually_within(minute, "the reaper has gone", || {
        let of = format!("ancestor={image}");
        let list = engine.docker(&["ps", "-aq", "--filter", &of]).ok();
        list.is_empty().then_some(())
    });
    engine.docker(&["rmi", "-f", image]).ok();
}

#[test]
fn testcontainers_for_node_leaves_nothing_behind() {
    let engine = Engine::start();
    let image = reaper(&engine);
    let node = std::path::Path::new("node");
    let left = run(&engine, &image, node, "node/testcontainers.js");
    reaped(&engine, &image, &left);
}

#[test]
fn testcontainers_for_python_leaves_nothing_behind() {
    let engine = Engine::start();
    let image = reaper(&engine);
    let python = arca_testkit::testcontainers();
    let left = run(&engine, &image, &python, "python/testcontainers_life.py");
    reaped(&engine, &image, &left);
}

/// Without a reaper: who drops the handle of a container removes it.
#[test]
fn testcontainers_for_rust_leaves_nothing_behind() {
    let engine = Engine::start();
    let output = engine
        .command_beside(arca_testkit::testcontainers_rust())
        .env("TESTCONTAINERS_HOST_OVERRIDE", "127.0.0.1")
        .env(
            "DOCKER_HOST",
            format!("unix://{}", engine.http().socket().display()),
        )
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}{errors}");
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("testcontainers: ok "));
    let (container, network) = line.unwrap().split_once(' ').unwrap();
    for path in [
        format!("/containers/{container}/json"),
        format!("/networks/{network}"),
    ] {
        assert_eq!(engine.http().get(&path).0, 404, "{path}");
    }
}
