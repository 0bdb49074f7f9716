//! The dev containers CLI: a development container from a folder's `devcontainer.json`.
#![expect(
    clippy::unwrap_used,
    reason = "what a test needs fails the test where it stands"
)]

use std::path::Path;
use std::process::Command;

use arca_testkit::Engine;

const DEFINITION: &str = r#"{
    "image": "busybox",
    "overrideCommand": true,
    "containerEnv": { "A": "b" },
    "postCreateCommand": "echo made >/made",
    "mounts": [{ "type": "volume", "source": "VOLUME", "target": "/cache" }]
}"#;

/// Runs `devcontainer` on a folder.
fn devcontainer(engine: &Engine, folder: &Path, command: &str, arguments: &[&str]) -> String {
    let output = Command::new("node")
        .arg(arca_testkit::node_modules().join("@devcontainers/cli/devcontainer.js"))
        .arg(command)
        .arg("--workspace-folder")
        .arg(folder)
        .arg("--docker-path")
        .arg(arca_testkit::docker_cli())
        .args(arguments)
        .env(
            "DOCKER_HOST",
            format!("unix://{}", engine.http().socket().display()),
        )
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}{errors}");
    text
}

#[test]
fn a_folder_is_opened_in_its_container() {
    let engine = Engine::start();
    let volume = engine.name("devcontainer");
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join(".devcontainer")).unwrap();
    let definition = DEFINITION.replace("VOLUME", &volume);
    let file = folder.path().join(".devcontainer/devcontainer.json");
    std::fs::write(file, definition).unwrap();
    std::fs::write(folder.path().join("code"), "code\n").unwrap();

    let up = devcontainer(&engine, folder.path(), "up", &[]);
    let last = up.lines().last().unwrap_or_default();
    let told: serde_json::Value = serde_json::from_str(last).unwrap();
    assert_eq!(told["outcome"], "success", "{up}");
    let id = told["containerId"].as_str().unwrap();

    let script = "echo $A; cat /made code; echo changed >code";
    let ran = devcontainer(&engine, folder.path(), "exec", &["sh", "-c", script]);
    assert_eq!(ran, "b\nmade\ncode\n");
    let code = std::fs::read_to_string(folder.path().join("code")).unwrap();
    assert_eq!(code, "changed\n");

    // Again: the same container.
    let again = devcontainer(&engine, folder.path(), "up", &[]);
    assert!(again.contains(id), "{again}");
    engine.docker(&["rm", "-f", id]).ok();
    engine.docker(&["volume", "rm", &volume]).ok();
}
