//! What is known of a build afterwards: where its result comes from, what it told, how long its steps took.
#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "what a test needs fails the test where it stands"
)]

use std::path::Path;
use std::process::Command;

use arca_testkit::{Engine, Registry, eventually};
use serde_json::Value;

/// The type of a trace in a record.
const TRACE: &str = "application/vnd.buildkit.otlp.json.v0";

/// A context whose image has a secret step, a label of its own and a file of the client.
fn context(engine: &Engine) -> tempfile::TempDir {
    let context = tempfile::tempdir().unwrap();
    let dockerfile = "FROM busybox:latest\nARG WHO\n\
        RUN --mount=type=secret,id=token --mount=type=secret,id=more,required=true echo $WHO > /who\n\
        COPY file /\n";
    std::fs::write(context.path().join("Dockerfile"), dockerfile).unwrap();
    // Of no other build, whose step would be found in the cache.
    std::fs::write(context.path().join("file"), engine.name("file")).unwrap();
    std::fs::write(context.path().join("token"), "sesame").unwrap();
    context
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// Builds; returns what the client wrote of it (`--metadata-file`).
fn build(engine: &Engine, context: &Path, options: &[&str]) -> Value {
    let metadata = context.join("metadata.json");
    let secret = format!("src={}", context.join("token").display());
    let [token, more] = ["token", "more"].map(|id| format!("id={id},{secret}"));
    let own = ["--metadata-file", metadata.to_str().unwrap()];
    let secrets = ["--secret", &token, "--secret", &more];
    let options = [&own[..], &secrets[..], options].concat();
    engine.buildx_build(context, &options).ok();
    json(&std::fs::read_to_string(metadata).unwrap())
}

/// The ID by which clients ask for what is known of a build.
fn reference(metadata: &Value) -> String {
    let whole = metadata["buildx.build.ref"].as_str().unwrap();
    whole.rsplit('/').next().unwrap().to_owned()
}

/// What is said of it in full.
fn provenance(engine: &Engine, reference: &str) -> Value {
    let inspect = ["buildx", "history", "inspect", "attachment"];
    let of = ["--type", "provenance", reference];
    json(&engine.docker(&[&inspect[..], &of].concat()).ok())
}

/// The content of an exported record by its digest, and its manifest, once its trace is written (dockerd writes
/// it after the build). Every digest is right.
fn exported(engine: &Engine, reference: &str) -> (tempfile::TempDir, Value) {
    eventually("the record is complete", || {
        let (bundle, manifest) = export(engine, reference);
        manifest
            .to_string()
            .contains(TRACE)
            .then_some((bundle, manifest))
    })
}

fn export(engine: &Engine, reference: &str) -> (tempfile::TempDir, Value) {
    let bundle = tempfile::tempdir().unwrap();
    let path = bundle.path().join("record.dockerbuild");
    let export = ["buildx", "history", "export", "-o", path.to_str().unwrap()];
    engine.docker(&[&export[..], &[reference]].concat()).ok();
    let mut unpack = Command::new("tar");
    unpack.arg("xzf").arg(&path).arg("-C").arg(bundle.path());
    assert!(unpack.status().unwrap().success());
    let read = |path: &str| std::fs::read_to_string(bundle.path().join(path)).unwrap();
    let index = json(&read("index.json"));
    let manifest = json(&read(&blob(&index["manifests"][0])));
    let blobs = std::fs::read_dir(bundle.path().join("blobs/sha256")).unwrap();
    let mut sums = Command::new("sha256sum");
    sums.args(blobs.map(|entry| entry.unwrap().path()));
    let sums = String::from_utf8(sums.output().unwrap().stdout).unwrap();
    for line in sums.lines() {
        let (sum, path) = line.split_once("  ").unwrap();
        assert!(path.ends_with(sum), "{line}");
    }
    (bundle, manifest)
}

/// Where the content is that is described so.
fn blob(described: &Value) -> String {
    let digest = described["digest"].as_str().unwrap();
    format!("blobs/{}", digest.replace(':', "/"))
}

/// The layer of that type of a record's manifest.
fn layer<'a>(manifest: &'a Value, media_type: &str) -> &'a Value {
    let mut layers = manifest["layers"].as_array().unwrap().iter();
    let found = layers.find(|layer| layer["mediaType"] == media_type);
    found.unwrap_or_else(|| panic!("no {media_type} in {manifest}"))
}

/// The spans of a record's trace.
fn spans(bundle: &Path, manifest: &Value) -> Vec<Value> {
    let trace = layer(manifest, TRACE);
    let text = std::fs::read_to_string(bundle.join(blob(trace))).unwrap();
    let spans = serde_json::Deserializer::from_str(&text).into_iter();
    spans.map(Result::unwrap).collect()
}

#[test]
fn a_client_is_told_where_an_image_comes_from() {
    let engine = Engine::start();
    let (context, name) = (context(&engine), engine.name("image"));
    let metadata = build(&engine, context.path(), &["-t", &name]);
    // As it was written, without a tag.
    assert_eq!(metadata["image.name"], format!("docker.io/library/{name}"));
    let stated = &metadata["buildx.build.provenance"];
    assert_eq!(stated["buildType"], "https://mobyproject.org/buildkit@v1");
    let base = &stated["materials"][0];
    let uri = base["uri"].as_str().unwrap();
    assert!(
        uri.starts_with("pkg:docker/busybox@latest?platform=linux%2F"),
        "{stated}"
    );
    let layers = [
        "image",
        "inspect",
        "-f",
        "{{index .RootFS.Layers 0}}",
        "busybox",
    ];
    let layer = engine.docker(&layers).ok();
    assert_eq!(
        layer,
        format!("sha256:{}", base["digest"]["sha256"].as_str().unwrap())
    );
    let invocation = &stated["invocation"];
    assert_eq!(invocation["configSource"]["entryPoint"], "Dockerfile");
    assert_eq!(invocation["parameters"]["frontend"], "dockerfile.v0");
    let locals = r#"[{"name":"context"},{"name":"dockerfile"}]"#;
    assert_eq!(invocation["parameters"]["locals"], json(locals));

    let shown = ["buildx", "history", "inspect", &reference(&metadata)];
    let shown = engine.docker(&shown).ok();
    let id = metadata["containerimage.config.digest"].as_str().unwrap();
    for told in [uri, layer.as_str(), id, "https://slsa.dev/provenance/v0.2"] {
        assert!(shown.contains(told), "{told}: {shown}");
    }
}

#[test]
fn what_is_fetched_is_stated_with_its_digest() {
    let engine = Engine::start();
    let registry = Registry::start(&engine);
    let base = registry.image("team/base:1.2");
    engine.docker(&["tag", "busybox", &base]).ok();
    let pushed = engine.docker(&["push", &base]).ok();
    let digest = pushed.split("digest: sha256:").nth(1).unwrap();
    engine.docker(&["rmi", &base]).ok();
    let context = tempfile::tempdir().unwrap();
    let address = format!("http://{}/v2/", registry.address());
    let dockerfile = format!("FROM {base}\nADD {address} /answer\n");
    std::fs::write(context.path().join("Dockerfile"), dockerfile).unwrap();
    std::fs::write(context.path().join("token"), "sesame").unwrap();
    let metadata = build(&engine, context.path(), &["--label", "a=b"]);
    let stated = &metadata["buildx.build.provenance"]["materials"];
    let uri = stated[0]["uri"].as_str().unwrap();
    let package = format!("pkg:docker/{base}").replace(":1.2", "@1.2?platform=linux%2F");
    assert!(uri.starts_with(&package), "{stated}");
    let image = stated[0]["digest"]["sha256"].as_str().unwrap();
    assert!(digest.starts_with(image), "{pushed}: {stated}");
    assert_eq!(stated[1]["uri"], address.as_str());
    // Of "{}", which the registry answers.
    let answer = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
    assert_eq!(stated[1]["digest"]["sha256"], answer);
}

#[test]
fn a_record_states_what_the_build_was_given_and_no_secret() {
    let engine = Engine::start();
    let context = context(&engine);
    let options = ["--build-arg", "WHO=arca", "--label", "a=b"];
    let metadata = build(&engine, context.path(), &options);
    let stated = provenance(&engine, &reference(&metadata));
    let parameters = &stated["invocation"]["parameters"];
    let mut secrets = parameters["secrets"].as_array().unwrap().clone();
    secrets.sort_by_key(|secret| secret["id"].as_str().unwrap().to_owned());
    let expected = r#"[{"id":"more"},{"id":"token","optional":true}]"#;
    assert_eq!(Value::from(secrets), json(expected));
    assert_eq!(parameters["args"]["build-arg:WHO"], "arca");
    assert_eq!(parameters["args"]["label:a"], "b");
    assert!(!stated.to_string().contains("sesame"));
    let said = &stated["metadata"];
    let complete = r#"{"parameters":true,"environment":true,"materials":false}"#;
    assert_eq!(said["completeness"], json(complete));
    let [began, ended] = ["buildStartedOn", "buildFinishedOn"].map(|at| said[at].as_str().unwrap());
    assert!(began < ended, "{said}");
}

#[test]
fn the_parts_of_a_record_are_exported() {
    let engine = Engine::start();
    let context = context(&engine);
    let reference = reference(&build(&engine, context.path(), &[]));
    let (bundle, manifest) = exported(&engine, &reference);
    let record = std::fs::read_to_string(bundle.path().join(blob(&manifest["config"])));
    assert_eq!(json(&record.unwrap())["Ref"], reference.as_str());
    let statement = layer(&manifest, "application/vnd.in-toto+json");
    let kind = &statement["annotations"]["in-toto.io/predicate-type"];
    assert_eq!(kind, "https://slsa.dev/provenance/v0.2");
    let told = layer(&manifest, "application/vnd.buildkit.status.v0");
    let told = std::fs::read(bundle.path().join(blob(told))).unwrap();
    let told = String::from_utf8_lossy(&told);
    assert!(told.contains("COPY file /"), "{told}");
    // One trace, with a span of each step that ran.
    let spans = spans(bundle.path(), &manifest);
    let names = spans.iter().map(|span| span["Name"].as_str().unwrap());
    let step = names.clone().position(|name| name.ends_with("COPY file /"));
    let step = step.unwrap_or_else(|| panic!("{:?}", names.collect::<Vec<_>>()));
    let step = &spans[step];
    assert!(step["StartTime"].as_str().unwrap() < step["EndTime"].as_str().unwrap());
    assert_eq!(step["Attributes"][0]["Key"], "vertex");
    let trace = |span: &Value| span["SpanContext"]["TraceID"].clone();
    assert!(spans.iter().all(|span| trace(span) == trace(step)));
}

#[test]
fn a_failed_build_has_a_record_too() {
    let engine = Engine::start();
    let context = tempfile::tempdir().unwrap();
    let dockerfile = "FROM busybox:latest\nRUN exit 7\n";
    std::fs::write(context.path().join("Dockerfile"), dockerfile).unwrap();
    let metadata = context.path().join("metadata.json");
    let options = ["--metadata-file", metadata.to_str().unwrap()];
    engine.buildx_build(context.path(), &options).expect(1);
    let list = ["buildx", "history", "ls", "--filter", "status=error"];
    let list = [&list[..], &["--format", "{{.Ref}}"]].concat();
    let listed = engine.docker(&list).ok();
    let reference = listed.lines().next().unwrap().rsplit('/').next().unwrap();
    let shown = engine
        .docker(&["buildx", "history", "inspect", reference])
        .ok();
    assert!(shown.contains("exit code: 7"), "{shown}");
    let (bundle, manifest) = exported(&engine, reference);
    let spans = spans(bundle.path(), &manifest);
    let failed = |span: &&Value| span["Status"]["Code"] == 1;
    let mut failed = spans
        .iter()
        .filter(failed)
        .map(|span| span["Name"].to_string());
    assert!(
        failed.any(|name| name.contains("[2/2] RUN exit 7")),
        "{spans:?}"
    );
    let error = layer(
        &manifest,
        "application/vnd.googeapis.google.rpc.status+proto",
    );
    let error = std::fs::read(bundle.path().join(blob(error))).unwrap();
    assert!(String::from_utf8_lossy(&error).contains("exit code: 7"));
}

#[test]
fn records_are_kept_over_restarts_and_go_with_all_their_parts() {
    let engine = Engine::start();
    if !engine.is_own() {
        return;
    }
    let context = context(&engine);
    let reference = reference(&build(&engine, context.path(), &[]));
    let before = provenance(&engine, &reference);
    let files = || {
        let history = engine.data_root().join("build/history");
        std::fs::read_dir(history).unwrap().count()
    };
    engine.stop();
    assert_eq!(files(), 2);
    engine.launch();
    assert_eq!(provenance(&engine, &reference), before);
    exported(&engine, &reference);
    engine.docker(&["buildx", "history", "rm", &reference]).ok();
    assert_eq!(files(), 0);
    let (_bundle, next) = {
        let reference = self::reference(&build(&engine, context.path(), &[]));
        exported(&engine, &reference)
    };
    assert!(next["layers"].as_array().unwrap().len() > 2);
}
