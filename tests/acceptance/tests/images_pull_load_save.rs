//! Images: pull and login, load and save, import, tag, remove, and what hostile archives get.
#![expect(clippy::too_many_lines, reason = "a story is told in one piece")]

use std::path::Path;
use std::process::Command;

use arca_testkit::{Engine, Options, PASSWORD, Pty, Registry, USER};
use serde_json::Value;

/// Puts busybox into the registry under `name` with `skopeo`'s job done by the engine's own push, or
/// by the registry's API where the engine has none: manifest and blobs of a saved image.
fn publish(engine: &Engine, registry: &Registry, name: &str) {
    registry.publish(engine, "busybox:latest", name);
}

#[test]
fn an_image_is_pulled_by_tag_and_by_digest() {
    let engine = Engine::start();
    let registry = Registry::start(&engine);
    publish(&engine, &registry, "box:one");
    publish(&engine, &registry, "box:two");
    let image = registry.image("box:one");
    let output = engine.docker(&["pull", &image]).expect(0);
    assert!(
        output.stdout.contains("Digest: sha256:"),
        "{}",
        output.stdout
    );
    assert!(
        output
            .stdout
            .contains(&format!("Status: Downloaded newer image for {image}")),
        "{}",
        output.stdout
    );
    assert_eq!(
        engine
            .docker(&["run", "--rm", &image, "echo", "pulled"])
            .ok(),
        "pulled"
    );
    let again = engine.docker(&["pull", &image]).ok();
    assert!(
        again.contains(&format!("Status: Image is up to date for {image}")),
        "{again}"
    );
    let digest = output
        .stdout
        .lines()
        .find_map(|line| line.strip_prefix("Digest: "))
        .unwrap()
        .to_owned();
    let by_digest = format!("{}@{digest}", registry.image("box"));
    engine.docker(&["rmi", &image]).ok();
    engine.docker(&["pull", "-q", &by_digest]).ok();
    let listed = engine
        .docker(&[
            "images",
            "--digests",
            "--format",
            "{{.Tag}} {{.Digest}}",
            &registry.image("box"),
        ])
        .ok();
    assert_eq!(listed, format!("<none> {digest}"));
    engine.docker(&["rmi", &by_digest]).ok();
    engine
        .docker(&["pull", "-q", "-a", &registry.image("box")])
        .ok();
    let mut tags: Vec<_> = engine
        .docker(&["images", "--format", "{{.Tag}}", &registry.image("box")])
        .ok()
        .lines()
        .map(str::to_owned)
        .collect();
    tags.sort();
    assert_eq!(tags, ["one", "two"]);
    engine
        .docker(&[
            "rmi",
            &registry.image("box:one"),
            &registry.image("box:two"),
        ])
        .ok();
}

#[test]
fn progress_is_rendered_on_a_terminal() {
    let engine = Engine::start_with(Options {
        no_images: true,
        ..Options::default()
    });
    if engine.is_own() {
        let maker = Engine::start();
        let registry = Registry::start(&engine);
        registry.publish(&maker, "busybox:latest", "box:latest");
        let mut pty = Pty::spawn(&engine.docker_command(&["pull", &registry.image("box")]));
        pty.expect("latest: Pulling from box");
        pty.expect("Pulling fs layer");
        pty.expect("Pull complete");
        pty.expect("Status: Downloaded newer image");
        assert_eq!(pty.wait(), 0);
    }
}

#[test]
fn a_registry_with_a_login_wants_it() {
    let engine = Engine::start();
    let registry = Registry::start_with_login(&engine);
    publish(&engine, &registry, "private:latest");
    let image = registry.image("private");
    let refused = engine.docker(&["pull", &image]).expect(1);
    assert!(
        refused.stderr.contains("no basic auth credentials"),
        "{}",
        refused.stderr
    );
    let wrong = engine
        .docker_with(
            &["login", "-u", USER, "--password-stdin", registry.address()],
            b"wrong",
        )
        .expect(1);
    assert!(
        wrong.stderr.to_lowercase().contains("unauthorized"),
        "{}",
        wrong.stderr
    );
    let login = engine
        .docker_with(
            &["login", "-u", USER, "--password-stdin", registry.address()],
            PASSWORD.as_bytes(),
        )
        .ok();
    assert!(login.contains("Login Succeeded"), "{login}");
    engine.docker(&["pull", "-q", &image]).ok();
    assert_eq!(
        engine
            .docker(&["run", "--rm", &image, "echo", "let in"])
            .ok(),
        "let in"
    );
    engine.docker(&["rmi", &image]).ok();
}

#[test]
fn what_is_not_there_is_said_so() {
    let engine = Engine::start();
    let registry = Registry::start(&engine);
    publish(&engine, &registry, "box:latest");
    let output = engine
        .docker(&["pull", &registry.image("box:nosuchtag")])
        .expect(1);
    assert!(
        output.stderr.contains("manifest for") && output.stderr.contains("not found"),
        "{}",
        output.stderr
    );
    let output = engine
        .docker(&["pull", &registry.image("nosuchrepo")])
        .expect(1);
    assert!(output.stderr.contains("not found"), "{}", output.stderr);
    let output = engine
        .docker(&["run", "--rm", "--pull", "never", "nosuchimage:x", "true"])
        .expect(125);
    assert!(
        output.stderr.contains("No such image: nosuchimage:x"),
        "{}",
        output.stderr
    );
    let output = engine.docker(&["rmi", "nosuchimage:x"]).expect(1);
    assert!(
        output.stderr.contains("No such image: nosuchimage:x"),
        "{}",
        output.stderr
    );
}

#[test]
fn an_image_is_saved_and_loaded_again() {
    let engine = Engine::start();
    let name = engine.name("saved");
    engine
        .docker(&["tag", "busybox:latest", &format!("{name}:v1")])
        .ok();
    let id = engine
        .docker(&["inspect", "-f", "{{.Id}}", &format!("{name}:v1")])
        .ok();
    let archive = engine
        .docker(&["save", &format!("{name}:v1")])
        .expect(0)
        .raw;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("image.tar");
    std::fs::write(&path, &archive).unwrap();
    let listing = list(&path);
    assert!(
        listing.contains("manifest.json") && listing.contains("index.json"),
        "{listing}"
    );
    engine.docker(&["rmi", &format!("{name}:v1")]).ok();
    let loaded = engine.docker(&["load", "-i", path.to_str().unwrap()]).ok();
    assert!(
        loaded.contains(&format!("Loaded image: {name}:v1")),
        "{loaded}"
    );
    assert_eq!(
        engine
            .docker(&["inspect", "-f", "{{.Id}}", &format!("{name}:v1")])
            .ok(),
        id
    );
    assert_eq!(
        engine
            .docker(&["run", "--rm", &format!("{name}:v1"), "echo", "loaded"])
            .ok(),
        "loaded"
    );
    engine.docker(&["rmi", &format!("{name}:v1")]).ok();
}

#[test]
fn a_file_system_is_imported_with_changes() {
    let engine = Engine::start();
    let name = engine.name("imported");
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("bin")).unwrap();
    std::fs::copy("/bin/busybox", directory.path().join("bin/busybox")).unwrap();
    let archive = tar(directory.path(), &["."]);
    let arguments = [
        "import",
        "-c",
        "CMD [\"/bin/busybox\", \"env\"]",
        "-c",
        "ENV A=b",
        "-m",
        "made",
        "-",
        &name,
    ];
    let id = engine.docker_with(&arguments, &archive).ok();
    assert!(id.starts_with("sha256:"), "{id}");
    assert!(engine.docker(&["run", "--rm", &name]).ok().contains("A=b"));
    let history = engine
        .docker(&["history", "--no-trunc", "--format", "{{.Comment}}", &name])
        .ok();
    assert!(history.contains("made"), "{history}");
    engine.docker(&["rmi", &name]).ok();
}

#[test]
fn images_are_tagged_listed_inspected_and_removed() {
    let engine = Engine::start();
    let name = engine.name("tags");
    engine
        .docker(&["tag", "busybox", &format!("{name}:a")])
        .ok();
    engine
        .docker(&["tag", &format!("{name}:a"), &format!("{name}:b")])
        .ok();
    let listed = engine.docker(&["images", "-q", "--no-trunc", &name]).ok();
    let ids: Vec<&str> = listed.lines().collect();
    assert_eq!(ids.len(), 2, "{listed}");
    assert_eq!(ids[0], ids[1]);
    let filtered = engine
        .docker(&[
            "images",
            "--format",
            "{{.Tag}}",
            "-f",
            &format!("reference={name}:a"),
        ])
        .ok();
    assert_eq!(filtered, "a");
    let inspected: Value =
        serde_json::from_str(&engine.docker(&["inspect", &format!("{name}:a")]).ok()).unwrap();
    assert_eq!(inspected[0]["Id"], ids[0]);
    assert_eq!(inspected[0]["Config"]["Cmd"], serde_json::json!(["sh"]));
    assert_eq!(
        inspected[0]["Architecture"],
        if cfg!(target_arch = "x86_64") {
            "amd64"
        } else {
            "arm64"
        }
    );
    let removed = engine.docker(&["rmi", &format!("{name}:b")]).ok();
    assert_eq!(removed, format!("Untagged: {name}:b"));
    let container = engine.name("holder");
    engine
        .docker(&["create", "--name", &container, &format!("{name}:a"), "true"])
        .ok();
    if engine.is_own() {
        let used = engine
            .docker(&["rmi", ids[0].trim_start_matches("sha256:")])
            .expect(1);
        assert!(used.stderr.contains("conflict"), "{}", used.stderr);
    }
    engine.docker(&["rm", &container]).ok();
    engine.docker(&["rmi", &format!("{name}:a")]).ok();
    let bad = engine.docker(&["tag", "busybox", "lower/UPPER"]).expect(1);
    assert!(
        bad.stderr.contains("repository name") && bad.stderr.contains("must be lowercase"),
        "{}",
        bad.stderr
    );
}

#[test]
fn hostile_archives_write_nothing_outside() {
    let engine = Engine::start();
    let directory = tempfile::tempdir().unwrap();
    let outside = directory.path().join("outside");
    std::fs::create_dir(&outside).unwrap();
    let name = engine.name("hostile");
    // A symbolic link that leads out, then a file behind it.
    let tree = directory.path().join("tree");
    std::fs::create_dir(&tree).unwrap();
    std::os::unix::fs::symlink(&outside, tree.join("way")).unwrap();
    let link = tar(&tree, &["way"]);
    std::fs::remove_file(tree.join("way")).unwrap();
    std::fs::create_dir(tree.join("way")).unwrap();
    std::fs::write(tree.join("way/file"), "escaped").unwrap();
    let file = tar(&tree, &["way/file"]);
    let mut archive = link[..512].to_vec();
    archive.extend(&file);
    let output = engine.docker_with(&["import", "-", &name], &archive);
    assert!(!outside.join("file").exists(), "{output:?}");
    // A path that climbs.
    let mut command = Command::new("tar");
    command.arg("-C").arg(&tree).args([
        "--transform",
        "s,^way/,../../../../../../../../tmp/arca-climbed-,",
        "-P",
        "-cf",
        "-",
        "way/file",
    ]);
    let archive = command.output().unwrap().stdout;
    let output = engine.docker_with(&["import", "-", &name], &archive);
    assert!(!Path::new("/tmp/arca-climbed-file").exists(), "{output:?}");
    // A truncated archive is refused.
    let whole = tar(&tree, &["way"]);
    let mut broken = whole[..700].to_vec();
    broken.extend([0xff; 100]);
    engine.docker_with(&["load"], &broken).expect(1);
    engine.docker(&["rmi", "-f", &name]);
}

fn tar(directory: &Path, names: &[&str]) -> Vec<u8> {
    let output = Command::new("tar")
        .arg("-C")
        .arg(directory)
        .args(["-cf", "-"])
        .args(names)
        .output();
    output.map(|output| output.stdout).unwrap_or_default()
}

fn list(archive: &Path) -> String {
    let output = Command::new("tar").arg("-tf").arg(archive).output();
    output
        .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
        .unwrap_or_default()
}
