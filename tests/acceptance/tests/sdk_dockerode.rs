//! dockerode, the client of most Node tools, drives the life of a container and builds images both ways.

use std::process::Command;

use arca_testkit::Engine;

#[test]
fn the_life_of_a_container() {
    let engine = Engine::start();
    let output = Command::new("node")
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/node/dockerode.js"))
        .env("NODE_PATH", arca_testkit::node_modules())
        .env(
            "DOCKER_HOST",
            format!("unix://{}", engine.http().socket().display()),
        )
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}
