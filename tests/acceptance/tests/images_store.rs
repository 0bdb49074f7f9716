//! The store of images holds: a bad network, a full disk, damage.
#![expect(
    clippy::unwrap_used,
    reason = "what a test needs fails the test where it stands"
)]

use arca_testkit::{
    Chaos, Engine, MadeImage, MadeLayer, Options, Registry, eventually, rounds, write_archive,
};

fn empty() -> Engine {
    Engine::start_with(Options {
        no_images: true,
        flags: vec!["--max-concurrent-uploads=2".to_owned()],
        ..Options::default()
    })
}

/// An archive of an image with three layers of half a megabyte that do not compress.
fn archive(name: &str, seed: u64) -> Vec<u8> {
    let layer = |number| MadeLayer {
        seed: seed * 10 + number,
        size: 500_000,
    };
    let image = MadeImage {
        name: name.to_owned(),
        layers: (0..3).map(layer).collect(),
    };
    let mut bytes = Vec::new();
    write_archive(&[image], &mut bytes).unwrap();
    bytes
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
        assert_eq!(engine.kept_content(), [0, 0], "seed {seed}");

        chaos.set_calm(false);
        for _ in 0..2 {
            if engine.docker(&["pull", "-q", &image]).code == 0 {
                engine.docker(&["rmi", &image]).ok();
            }
            assert_eq!(engine.kept_content(), [0, 0], "seed {seed}");
        }
        chaos.set_calm(true);
        engine.docker(&["pull", "-q", &image]).ok();
        assert_eq!(id(&engine, &image), before, "seed {seed}");
        engine.assert_content_is_sound();
        engine.docker(&["rmi", &image]).ok();
        assert_eq!(engine.kept_content(), [0, 0], "seed {seed}");
        faults += chaos.faults();
    }
    assert!(faults > 5, "{faults}");
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
    let (code, told) = engine.arca(&["gc", "--dry-run"]);
    assert_eq!(code, Some(1), "{told}");
    let lines: Vec<_> = told
        .lines()
        .filter(|line| line.starts_with("would remove"))
        .collect();
    assert!(lines.len() == 2 && lines[0].contains("old:v1"), "{told}");
    assert_eq!(engine.docker(&["images", "-q"]).ok().lines().count(), 4);

    let mut events = engine.events(r#"{"type":["image"]}"#);
    let (_, told) = engine.arca(&["gc"]);
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
    assert_eq!(engine.kept_content(), [0, 0]);
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
    let (_, told) = engine.arca(&["doctor", "--deep"]);
    assert!(told.contains("3 layers are sound"), "{told}");

    let layers = std::fs::read_dir(engine.data_root().join("layers")).unwrap();
    let mut files = layers.map(|entry| entry.unwrap().path().join("file91"));
    let file = files.find(|path| path.exists()).unwrap();
    std::fs::write(&file, "nothing").unwrap();
    let (code, told) = engine.arca(&["doctor", "--deep"]);
    assert_eq!(code, Some(1), "{told}");
    assert!(
        told.contains("its files are not those of its archive"),
        "{told}"
    );
    let (_, told) = engine.arca(&["doctor", "--deep", "--repair"]);
    assert!(told.contains("fetched again"), "{told}");
    engine.assert_content_is_sound();
    engine.docker(&["rmi", &image]).ok();
    assert_eq!(engine.kept_content(), [0, 0]);
}
