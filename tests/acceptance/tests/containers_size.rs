//! `--storage-opt size`: what a container may write, where the file system can keep such a limit.
#![expect(clippy::unwrap_used, reason = "a test fails where it stands")]

use std::path::Path;
use std::process::Command;

use arca_testkit::{Engine, Options};
use serde_json::{Value, json};

#[test]
fn a_size_of_the_root_is_refused_where_it_cannot_be_kept() {
    let engine = Engine::start();
    let create = |options: Value| {
        let body = json!({"Image": "busybox", "HostConfig": {"StorageOpt": options}});
        let (status, answer) = engine.http().post("/v1.51/containers/create", &body);
        (
            status,
            answer["message"].as_str().unwrap_or_default().to_owned(),
        )
    };
    let (status, text) = create(json!({"size": "1g"}));
    assert_eq!(status, 500, "{text}");
    assert_eq!(
        text,
        "--storage-opt is supported only for overlay over xfs with 'pquota' mount option"
    );
    // Dockerd answers 500.
    let bad = if engine.is_own() { 400 } else { 500 };
    let (status, text) = create(json!({"other": "1g"}));
    assert_eq!(status, bad, "{text}");
    assert!(text.contains("Unknown option other"), "{text}");
    if engine.is_own() {
        // Dockerd looks at the size only where it can keep it.
        let (status, text) = create(json!({"size": "much"}));
        assert_eq!(status, bad, "{text}");
        assert!(
            text.contains("invalid StorageOpt: invalid size: 'much'"),
            "{text}"
        );
    }
}

/// Only with an arcad of the test's own, and where the kernel keeps project quotas of ext4 (`QFMT_V2`).
#[test]
fn a_container_writes_as_much_as_its_size_says() {
    let Some(disk) = Disk::with_project_quotas() else {
        return;
    };
    let engine = Engine::start_with(Options {
        flags: vec![format!("--data-root={}", disk.place.path().display())],
        ..Options::default()
    });
    if !engine.is_own() {
        return;
    }
    let write = |count: u32| format!("dd if=/dev/zero of=/f{count} bs=1M count={count} 2>&1");
    let name = engine.name("small");
    // Files of the image can be changed and moved, and deep directories count.
    let script = format!(
        "set -e; echo x >> /etc/passwd; mkdir -p /a/b; mv /etc/passwd /a/b/p; mv /a /c; {}; df -m / | tail -n 1; {}",
        write(4),
        write(16)
    );
    let arguments = ["run", "--name", &name, "--storage-opt", "size=8m"];
    let output = engine.docker(&[&arguments[..], &["busybox", "sh", "-c", &script]].concat());
    assert_eq!(output.code, 1, "{output:?}");
    full(&output.stdout);
    assert!(output.stdout.contains(" 8 "), "df: {output:?}");
    assert_eq!(
        engine.inspect(&name)["HostConfig"]["StorageOpt"],
        json!({"size": "8m"})
    );

    // It holds for what is copied in, and after a crash.
    engine.kill_9();
    engine.launch();
    let large = tempfile::NamedTempFile::new().unwrap();
    large.as_file().set_len(16 << 20).unwrap();
    let source = large.path().to_str().unwrap();
    let copied = engine.docker(&["cp", source, &format!("{name}:/large")]);
    assert_ne!(copied.code, 0);
    // The client sends more than is read, and may miss the answer.
    let told = engine.daemon_log();
    assert!(
        told.contains("failed to write \"large\": No space left")
            || told.contains("failed to write \"large\": Disk quota exceeded"),
        "{copied:?}"
    );
    let again = engine.docker(&["start", "-a", &name]);
    assert_eq!(again.code, 1);
    a_daemon_has_a_default(&engine);
}

fn full(text: &str) {
    assert!(
        text.contains("No space left") || text.contains("quota exceeded"),
        "{text}"
    );
}

fn a_daemon_has_a_default(engine: &Engine) {
    // One that says nothing has no limit, until the daemon says one.
    let run = |options: &[&str]| {
        let script = "dd if=/dev/zero of=/f bs=1M count=16 2>&1";
        let rest = ["busybox", "sh", "-c", script];
        engine.docker(&[&["run", "--rm"], options, &rest[..]].concat())
    };
    run(&[]).ok();
    engine.stop();
    let config = engine.exec_root().parent().unwrap().join("daemon.json");
    std::fs::write(config, r#"{"storage-opts": ["overlay2.size=6m"]}"#).unwrap();
    engine.launch();
    let limited = run(&[]);
    assert_eq!(limited.code, 1, "{limited:?}");
    full(&limited.stdout);
    run(&["--storage-opt", "size=0"]).ok();
    run(&["--storage-opt", "size=32m"]).ok();
}

/// An ext4 file system of its own, mounted with project quotas.
struct Disk {
    place: tempfile::TempDir,
    _image: tempfile::NamedTempFile,
}

impl Disk {
    fn with_project_quotas() -> Option<Self> {
        let image = tempfile::NamedTempFile::new().unwrap();
        image.as_file().set_len(256 << 20).unwrap();
        let quotas = ["-O", "quota,project", "-E", "quotatype=prjquota"];
        let made = Command::new("/usr/sbin/mkfs.ext4")
            .args(["-q", "-F"])
            .args(quotas)
            .arg(image.path())
            .status();
        assert!(made.unwrap().success());
        let place = tempfile::tempdir().unwrap();
        if mounts(image.path(), place.path()) {
            return Some(Self {
                place,
                _image: image,
            });
        }
        // Without them the same file system can be mounted.
        let plain = Command::new("/usr/sbin/tune2fs")
            .args(["-O", "^quota,^project"])
            .arg(image.path())
            .output();
        assert!(plain.unwrap().status.success());
        assert!(
            Command::new("mount")
                .args(["-o", "loop"])
                .args([image.path(), place.path()])
                .status()
                .unwrap()
                .success()
        );
        unmount(place.path());
        None
    }
}

fn mounts(image: &Path, place: &Path) -> bool {
    let mut mount = Command::new("mount");
    mount.args(["-o", "loop,prjquota"]).args([image, place]);
    mount.output().unwrap().status.success()
}

fn unmount(place: &Path) {
    let done = Command::new("umount").arg(place).status().unwrap();
    assert!(done.success());
}

impl Drop for Disk {
    fn drop(&mut self) {
        unmount(self.place.path());
    }
}
