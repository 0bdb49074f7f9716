//! The corpus in `tests/acceptance/dockerfiles`: each Dockerfile is converted here, and configuration,
//! history and errors compared with what was recorded of dockerd's BuildKit. Running the steps is the
//! business of the acceptance test of the same corpus.

use std::collections::BTreeMap;
use std::path::PathBuf;

use arca_types::chain;
use serde_json::{Map, Value, json};

use super::tests::{Host, solve};
use crate::BuildResult;

/// What only shows when steps are run.
const OF_RUNNING: [&str; 3] = [
    "did not complete successfully",
    "failed to compute cache key",
    "secret nosuch",
];

/// Where we differ from dockerd, and why.
const DIFFERENT: [(&str, &str); 2] = [
    (
        "syntax-directive",
        "docker/dockerfile is built in: it is not pulled",
    ),
    (
        "copy-parents-unknown",
        "stable since version 1.20 of the syntax, which is newer than dockerd's",
    ),
];

fn corpus() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../tests/acceptance/dockerfiles")
}

fn read(path: &std::path::Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The options that `docker build` makes of its flags.
fn attrs(arguments: &str) -> Vec<(String, String)> {
    let arguments: Vec<&str> = arguments.lines().collect();
    arguments
        .chunks(2)
        .map(|pair| match pair {
            ["--target", name] => ("target".to_owned(), (*name).to_owned()),
            ["--build-arg", text] => {
                let (name, value) = text.split_once('=').expect("a value");
                (format!("build-arg:{name}"), value.to_owned())
            }
            ["--label", text] => {
                let (name, value) = text.split_once('=').expect("a value");
                (format!("label:{name}"), value.to_owned())
            }
            other => panic!("an option that this test does not know: {other:?}"),
        })
        .collect()
}

/// What there is of a configuration: what is empty is as good as not there.
fn present(config: &Value) -> Value {
    let empty = |value: &Value| match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Number(_) | Value::Bool(true) => false,
    };
    let fields = config.as_object().cloned().unwrap_or_default();
    Value::Object(
        fields
            .into_iter()
            .filter(|(_, value)| !empty(value))
            .collect::<Map<_, _>>(),
    )
}

/// A result in the shape of the recorded ones; layers are not counted here.
fn shape(result: &BuildResult) -> Value {
    let image: Value =
        serde_json::from_slice(&result.metadata["containerimage.config"]).expect("JSON");
    let steps = image["history"].as_array().cloned().unwrap_or_default();
    let text = |step: &Value, key: &str| step[key].as_str().unwrap_or_default().to_owned();
    let history: Vec<Value> = steps
        .iter()
        .map(|step| json!({ "by": text(step, "created_by"), "comment": text(step, "comment") }))
        .collect();
    let mut shape = json!({ "config": present(&image["config"]), "history": history });
    if let Some(author) = image.get("author") {
        shape["author"] = author.clone();
    }
    shape
}

/// The names of all cases.
fn cases() -> Vec<String> {
    let entries = std::fs::read_dir(corpus().join("cases")).expect("the corpus");
    let names = entries.map(|entry| entry.expect("an entry").file_name());
    let names = names.map(|name| name.to_string_lossy().into_owned());
    names
        .filter_map(|name| name.strip_suffix(".Dockerfile").map(str::to_owned))
        .collect()
}

/// The host that a case is built on, and its options.
fn case(name: &str) -> (Host, Vec<(String, String)>) {
    let path = corpus().join(format!("cases/{name}.Dockerfile"));
    let host = Host {
        files: BTreeMap::from([
            ("Dockerfile", read(&path)),
            (
                ".dockerignore",
                read(&corpus().join("context/.dockerignore")),
            ),
        ]),
        busybox: Some(json!({
            "architecture": "amd64", "os": "linux", "rootfs": { "type": "layers", "diff_ids": ["x"] },
            "config": { "Cmd": ["sh"], "Env": [format!("PATH={}", super::image::DEFAULT_PATH)] },
            "history": [{ "comment": "Imported from -" }],
        })),
        ..Host::default()
    };
    let options = path.with_extension("args");
    (
        host,
        if options.exists() {
            attrs(&read(&options))
        } else {
            Vec::new()
        },
    )
}

async fn answer(name: &str, request: Option<&str>) -> Result<BuildResult, crate::Error> {
    let (host, options) = case(name);
    let mut options: Vec<(&str, &str)> = options
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    options.extend(request.map(|request| ("requestid", request)));
    solve(&host, &options).await
}

fn is_different(name: &str) -> bool {
    DIFFERENT.iter().any(|(known, _)| *known == name)
}

/// Fails when any of the cases is wrong.
fn conclude(wrong: &[String], count: usize) {
    assert!(count > 100, "the corpus is there");
    assert!(
        wrong.is_empty(),
        "{}\n{} of {count}",
        wrong.join("\n"),
        wrong.len()
    );
}

#[tokio::test]
async fn images_and_errors_are_those_of_dockerd() {
    let (mut wrong, mut count) = (Vec::new(), 0);
    for name in cases() {
        let text = read(&corpus().join(format!("golden/{name}.json")));
        let golden: Value = serde_json::from_str(&text).expect("JSON");
        let mut golden = golden["buildkit"].clone();
        let later = |text: &str| OF_RUNNING.iter().any(|known| text.contains(known));
        if golden["error"].as_str().is_some_and(later) || is_different(&name) {
            continue;
        }
        let mine = match answer(&name, None).await {
            Ok(result) => shape(&result),
            Err(error) => json!({ "error": chain(&error) }),
        };
        if let Some(fields) = golden.as_object_mut() {
            // What comes of running it.
            fields.remove("layers");
            fields.remove("files");
        }
        if mine != golden {
            wrong.push(format!("{name}\n  arca    {mine}\n  dockerd {golden}"));
        }
        count += 1;
    }
    conclude(&wrong, count);
}

/// The lines of a place in an answer.
fn lines(place: &Value) -> Vec<u64> {
    let ranges = place["ranges"].as_array().cloned().unwrap_or_default();
    ranges
        .iter()
        .map(|range| range["start"]["line"].as_u64().unwrap_or_default())
        .collect()
}

/// The answer to `docker build --check` in the shape of the recorded ones.
fn lint_shape(answer: &Value) -> Value {
    let warnings = answer["warnings"].as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut warnings: Vec<String> = warnings
        .iter()
        .map(|one| {
            let (rule, detail) = (text(&one["ruleName"]), text(&one["detail"]));
            format!("{rule}: {detail} {:?}", lines(&one["location"]))
        })
        .collect();
    warnings.sort();
    let mut shape = json!({ "warnings": warnings });
    if let Some(error) = answer.get("buildError") {
        shape["error"] = error["message"].clone();
        shape["lines"] = json!(lines(&error["location"]));
    }
    shape
}

#[tokio::test]
async fn warnings_are_those_of_dockerd() {
    let goldens: Value = serde_json::from_str(&read(&corpus().join("lint.json"))).expect("JSON");
    let (mut wrong, mut count) = (Vec::new(), 0);
    for name in cases() {
        if is_different(&name) {
            continue;
        }
        let mut golden = goldens[&name].clone();
        if let Some(warnings) = golden.get_mut("warnings").and_then(Value::as_array_mut) {
            warnings.sort_by_key(ToString::to_string);
        }
        let mine = match answer(&name, Some("frontend.lint")).await {
            Ok(result) => {
                lint_shape(&serde_json::from_slice(&result.metadata["result.json"]).expect("JSON"))
            }
            Err(error) => json!({ "refused": chain(&error) }),
        };
        if mine != golden {
            wrong.push(format!("{name}\n  arca    {mine}\n  dockerd {golden}"));
        }
        count += 1;
    }
    conclude(&wrong, count);
}
