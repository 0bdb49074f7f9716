//! The store of images holds: a bad network, SIGKILL, a full disk, damage.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "what a test needs fails the test where it stands"
)]

use std::process::Command;
use std::time::Duration;

use arca_testkit::{Chaos, Engine, Options, Registry, eventually, eventually_within, program};
use serde_json::Value;

/// How often what is repeated is repeated.
fn rounds(default: u64) -> u64 {
    let rounds = std::env::var("ARCA_TEST_ROUNDS").ok();
    rounds.and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn empty() -> Engine {
    Engine::start_with(Options {
        no_images: true,
        flags: vec!["--max-concurrent-uploads=2".to_owned()],
    })
}

/// Runs arca, the operator's tool, on an own engine. Returns its code and what it wrote.
fn arca(engine: &Engine, arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(program("arca"));
    command
        .args(arguments)
        .arg("--socket")
        .arg(engine.http().socket());
    if arguments.contains(&"doctor") {
        command.arg("--data-root").arg(engine.data_root());
        command.arg("--exec-root").arg(engine.exec_root());
    }
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    (output.status.code(), text + &errors)
}

/// What an own engine keeps of images, when everything in the background has ended.
fn kept(engine: &Engine) -> [usize; 2] {
    let count = |name: &str| match std::fs::read_dir(engine.data_root().join(name)) {
        Ok(entries) => entries.count(),
        Err(_) => 0,
    };
    eventually("nothing is half done", || {
        (count("tmp") + count("trash") == 0).then_some(())
    });
    // The two layers that are always there are no image's.
    [count("blobs/sha256"), count("layers") - 2]
}

/// Fails unless everything that is kept is what its digest says.
fn assert_sound(engine: &Engine) {
    let (status, answer) = engine.http().post("/arca/images/verify", &Value::Null);
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["Damaged"], serde_json::json!([]), "{answer}");
}

/// An archive of an image with three layers of half a megabyte that do not compress.
fn archive(name: &str, seed: u64) -> Vec<u8> {
    let directory = tempfile::tempdir().unwrap();
    let mut state = seed | 1;
    let mut layers = Vec::new();
    for number in 0..3 {
        let mut bytes = Vec::with_capacity(500_000);
        while bytes.len() < 500_000 {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            bytes.extend_from_slice(&state.to_be_bytes()[..4]);
        }
        let file = format!("file{number}");
        std::fs::write(directory.path().join(&file), bytes).unwrap();
        let layer = format!("layer{number}.tar");
        let mut tar = Command::new("tar");
        tar.arg("-C").arg(directory.path());
        tar.args(["--mtime=@0", "--owner=0", "--group=0", "-cf"]);
        tar.arg(directory.path().join(&layer)).arg(&file);
        assert!(tar.status().unwrap().success());
        let sum = Command::new("sha256sum")
            .arg(directory.path().join(&layer))
            .output();
        let sum = String::from_utf8(sum.unwrap().stdout).unwrap();
        layers.push(format!("sha256:{}", sum.split(' ').next().unwrap()));
    }
    let config = serde_json::json!({
        "architecture": "amd64", "os": "linux", "created": "2026-01-01T00:00:00Z",
        "config": {"Cmd": ["x"]}, "rootfs": {"type": "layers", "diff_ids": layers},
    });
    std::fs::write(directory.path().join("config.json"), config.to_string()).unwrap();
    let manifest = serde_json::json!([{
        "Config": "config.json", "RepoTags": [name],
        "Layers": ["layer0.tar", "layer1.tar", "layer2.tar"],
    }]);
    std::fs::write(directory.path().join("manifest.json"), manifest.to_string()).unwrap();
    let mut tar = Command::new("tar");
    tar.arg("-C").arg(directory.path()).args(["-cf", "-"]);
    tar.args([
        "manifest.json",
        "config.json",
        "layer0.tar",
        "layer1.tar",
        "layer2.tar",
    ]);
    tar.output().unwrap().stdout
}

fn id(engine: &Engine, image: &str) -> String {
    engine.docker(&["inspect", "-f", "{{.Id}}", image]).ok()
}

#[test]
fn whatever_the_network_does_a_retry_succeeds_and_nothing_is_left_over() {
    let engine = empty();
    if !engine.is_own() {
        return;
    }
    let registry = Registry::start(&engine);
    let mut faults = 0;
    for seed in 1..=rounds(2) {
        let name = format!("box{seed}:v1");
        engine
            .docker_with(&["load"], &archive("local:v1", seed))
            .expect(0);
        let before = id(&engine, "local:v1");
        let chaos = Chaos::start(&engine, &registry, seed);
        let image = chaos.image(&name);
        engine.docker(&["tag", "local:v1", &image]).ok();
        // Some attempts may succeed: a push of what is there already is as good a target.
        engine.docker(&["push", "-q", &image]);
        chaos.set_calm(true);
        engine.docker(&["push", "-q", &image]).ok();
        engine.docker(&["rmi", "local:v1", &image]).ok();
        assert_eq!(kept(&engine), [0, 0], "seed {seed}");

        chaos.set_calm(false);
        for _ in 0..2 {
            if engine.docker(&["pull", "-q", &image]).code == 0 {
                engine.docker(&["rmi", &image]).ok();
            }
            assert_eq!(kept(&engine), [0, 0], "seed {seed}");
        }
        chaos.set_calm(true);
        engine.docker(&["pull", "-q", &image]).ok();
        assert_eq!(id(&engine, &image), before, "seed {seed}");
        assert_sound(&engine);
        engine.docker(&["rmi", &image]).ok();
        assert_eq!(kept(&engine), [0, 0], "seed {seed}");
        faults += chaos.faults();
    }
    assert!(faults > 5, "{faults}");
}

#[test]
fn after_sigkill_the_store_verifies_and_a_retry_works() {
    let engine = empty();
    if !engine.is_own() {
        return;
    }
    let registry = Registry::start(&engine);
    let image = registry.image("killed:v1");
    let bytes = archive(&image, 77);
    engine.docker_with(&["load"], &bytes).expect(0);
    engine.docker(&["push", "-q", &image]).ok();
    let file = engine.data_root().parent().unwrap().join("image.tar");
    std::fs::write(&file, &bytes).unwrap();
    let file = file.to_str().unwrap().to_owned();
    let mut random = 1_u64;
    for round in 0..rounds(6) {
        let arguments: &[&str] = match round % 6 {
            0 => &["pull", "-q", &image],
            1 => &["load", "-i", &file],
            2 => &["push", "-q", &image],
            3 => &["rmi", "-f", &image],
            4 => &["image", "prune", "-af"],
            _ => &["pull", "-q", "-a", &image],
        };
        let present = matches!(round % 6, 2..=4);
        if present {
            engine.docker(&["pull", "-q", &image]).ok();
        } else {
            engine.docker(&["image", "prune", "-af"]).ok();
        }
        let mut child = engine.docker_spawn(arguments);
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let milliseconds = (random >> 33) % 120;
        // Either the client is done, or its time is over: whatever was going on is cut.
        let begun = std::time::Instant::now();
        eventually_within(Duration::from_secs(20), "it is time", || {
            let over = begun.elapsed() >= Duration::from_millis(milliseconds);
            (over || child.try_wait().unwrap().is_some()).then_some(())
        });
        engine.kill_9();
        drop(child.kill());
        child.wait().unwrap();
        engine.launch();
        assert_sound(&engine);
        engine.docker(&["pull", "-q", &image]).ok();
        assert_sound(&engine);
        engine.docker(&["rmi", "-f", &image]).ok();
        engine.docker(&["image", "prune", "-af"]).ok();
        assert_eq!(kept(&engine), [0, 0], "round {round}: {arguments:?}");
    }
}

#[test]
fn images_that_nobody_uses_go_when_the_disk_is_full() {
    let engine = Engine::start();
    if !engine.is_own() {
        return;
    }
    let config = engine.data_root().parent().unwrap().join("daemon.json");
    engine.stop();
    // Every disk is fuller than this.
    std::fs::write(
        &config,
        r#"{"image-gc": {"high-watermark": 0, "low-watermark": 0, "keep-last-used": "0s", "pin": ["pinned:*"]}}"#,
    )
    .unwrap();
    engine.launch();
    engine
        .docker(&["create", "--name=user", "busybox:latest", "true"])
        .ok();
    for (name, seed) in [("old:v1", 1), ("new:v1", 5), ("pinned:v1", 9)] {
        engine
            .docker_with(&["load"], &archive(name, seed))
            .expect(0);
    }
    let (code, told) = arca(&engine, &["gc", "--dry-run"]);
    assert_eq!(code, Some(1), "{told}");
    let lines: Vec<_> = told
        .lines()
        .filter(|line| line.starts_with("would remove"))
        .collect();
    assert!(lines.len() == 2 && lines[0].contains("old:v1"), "{told}");
    assert_eq!(engine.docker(&["images", "-q"]).ok().lines().count(), 4);

    let mut events = engine.events(r#"{"type":["image"]}"#);
    let (_, told) = arca(&engine, &["gc"]);
    assert!(
        told.contains("removed") && told.contains("new:v1"),
        "{told}"
    );
    let event = events.wait_for("delete", |_| true);
    assert_eq!(event["Actor"]["Attributes"]["reason"], "gc", "{event}");
    let left = engine
        .docker(&["images", "--format", "{{.Repository}}"])
        .ok();
    let mut left: Vec<_> = left.lines().collect();
    left.sort_unstable();
    assert_eq!(left, ["busybox", "pinned"]);

    // By itself, when it is switched on.
    engine.docker(&["rm", "user"]).ok();
    engine.stop();
    std::fs::write(
        &config,
        r#"{"image-gc": {"enabled": true, "interval": "1s", "high-watermark": 0, "low-watermark": 0, "keep-last-used": "0s"}}"#,
    )
    .unwrap();
    engine.launch();
    eventually("everything has gone", || {
        engine
            .docker(&["images", "-q"])
            .ok()
            .is_empty()
            .then_some(())
    });
    assert_eq!(kept(&engine), [0, 0]);
}

#[test]
fn doctor_finds_damage_and_fetches_what_is_damaged() {
    let engine = empty();
    if !engine.is_own() {
        return;
    }
    let registry = Registry::start(&engine);
    let image = registry.image("healed:v1");
    engine.docker_with(&["load"], &archive(&image, 9)).expect(0);
    engine.docker(&["push", "-q", &image]).ok();
    engine.docker(&["rmi", &image]).ok();
    engine.docker(&["pull", "-q", &image]).ok();
    let (_, told) = arca(&engine, &["doctor", "--deep"]);
    assert!(told.contains("3 layers are sound"), "{told}");

    let layers = std::fs::read_dir(engine.data_root().join("layers")).unwrap();
    let mut files = layers.map(|entry| entry.unwrap().path().join("file1"));
    let file = files.find(|path| path.exists()).unwrap();
    std::fs::write(&file, "nothing").unwrap();
    let (code, told) = arca(&engine, &["doctor", "--deep"]);
    assert_eq!(code, Some(1), "{told}");
    assert!(
        told.contains("its files are not those of its archive"),
        "{told}"
    );
    let (_, told) = arca(&engine, &["doctor", "--deep", "--repair"]);
    assert!(told.contains("fetched again"), "{told}");
    assert_sound(&engine);
    engine.docker(&["rmi", &image]).ok();
    assert_eq!(kept(&engine), [0, 0]);
}
