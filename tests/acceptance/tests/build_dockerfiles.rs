//! The corpus of Dockerfiles in `dockerfiles/`: each is built by the classic builder and by BuildKit, and
//! the image (configuration, history, number of layers, files with modes and owners) or the error is
//! compared with what dockerd 28.5.2 made of it.
//!
//! `golden/<name>.json` is what dockerd answered (`ARCA_TEST_RECORD=1` with `ARCA_TEST_DOCKER_HOST` set
//! writes it). `cases/<name>.args` has the flags of a case, one a line.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "what a test needs fails the test where it stands"
)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use arca_testkit::Engine;
use serde_json::{Map, Value, json};

/// Cases that ask a registry on dockerd: they end as its network is.
const OF_THE_NETWORK: &[(Builder, &str)] = &[
    (Builder::BuildKit, "syntax-directive"),
    (Builder::Classic, "stage-circular"),
    (Builder::Classic, "stage-forward"),
];

/// Cases that end otherwise on arca, and why.
const DIFFERENT: &[(Builder, &str, &[&str])] = &[
    (
        Builder::BuildKit,
        "stable since version 1.20 of the syntax, which is newer than dockerd's",
        &["copy-parents-unknown"],
    ),
    (
        Builder::Classic,
        "refused as flags of BuildKit, where dockerd's classic builder ignores or does not know them",
        &["copy-exclude", "add-checksum-local", "copy-parents-unknown"],
    ),
    (
        Builder::Classic,
        "mounts are refused before they are read",
        &[
            "run-mount-type-bad",
            "run-mount-secret-nameless",
            "run-mount-no-value",
            "run-mount-mode-on-bind",
            "run-mount-key-bad",
        ],
    ),
    (
        Builder::Classic,
        "the error is the same in other words",
        &[
            "copy-outside",
            "copy-owner-unknown",
            "copy-url",
            "empty",
            "env-missing-equals",
            "env-one-word",
            "escape-invalid",
            "escape-twice",
            "expose-bad",
            "expose-not-a-port",
            "from-bad-platform",
            "from-bad-reference",
            "from-platform",
            "json-not-strings",
            "lint-from",
            "only-arg",
            "run-heredoc-unterminated",
            "stage-from-variable",
            "stage-index-out-of-range",
        ],
    ),
    (
        Builder::Classic,
        "the last stage of a name counts, as with BuildKit",
        &["stage-names-clash"],
    ),
    (
        Builder::Classic,
        "the history names the destination in full",
        &["copy-directory"],
    ),
];

/// Whether a case is not compared.
fn is_left_out(engine: &Engine, name: &str, builder: Builder) -> bool {
    let mut different = DIFFERENT.iter().filter(|(of, _, _)| *of == builder);
    OF_THE_NETWORK.contains(&(builder, name))
        || engine.is_own() && different.any(|(_, _, names)| names.contains(&name))
}

/// Which builder the client asks for (`DOCKER_BUILDKIT`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Builder {
    Classic,
    BuildKit,
}

impl Builder {
    fn name(self) -> &'static str {
        match self {
            Self::Classic => "classic",
            Self::BuildKit => "buildkit",
        }
    }
}

fn corpus() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("dockerfiles")
}

fn cases() -> Vec<String> {
    let entries = std::fs::read_dir(corpus().join("cases")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names
        .filter_map(|name| name.strip_suffix(".Dockerfile").map(str::to_owned))
        .collect();
    names.sort();
    names
}

/// A directory with the context of all cases and the Dockerfile of one.
fn context(name: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let from = corpus().join("context/.");
    let status = Command::new("cp")
        .arg("-r")
        .arg(from)
        .arg(dir.path())
        .status()
        .unwrap();
    assert!(status.success());
    let dockerfile = corpus().join(format!("cases/{name}.Dockerfile"));
    std::fs::copy(dockerfile, dir.path().join("Dockerfile")).unwrap();
    dir
}

/// Builds a case: the image, or the error.
fn build(engine: &Engine, name: &str, builder: Builder, base: &BTreeSet<String>) -> Value {
    let dir = context(name);
    let tag = engine.name(&format!("df-{name}"));
    let flags = std::fs::read_to_string(corpus().join(format!("cases/{name}.args")));
    let flags = flags.unwrap_or_default();
    let path = dir.path().to_str().unwrap();
    let mut arguments = vec!["build", "-t", &tag];
    arguments.extend(flags.lines());
    let buildkit = match builder {
        Builder::Classic => "0",
        Builder::BuildKit => {
            arguments.push("--progress=plain");
            "1"
        }
    };
    arguments.push(path);
    let mut command = engine.docker_command(&arguments);
    command
        .env("DOCKER_BUILDKIT", buildkit)
        .env("BUILDX_NO_DEFAULT_ATTESTATIONS", "1");
    let output = command.output().unwrap();
    if !output.status.success() {
        return json!({ "error": error(&String::from_utf8_lossy(&output.stderr), builder) });
    }
    let image = image(engine, &tag, base);
    engine.docker(&["rmi", "-f", &tag]).expect(0);
    image
}

/// What the client says went wrong, without what only this build has.
fn error(stderr: &str, builder: Builder) -> String {
    let text = stderr.trim();
    let text = match builder {
        Builder::BuildKit => {
            let begin = text.rfind("ERROR: ").map_or(0, |at| at + "ERROR: ".len());
            let text = &text[begin..];
            // The client tells what ends first: the request to solve, or its own function that asked.
            let fronts = ["failed to solve: ", "failed to run Build function: "];
            let cause = text.strip_prefix("failed to build: ").unwrap_or(text);
            let of = |front: &&str| cause.strip_prefix(*front);
            fronts.iter().find_map(of).unwrap_or(text)
        }
        Builder::Classic => text.rsplit("\n\n").next().unwrap_or(text),
    };
    // `of ref <session>::<id>:`
    match text.split_once("of ref ") {
        Some((before, rest)) => {
            let rest = rest.split_once(": ").map_or("", |(_, rest)| rest);
            format!("{before}of ref REF: {rest}")
        }
        None => text.trim().to_owned(),
    }
}

fn image(engine: &Engine, tag: &str, base: &BTreeSet<String>) -> Value {
    let (_, image) = engine.http().get(&format!("/v1.51/images/{tag}/json"));
    let (_, steps) = engine.http().get(&format!("/v1.51/images/{tag}/history"));
    let steps = steps.as_array().unwrap().iter().rev();
    let history: Vec<Value> = steps
        .map(|step| json!({ "by": without_hash(&step["CreatedBy"]), "comment": step["Comment"] }))
        .collect();
    let files: Vec<String> = listing(engine, tag).difference(base).cloned().collect();
    let mut shape = json!({
        "config": present(&image["Config"]),
        "history": history,
        "layers": image["RootFS"]["Layers"].as_array().map_or(0, Vec::len),
        "files": files,
    });
    if image["Author"]
        .as_str()
        .is_some_and(|author| !author.is_empty())
    {
        shape["author"] = image["Author"].clone();
    }
    shape
}

/// A step without the hash of the files that it copies: how it is made is the engine's business.
fn without_hash(step: &Value) -> String {
    let words = step.as_str().unwrap().split(' ');
    let word = |word: &str| match word.split_once(':') {
        Some((kind @ ("file" | "dir" | "multi"), hash)) if hash.len() == 64 => {
            format!("{kind}:HASH")
        }
        _ => word.to_owned(),
    };
    words.map(word).collect::<Vec<_>>().join(" ")
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

/// The files of an image: type and permissions, owner, size, name; directories without their size.
fn listing(engine: &Engine, image: &str) -> BTreeSet<String> {
    let dir = tempfile::tempdir().unwrap();
    let archive = dir.path().join("files.tar");
    let id = engine.docker(&["create", image, "true"]).ok();
    engine
        .docker(&["export", "-o", archive.to_str().unwrap(), &id])
        .expect(0);
    engine.docker(&["rm", &id]).expect(0);
    tar_list(&archive)
}

fn tar_list(archive: &Path) -> BTreeSet<String> {
    let output = Command::new("tar")
        .arg("--numeric-owner")
        .arg("-tvf")
        .arg(archive)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let line = |line: &str| {
        let mut words = line.split_whitespace();
        let (mode, owner, size) = (words.next()?, words.next()?, words.next()?);
        let name = words.skip(2).collect::<Vec<_>>().join(" ");
        let size = if mode.starts_with('-') { size } else { "-" };
        // What every container is given.
        let given = [
            "dev/",
            "proc/",
            "sys/",
            ".dockerenv",
            "etc/hostname",
            "etc/hosts",
            "etc/mtab",
            "etc/resolv.conf",
        ];
        let is_given = given.iter().any(|given| name.starts_with(given)) || name == "etc/";
        (!is_given).then(|| format!("{mode} {owner} {size} {name}"))
    };
    text.lines().filter_map(line).collect()
}

/// Builds one case and compares, or records. Returns how it differs.
fn check(engine: &Engine, name: &str, builder: Builder, base: &BTreeSet<String>) -> Option<String> {
    let path = corpus().join(format!("golden/{name}.json"));
    let mine = build(engine, name, builder, base);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|_| "{}".to_owned());
    let mut golden: Value = serde_json::from_str(&text).unwrap();
    if std::env::var_os("ARCA_TEST_RECORD").is_some() && !engine.is_own() {
        golden[builder.name()] = mine;
        std::fs::write(&path, format!("{golden:#}\n")).unwrap();
        return None;
    }
    let golden = &golden[builder.name()];
    let same = mine == *golden || is_left_out(engine, name, builder);
    (!same).then(|| format!("{name}\n  here     {mine}\n  recorded {golden}"))
}

/// Builds all cases, some at a time.
fn compare(builder: Builder) {
    let engine = Engine::start();
    let base = listing(&engine, "busybox");
    let waiting = Mutex::new(cases());
    let wrong = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                loop {
                    let Some(name) = waiting.lock().unwrap().pop() else {
                        return;
                    };
                    let found = check(&engine, &name, builder, &base);
                    wrong.lock().unwrap().extend(found);
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(
        wrong.is_empty(),
        "{} differ:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[test]
fn the_classic_builder_makes_what_dockerds_makes() {
    compare(Builder::Classic);
}

#[test]
fn buildkit_makes_what_dockerds_makes() {
    compare(Builder::BuildKit);
}
