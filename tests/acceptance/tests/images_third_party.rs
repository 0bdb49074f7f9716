//! Third parties read what was pushed and saved, and write what is pulled and loaded: skopeo, and a
//! registry in Python that gives tokens.
#![expect(clippy::too_many_lines, reason = "a story is told in one piece")]

use arca_testkit::{Engine, Registry, ZuulRegistry};

fn id(engine: &Engine, image: &str) -> String {
    engine.docker(&["inspect", "-f", "{{.Id}}", image]).ok()
}

/// The image does what busybox does.
#[track_caller]
fn assert_runs(engine: &Engine, image: &str) {
    let ran = engine.docker(&["run", "--rm", image, "echo", "alive"]);
    assert_eq!(ran.ok(), "alive");
}

#[test]
fn skopeo_reads_what_is_pushed_and_writes_what_is_pulled() {
    let engine = Engine::start();
    let registry = Registry::start(&engine);
    let directory = tempfile::tempdir().unwrap();
    let skopeo = |arguments: &[&str]| Registry::skopeo(&engine, arguments);
    let before = id(&engine, "busybox:latest");
    let pushed = registry.image("own/box:v1");
    engine.docker(&["tag", "busybox:latest", &pushed]).ok();
    let told = engine.docker(&["push", &pushed]).ok();
    let remote = format!("docker://{pushed}");
    let digest = skopeo(&[
        "inspect",
        "--tls-verify=false",
        "--format",
        "{{.Digest}}",
        &remote,
    ]);
    assert!(told.contains(&format!("v1: digest: {digest} ")), "{told}");

    // Through a layout on a disk, with another compression, and as another kind of manifest.
    let layout = format!("oci:{}:v1", directory.path().join("layout").display());
    skopeo(&["copy", "--src-tls-verify=false", &remote, &layout]);
    for (name, options) in [
        ("oci", &["--format=oci"][..]),
        ("docker", &["--format=v2s2"]),
        (
            "zstd",
            &[
                "--format=oci",
                "--dest-compress",
                "--dest-compress-format=zstd",
            ],
        ),
    ] {
        let image = registry.image(&format!("foreign/{name}:v1"));
        let target = format!("docker://{image}");
        let copy = [
            &["copy", "--dest-tls-verify=false"],
            options,
            &[&layout, &target],
        ]
        .concat();
        skopeo(&copy);
        engine.docker(&["pull", "-q", &image]).ok();
        // The configuration is the one that was written there. What arca pushes, skopeo leaves as it is.
        let manifest = skopeo(&["inspect", "--raw", "--tls-verify=false", &target]);
        let manifest: serde_json::Value = serde_json::from_str(&manifest).unwrap();
        let own = id(&engine, &image);
        assert_eq!(manifest["config"]["digest"], own, "{name}");
        assert!(own == before || !engine.is_own(), "{name}: {own}");
        assert_runs(&engine, &image);
        engine.docker(&["rmi", &image]).ok();
    }

    // Archives, in both directions.
    let saved = directory.path().join("saved.tar");
    let saved = saved.to_str().unwrap();
    engine.docker(&["save", "-o", saved, &pushed]).ok();
    let target = registry.image("own/saved:v1");
    skopeo(&[
        "copy",
        "--dest-tls-verify=false",
        &format!("docker-archive:{saved}"),
        &format!("docker://{target}"),
    ]);
    engine.docker(&["pull", "-q", &target]).ok();
    assert_eq!(id(&engine, &target), before);
    let made = directory.path().join("made.tar");
    let made = made.to_str().unwrap();
    let name = format!("{}:v1", engine.name("made"));
    let archive = format!("docker-archive:{made}:{name}");
    skopeo(&["copy", "--src-tls-verify=false", &remote, &archive]);
    engine.docker(&["load", "-i", made]).ok();
    assert_eq!(id(&engine, &name), before);
    assert_runs(&engine, &name);
    engine.docker(&["rmi", &pushed, &target, &name]).ok();
}

#[test]
fn a_registry_that_gives_tokens_lets_readers_read_and_writers_write() {
    let engine = Engine::start();
    let registry = ZuulRegistry::start(&engine);
    let login = |user: &str, password: &str| {
        let arguments = ["login", "-u", user, "--password-stdin", registry.address()];
        engine.docker_with(&arguments, password.as_bytes())
    };
    let image = registry.image("box:v1");
    engine.docker(&["tag", "busybox:latest", &image]).ok();
    engine.docker(&["push", &image]).expect(1);
    login(ZuulRegistry::WRITER, "wrong").expect(1);
    login(ZuulRegistry::WRITER, ZuulRegistry::PASSWORD).ok();
    let told = engine.docker(&["push", &image]).ok();
    assert!(told.contains("v1: digest: sha256:"), "{told}");
    // The layer that is there is not sent again.
    let again = registry.image("box:v2");
    engine.docker(&["tag", &image, &again]).ok();
    let told = engine.docker(&["push", &again]).ok();
    assert!(told.contains("Layer already exists"), "{told}");
    engine.docker(&["rmi", &image, &again]).ok();
    engine.docker(&["logout", registry.address()]).ok();
    // By the API: the client would ask for a name, and wait for it even where there is no terminal.
    let (status, refused) = engine.http().post(
        &format!("/images/create?fromImage={image}"),
        &serde_json::Value::Null,
    );
    assert_eq!(status, 401, "{refused}");

    login(ZuulRegistry::READER, ZuulRegistry::PASSWORD).ok();
    engine
        .docker(&["pull", "-q", "-a", &registry.image("box")])
        .ok();
    assert_eq!(id(&engine, &image), id(&engine, &again));
    assert_runs(&engine, &image);
    let third = registry.image("box:v3");
    engine.docker(&["tag", "busybox:latest", &third]).ok();
    engine.docker(&["push", &third]).expect(1);
    engine.docker(&["rmi", &image, &again, &third]).ok();
}
