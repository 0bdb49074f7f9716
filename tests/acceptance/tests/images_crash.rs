//! SIGKILL in the middle of whatever changes images: the store verifies, a retry works, and no byte stays
//! that nothing refers to.
#![expect(
    clippy::unwrap_used,
    reason = "what a test needs fails the test where it stands"
)]

use std::process::Command;
use std::time::{Duration, Instant};

use arca_testkit::{
    Engine, MadeImage, MadeLayer, Options, Registry, eventually, eventually_within, rounds,
    write_archive,
};

/// What is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    Pull,
    PullAll,
    Load,
    Push,
    Remove,
    Prune,
    Collect,
}

const OPERATIONS: [Operation; 7] = [
    Operation::Pull,
    Operation::PullAll,
    Operation::Load,
    Operation::Push,
    Operation::Remove,
    Operation::Prune,
    Operation::Collect,
];

impl Operation {
    /// Does it need the image to be there?
    fn needs_image(self) -> bool {
        !matches!(self, Self::Pull | Self::PullAll | Self::Load)
    }
}

struct Scene {
    engine: Engine,
    image: String,
    /// The same image as an archive.
    file: String,
}

impl Scene {
    /// An empty engine whose every image may be collected, and a registry with an image that has two tags.
    fn set() -> Option<(Self, Registry)> {
        let engine = Engine::start_with(Options {
            no_images: true,
            flags: vec!["--max-concurrent-uploads=2".to_owned()],
            ..Options::default()
        });
        if !engine.is_own() {
            return None;
        }
        engine.stop();
        let root = engine.data_root().parent().unwrap().to_owned();
        let policy =
            r#"{"image-gc": {"high-watermark": 0, "low-watermark": 0, "keep-last-used": "0s"}}"#;
        std::fs::write(root.join("daemon.json"), policy).unwrap();
        engine.launch();
        let registry = Registry::start(&engine);
        let image = registry.image("killed:v1");
        let layer = |seed| MadeLayer {
            seed,
            size: 1_500_000,
        };
        let made = MadeImage {
            name: image.clone(),
            layers: (1..=4).map(layer).collect(),
        };
        let mut bytes = Vec::new();
        write_archive(&[made], &mut bytes).unwrap();
        engine.docker_with(&["load"], &bytes).expect(0);
        let other = registry.image("killed:v2");
        engine.docker(&["tag", &image, &other]).ok();
        engine.docker(&["push", "-q", &image]).ok();
        engine.docker(&["push", "-q", &other]).ok();
        let file = root.join("image.tar");
        std::fs::write(&file, &bytes).unwrap();
        let file = file.to_str().unwrap().to_owned();
        let scene = Self {
            engine,
            image,
            file,
        };
        scene.clear();
        Some((scene, registry))
    }

    fn clear(&self) {
        self.engine.docker(&["image", "prune", "-af"]).ok();
        assert_eq!(self.engine.kept_content(), [0, 0]);
    }

    fn command(&self, operation: Operation) -> Command {
        let image = self.image.as_str();
        let repository = image.rsplit_once(':').unwrap().0;
        let docker = |arguments: &[&str]| self.engine.docker_command(arguments);
        match operation {
            Operation::Pull => docker(&["pull", "-q", image]),
            Operation::PullAll => docker(&["pull", "-q", "-a", repository]),
            Operation::Load => docker(&["load", "-i", &self.file]),
            Operation::Push => docker(&["push", "-q", image]),
            Operation::Remove => docker(&["rmi", "-f", image]),
            Operation::Prune => docker(&["image", "prune", "-af"]),
            Operation::Collect => self.engine.arca_command(&["gc"]),
        }
    }

    /// Makes what the operation needs.
    fn prepare(&self, operation: Operation) {
        self.clear();
        if operation == Operation::Push {
            // A loaded image is compressed while it is pushed.
            self.engine.docker(&["load", "-qi", &self.file]).ok();
        } else if operation.needs_image() {
            self.engine.docker(&["pull", "-q", &self.image]).ok();
        }
    }

    /// Does the operation, which has to go through. Returns how long it took.
    #[track_caller]
    fn perform(&self, operation: Operation, what: &str) -> Duration {
        let begun = Instant::now();
        let output = self.command(operation).output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        // A collection tells by its code that the disk is as full as before.
        let done = output.status.success()
            || (operation == Operation::Collect && output.status.code() == Some(1));
        assert!(done, "{what}: {errors}");
        begun.elapsed()
    }

    /// How long the operation takes when nobody cuts it.
    fn measure(&self, operation: Operation) -> Duration {
        self.prepare(operation);
        self.perform(operation, "at first")
    }

    /// Cuts the operation after a while, or when it is done.
    fn cut(&self, operation: Operation, after: Duration) {
        self.prepare(operation);
        let mut child = self.command(operation).spawn().unwrap();
        let begun = Instant::now();
        eventually_within(Duration::from_secs(20), "it is time", || {
            let done = child.try_wait().unwrap().is_some();
            (done || begun.elapsed() >= after).then_some(())
        });
        self.engine.kill_9();
        drop(child.kill());
        child.wait().unwrap();
        self.engine.launch();
    }

    /// What is kept is what images refer to, and no more: a collection finds nothing.
    fn assert_nothing_is_left_over(&self, what: &str) {
        let is_there = !self.engine.docker(&["images", "-qa"]).ok().is_empty();
        if is_there {
            let kept = self.engine.kept_content();
            // Four layers, the configuration, and the manifest it came with or was pushed with.
            assert!(
                kept[1] == 4 && (6..=8).contains(&kept[0]),
                "{what}: {kept:?}"
            );
            self.engine.docker(&["image", "prune", "-f"]).ok();
            assert_eq!(self.engine.kept_content(), kept, "{what}");
        } else {
            // The collection after the start runs beside the first requests.
            eventually("nothing is left over", || {
                (self.engine.kept_content() == [0, 0]).then_some(())
            });
        }
    }
}

#[test]
fn after_sigkill_the_store_verifies_a_retry_works_and_nothing_is_left_over() {
    let Some((scene, _registry)) = Scene::set() else {
        return;
    };
    let took = OPERATIONS.map(|operation| scene.measure(operation));
    let mut random = 1_u64;
    let mut half_done = 0;
    for round in 0..rounds(14) {
        let at = usize::try_from(round).unwrap() % OPERATIONS.len();
        let (operation, took) = (OPERATIONS[at], took[at]);
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let percent = u32::try_from((random >> 33) % 110).unwrap();
        let what = format!("round {round}: {operation:?} cut after {percent} %");
        scene.cut(operation, took * percent / 100);
        let engine = &scene.engine;
        engine.assert_content_is_sound();
        scene.assert_nothing_is_left_over(&what);
        half_done += u32::from(
            engine
                .daemon_log()
                .contains("left behind by an earlier run"),
        );
        // The same again goes through.
        if operation.needs_image() && engine.docker(&["images", "-q"]).ok().is_empty() {
            engine.docker(&["pull", "-q", &scene.image]).ok();
        }
        scene.perform(operation, &what);
        engine.assert_content_is_sound();
    }
    let (_, told) = scene.engine.arca(&["doctor", "--deep"]);
    assert!(told.contains("layers are sound"), "{told}");
    scene.clear();
    eprintln!("{half_done} rounds after something had been left behind");
}
