//! Images to a registry, and from there to another engine.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "what a test needs fails the test where it stands"
)]

use arca_testkit::{Engine, Registry};
use serde_json::Value;

/// The lines of a push, as the API sends them.
fn push(engine: &Engine, name: &str, query: &str) -> (u16, Vec<Value>) {
    let path = format!("/v1.51/images/{name}/push{query}");
    // `{}` in base64: nobody in particular.
    let headers = [("X-Registry-Auth", "e30=")];
    let mut answer = engine.http().send("POST", &path, &headers, b"");
    let status = answer.status;
    let body = answer.bytes();
    let lines = String::from_utf8_lossy(&body)
        .lines()
        .filter(|line| !line.trim().is_empty())
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    (status, lines)
}

fn statuses(lines: &[Value]) -> Vec<&str> {
    lines
        .iter()
        .filter_map(|line| line["status"].as_str())
        .filter(|status| *status != "Pushing")
        .collect()
}

/// An image of three layers, the topmost of which nobody else has.
fn image_of_three_layers(engine: &Engine, name: &str) {
    let directory = tempfile::tempdir().unwrap();
    let mut layers = Vec::new();
    for number in 0..3 {
        let file = directory.path().join(format!("file{number}"));
        std::fs::write(&file, format!("{name} {number} ").repeat(50_000)).unwrap();
        let archive = directory.path().join(format!("layer{number}.tar"));
        let done = std::process::Command::new("tar")
            .arg("-C")
            .arg(directory.path())
            .arg("-cf")
            .arg(&archive)
            .arg(format!("file{number}"))
            .status();
        assert!(done.unwrap().success());
        let sum = std::process::Command::new("sha256sum")
            .arg(&archive)
            .output();
        let sum = String::from_utf8(sum.unwrap().stdout).unwrap();
        layers.push(format!("sha256:{}", sum.split(' ').next().unwrap()));
    }
    let config = serde_json::json!({
        "architecture": "amd64", "os": "linux", "created": "2026-01-01T00:00:00Z",
        "config": {"Labels": {"made": "here"}},
        "rootfs": {"type": "layers", "diff_ids": layers},
    });
    std::fs::write(directory.path().join("config.json"), config.to_string()).unwrap();
    let manifest = serde_json::json!([{
        "Config": "config.json", "RepoTags": [name],
        "Layers": ["layer0.tar", "layer1.tar", "layer2.tar"],
    }]);
    std::fs::write(directory.path().join("manifest.json"), manifest.to_string()).unwrap();
    let archive = std::process::Command::new("tar")
        .arg("-C")
        .arg(directory.path())
        .args(["-cf", "-", "manifest.json", "config.json"])
        .args(["layer0.tar", "layer1.tar", "layer2.tar"])
        .output();
    engine
        .docker_with(&["load"], &archive.unwrap().stdout)
        .expect(0);
}

#[test]
fn an_image_is_pushed_and_pulled_again() {
    let engine = Engine::start();
    let registry = Registry::start(&engine);
    let image = registry.image("push/box:one");
    engine.docker(&["tag", "busybox:latest", &image]).ok();
    let output = engine.docker(&["push", &image]).ok();
    assert!(
        output.contains(&format!(
            "The push refers to repository [{}]",
            registry.image("push/box")
        )),
        "{output}"
    );
    assert!(output.contains(": Pushed"), "{output}");
    assert!(output.contains("one: digest: sha256:"), "{output}");
    let digest = output
        .lines()
        .find_map(|line| line.strip_prefix("one: digest: "))
        .and_then(|rest| rest.split(' ').next())
        .unwrap()
        .to_owned();
    let id = engine.docker(&["inspect", "-f", "{{.Id}}", &image]).ok();
    let digests = engine
        .docker(&["inspect", "-f", "{{.RepoDigests}}", &image])
        .ok();
    let by_digest = format!("{}@{digest}", registry.image("push/box"));
    assert!(digests.contains(&by_digest), "{digests}");
    engine.docker(&["rmi", &image]).ok();
    let pulled = engine.docker(&["pull", &by_digest]).ok();
    assert!(pulled.contains(&format!("Digest: {digest}")), "{pulled}");
    let again = engine
        .docker(&["inspect", "-f", "{{.Id}}", &by_digest])
        .ok();
    assert_eq!(again, id);
    assert_eq!(
        engine
            .docker(&["run", "--rm", &by_digest, "echo", "there and back"])
            .ok(),
        "there and back"
    );
    engine.docker(&["rmi", &by_digest]).ok();
}

#[test]
fn the_stream_tells_of_each_layer_and_ends_in_the_digest() {
    let engine = Engine::start_with(arca_testkit::Options {
        no_images: true,
        ..arca_testkit::Options::default()
    });
    let registry = Registry::start(&engine);
    let repository = registry.image(&engine.name("stream"));
    image_of_three_layers(&engine, &format!("{repository}:a"));
    let mut events = engine.events(r#"{"event":["push"]}"#);
    let (status, lines) = push(&engine, &repository, "?tag=a");
    assert_eq!(status, 200);
    let told = statuses(&lines);
    assert_eq!(
        told[0],
        format!("The push refers to repository [{repository}]")
    );
    assert_eq!(told[1..4], ["Preparing"; 3]);
    assert_eq!(told.iter().filter(|status| **status == "Pushed").count(), 3);
    let pushing = lines
        .iter()
        .find(|line| line["status"] == "Pushing")
        .unwrap();
    assert!(pushing["progressDetail"]["total"].as_u64().unwrap() > 500_000);
    assert_eq!(pushing["id"].as_str().unwrap().len(), 12);
    let aux = &lines.last().unwrap()["aux"];
    let (digest, size) = (
        aux["Digest"].as_str().unwrap(),
        aux["Size"].as_u64().unwrap(),
    );
    assert_eq!(aux["Tag"], "a");
    assert_eq!(
        *told.last().unwrap(),
        format!("a: digest: {digest} size: {size}")
    );
    let event = events.wait_for("push", |event| {
        event["Actor"]["Attributes"]["name"] == *repository
    });
    assert_eq!(event["Actor"]["ID"], format!("{repository}:a"));
    assert_eq!(event["Actor"]["Attributes"]["name"], *repository);

    // The second time nothing is sent, and the digest is the same.
    let (_, again) = push(&engine, &repository, "?tag=a");
    let told = statuses(&again);
    assert_eq!(told[4..7], ["Layer already exists"; 3], "{told:?}");
    assert_eq!(again.last().unwrap()["aux"]["Digest"], *digest);

    // Another repository of the registry takes the layers from the first.
    let other = registry.image(&engine.name("other"));
    engine
        .docker(&["tag", &format!("{repository}:a"), &format!("{other}:b")])
        .ok();
    let (_, mounted) = push(&engine, &other, "?tag=b");
    let path = repository.split_once('/').unwrap().1;
    let told = statuses(&mounted);
    let expected = format!("Mounted from {path}");
    assert_eq!(told[4..7], [expected.as_str(); 3], "{told:?}");
    assert_eq!(mounted.last().unwrap()["aux"]["Digest"], *digest);
    engine
        .docker(&["rmi", &format!("{repository}:a"), &format!("{other}:b")])
        .ok();
}

#[test]
fn all_tags_are_pushed_when_none_is_named() {
    let engine = Engine::start();
    let registry = Registry::start(&engine);
    let repository = registry.image(&engine.name("tags"));
    for tag in ["a", "b"] {
        let image = format!("{repository}:{tag}");
        engine.docker(&["tag", "busybox:latest", &image]).ok();
    }
    let output = engine.docker(&["push", "-a", &repository]).ok();
    assert!(output.contains("a: digest: sha256:"), "{output}");
    assert!(output.contains("b: digest: sha256:"), "{output}");
    for tag in ["a", "b"] {
        engine.docker(&["rmi", &format!("{repository}:{tag}")]).ok();
    }
    let pulled = engine.docker(&["pull", "-a", &repository]).ok();
    assert!(pulled.contains("a: Pulling from"), "{pulled}");
    assert!(pulled.contains("b: Pulling from"), "{pulled}");
    for tag in ["a", "b"] {
        engine.docker(&["rmi", &format!("{repository}:{tag}")]).ok();
    }
}

#[test]
fn what_was_pulled_goes_on_with_the_same_digest() {
    let engine = Engine::start();
    let registry = Registry::start(&engine);
    registry.publish(&engine, "busybox:latest", "origin:one");
    let output = engine.docker(&["pull", &registry.image("origin:one")]).ok();
    let digest = output
        .lines()
        .find_map(|line| line.strip_prefix("Digest: "))
        .unwrap()
        .to_owned();
    let copy = registry.image("copy:two");
    engine
        .docker(&["tag", &registry.image("origin:one"), &copy])
        .ok();
    let output = engine.docker(&["push", &copy]).ok();
    // Another engine may make a manifest of its own.
    if engine.is_own() {
        assert!(
            output.contains(&format!("two: digest: {digest}")),
            "{output}"
        );
        assert!(output.contains("Mounted from origin"), "{output}");
    }
    engine
        .docker(&["rmi", &registry.image("origin:one"), &copy])
        .ok();
}

#[test]
fn what_cannot_be_pushed_is_said_so() {
    let engine = Engine::start();
    let registry = Registry::start(&engine);
    let repository = registry.image(&engine.name("refused"));
    let last = |lines: Vec<Value>| lines.last().unwrap()["error"].as_str().unwrap().to_owned();

    let (status, lines) = push(&engine, &repository, "");
    assert_eq!(status, 200);
    assert_eq!(
        last(lines),
        format!("An image does not exist locally with the tag: {repository}")
    );
    engine
        .docker(&["tag", "busybox:latest", &format!("{repository}:a")])
        .ok();
    let (_, lines) = push(&engine, &repository, "?tag=b");
    assert_eq!(last(lines), format!("tag does not exist: {repository}:b"));
    let digest = format!("{repository}@sha256:{}", "0".repeat(64));
    let (_, lines) = push(&engine, &digest, "");
    assert_eq!(last(lines), "cannot push a digest reference");

    let platform = "%7B%22os%22%3A%22linux%22%2C%22architecture%22%3A%22s390x%22%7D";
    let (status, lines) = push(&engine, &repository, &format!("?tag=a&platform={platform}"));
    assert_eq!(status, 404);
    let message = lines[0]["message"].as_str().unwrap();
    assert!(
        message.contains("does not match the specified platform (linux/s390x)"),
        "{message}"
    );
    assert_eq!(push(&engine, &repository, "?tag=a%20b").0, 400);
    assert_eq!(push(&engine, &repository, "?tag=a&platform=x").0, 400);

    let nowhere = format!("{}/gone:a", engine.free_address());
    engine.docker(&["tag", "busybox:latest", &nowhere]).ok();
    let output = engine.docker(&["push", &nowhere]).expect(1);
    assert!(
        output.stderr.contains("connect: connection refused"),
        "{}",
        output.stderr
    );
    engine
        .docker(&["rmi", &nowhere, &format!("{repository}:a")])
        .ok();
}

#[test]
fn a_registry_with_a_login_wants_it_for_a_push() {
    let engine = Engine::start();
    let registry = Registry::start_with_login(&engine);
    let image = registry.image(&format!("{}:a", engine.name("private")));
    engine.docker(&["tag", "busybox:latest", &image]).ok();
    let refused = engine.docker(&["push", &image]).expect(1);
    assert_eq!(refused.stderr.trim(), "no basic auth credentials");
    let login = ["login", "-u", arca_testkit::USER, "--password-stdin"];
    let login = [&login[..], &[registry.address()]].concat();
    engine
        .docker_with(&login, arca_testkit::PASSWORD.as_bytes())
        .ok();
    let output = engine.docker(&["push", &image]).ok();
    assert!(output.contains("a: digest: sha256:"), "{output}");
    engine.docker(&["rmi", &image]).ok();
}

#[test]
fn the_manifests_of_an_image_are_shown_when_asked_for() {
    let engine = Engine::start();
    if !engine.is_own() {
        // Another engine may have no store for several platforms.
        return;
    }
    let (_, images) = engine.http().get("/v1.51/images/json?manifests=1");
    let manifest = &images[0]["Manifests"][0];
    assert_eq!(manifest["Kind"], "image");
    assert_eq!(manifest["Available"], true);
    assert_eq!(manifest["ID"], images[0]["Descriptor"]["digest"]);
    assert_eq!(manifest["ImageData"]["Size"]["Unpacked"], images[0]["Size"]);
    let (_, inspected) = engine.http().get("/v1.51/images/busybox/json?manifests=1");
    assert_eq!(inspected["Manifests"][0], *manifest);
    let (_, plain) = engine.http().get("/v1.46/images/json?manifests=1");
    assert!(plain[0].get("Manifests").is_none(), "{plain}");
    let tree = engine.docker(&["images", "--tree"]).ok();
    assert!(tree.contains("busybox:latest"), "{tree}");
    assert!(tree.contains("linux/"), "{tree}");
}

#[test]
fn an_index_is_searched() {
    let engine = Engine::start();
    let address = engine.free_address();
    let listener = engine.in_netns(|| std::net::TcpListener::bind(&address).unwrap());
    let server = std::thread::spawn(move || {
        let mut asked = Vec::new();
        while asked
            .last()
            .is_none_or(|path: &String| !path.contains("/v1/search"))
        {
            let (stream, _) = listener.accept().unwrap();
            asked.extend(answer_search(stream));
        }
        asked
    });
    let found = engine
        .docker(&[
            "search",
            "--limit",
            "7",
            "--filter",
            "stars=3",
            &format!("{address}/foo b"),
        ])
        .ok();
    assert!(found.contains("much starred"), "{found}");
    assert!(!found.contains("a/foo"), "{found}");
    let asked = server.join().unwrap();
    assert_eq!(asked.last().unwrap(), "/v1/search?q=foo+b&n=7");

    let refused = engine.docker(&["search", &format!("{}/foo", engine.free_address())]);
    assert!(
        refused
            .expect(1)
            .stderr
            .contains("invalid registry endpoint")
    );
    let limit = engine.docker(&["search", "--limit", "101", "x"]).expect(1);
    assert!(
        limit
            .stderr
            .contains("limit 101 is outside the range of [1, 100]"),
        "{}",
        limit.stderr
    );
}

/// Answers one request as an index does; the path that was asked for. What is no HTTP gets no answer.
fn answer_search(stream: std::net::TcpStream) -> Option<String> {
    use std::io::{BufRead as _, Write as _};
    let mut lines = std::io::BufReader::new(stream.try_clone().unwrap()).split(b'\n');
    let first = String::from_utf8(lines.next()?.ok()?).ok()?;
    let path = first.strip_prefix("GET ")?.split(' ').next()?.to_owned();
    while lines.next()?.ok()?.as_slice() != b"\r" {}
    let body = r#"{"results":[
        {"name":"foo","description":"much starred","star_count":5,"is_official":true},
        {"name":"a/foo","description":"","star_count":1,"is_official":false}]}"#;
    let mut stream = stream;
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .ok()?;
    Some(path)
}
