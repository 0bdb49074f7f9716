//! docker-py, the client of most Python tools, drives the life of a container.

use std::process::Command;

use arca_testkit::Engine;

#[test]
fn the_life_of_a_container() {
    let engine = Engine::start();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/python/life_cycle.py");
    let python = arca_testkit::docker_py();
    let output = Command::new(python)
        .arg(script)
        .env(
            "DOCKER_HOST",
            format!("unix://{}", engine.http().socket().display()),
        )
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{}{text}",
        String::from_utf8_lossy(&output.stdout)
    );
}
