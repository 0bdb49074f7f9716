//! Every operation of the API's definition is driven with schemathesis; `docs/CONFORMANCE.md` says what
//! may be found.
#![expect(
    clippy::unwrap_used,
    reason = "what a test needs fails the test where it stands"
)]

use std::collections::BTreeSet;
use std::process::Command;

use arca_testkit::Engine;
use serde_json::Value;

/// What is known, from the lists of the document.
fn known() -> BTreeSet<String> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/CONFORMANCE.md");
    let text = std::fs::read_to_string(path).unwrap();
    let lists = text.split("```text\n").skip(1);
    lists
        .filter_map(|list| list.split("```").next())
        .flat_map(str::lines)
        .map(str::to_owned)
        .collect()
}

fn setting(name: &str, default: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| default.to_owned())
}

#[test]
fn answers_are_as_the_definition_has_them() {
    let engine = Engine::start();
    let notes = tempfile::tempdir().unwrap();
    let mut command = Command::new(arca_testkit::schemathesis());
    command
        .arg(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/python/conformance.py"
        ))
        .arg(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../docs/api/docker-engine-v1.51.yaml"
        ))
        .args(["--examples", &setting("ARCA_TEST_EXAMPLES", "2")])
        .args(["--seed", &setting("ARCA_TEST_SEED", "1")])
        .env(
            "DOCKER_HOST",
            format!("unix://{}", engine.http().socket().display()),
        )
        .env("CONFORMANCE_PREFIX", engine.name("conformance"))
        .env("HYPOTHESIS_STORAGE_DIRECTORY", notes.path());
    if !engine.is_own() {
        command.arg("--shared");
    }
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}{errors}");
    let summary = text.lines().find(|line| line.contains(" requests, "));
    let asked: usize = summary
        .and_then(|line| line.split(' ').nth(1)?.parse().ok())
        .unwrap_or_default();
    assert!(asked > 250, "few requests were made: {text}{errors}");

    let known = known();
    let found = text.lines().filter(|line| line.starts_with('{'));
    let unknown: Vec<String> = found
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|found| !known.contains(found["finding"].as_str().unwrap_or_default()))
        .map(|found| format!("{}\n    {}", found["finding"], found["example"]))
        .collect();
    assert!(unknown.is_empty(), "{}", unknown.join("\n"));
}
