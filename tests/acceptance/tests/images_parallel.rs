//! Many pulls at once: each layer is fetched once, and whoever gives up leaves nothing behind.
#![expect(
    clippy::unwrap_used,
    reason = "what a test needs fails the test where it stands"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader};
use std::process::Child;
use std::time::{Duration, Instant};

use arca_testkit::{
    Chaos, Engine, MadeImage, MadeLayer, Options, Registry, eventually, eventually_within, rounds,
    write_archive,
};

const IMAGES: u64 = 10;
/// How many layers each image has; all but one are its neighbour's too.
const LAYERS: u64 = 4;
const PULLS: usize = 20;

struct Scene {
    engine: Engine,
    chaos: Chaos,
    random: u64,
    /// The digests of the configurations: each pull asks for its own.
    configurations: BTreeSet<String>,
    _registry: Registry,
}

impl Scene {
    /// A registry with ten images that overlap, behind a proxy that counts.
    fn set() -> Option<Self> {
        let engine = Engine::start_with(Options {
            no_images: true,
            ..Options::default()
        });
        if !engine.is_own() {
            return None;
        }
        let registry = Registry::start(&engine);
        let layer = |seed| MadeLayer {
            seed,
            size: 300_000,
        };
        let image = |number| MadeImage {
            name: registry.image(&tag(number)),
            layers: (number..number + LAYERS).map(layer).collect(),
        };
        let images: Vec<MadeImage> = (0..IMAGES).map(image).collect();
        let mut archive = Vec::new();
        write_archive(&images, &mut archive).unwrap();
        engine.docker_with(&["load"], &archive).expect(0);
        for image in &images {
            engine.docker(&["push", "-q", &image.name]).ok();
        }
        let ids = engine.docker(&["images", "-q", "--no-trunc"]).ok();
        engine.docker(&["image", "prune", "-af"]).ok();
        let chaos = Chaos::start(&engine, &registry, 1);
        chaos.set_calm(true);
        Some(Self {
            engine,
            chaos,
            random: 1,
            configurations: ids.lines().map(str::to_owned).collect(),
            _registry: registry,
        })
    }

    fn random(&mut self, below: u64) -> u64 {
        self.random = self
            .random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.random >> 33) % below
    }

    fn image(&self, number: u64) -> String {
        self.chaos.image(&tag(number))
    }

    /// Twenty pulls, two of each image.
    fn pulls(&self) -> Vec<(u64, Child)> {
        let pulls = (0..PULLS as u64).map(|pull| pull % IMAGES);
        let spawn = |number| {
            let child = self.engine.docker_spawn(&["pull", &self.image(number)]);
            (number, child)
        };
        pulls.map(spawn).collect()
    }

    /// The images that are there, when nothing but their content is kept.
    fn settled(&self) -> Option<BTreeSet<String>> {
        let images = || {
            let listed = self.engine.docker(&["images", "--format", "{{.Tag}}"]).ok();
            listed.lines().map(str::to_owned).collect::<BTreeSet<_>>()
        };
        let before = images();
        let numbers = before.iter().map(|tag| tag.parse::<u64>().unwrap());
        let layers: BTreeSet<u64> = numbers.flat_map(|number| number..number + LAYERS).collect();
        // Each image has a configuration and a manifest too.
        let wanted = [layers.len() + 2 * before.len(), layers.len()];
        (self.engine.kept_content() == wanted && images() == before).then_some(before)
    }

    /// How often each layer was asked for.
    fn fetched(&self) -> BTreeMap<String, usize> {
        let mut fetched = BTreeMap::new();
        for request in self.chaos.take_requests() {
            if let Some(digest) = request.strip_prefix("GET /v2/overlap/blobs/")
                && !self.configurations.contains(digest)
            {
                *fetched.entry(digest.to_owned()).or_default() += 1;
            }
        }
        fetched
    }

    fn remove_all(&self) {
        self.engine.docker(&["image", "prune", "-af"]).ok();
        assert_eq!(self.engine.kept_content(), [0, 0]);
    }
}

fn tag(number: u64) -> String {
    format!("overlap:{number}")
}

/// Reads until the client has told of all layers of its image.
fn told_of_all_layers(child: &mut Child) -> BufReader<std::process::ChildStdout> {
    let mut reader = BufReader::new(child.stdout.take().unwrap());
    let mut told = 0;
    let mut line = String::new();
    while told < LAYERS {
        line.clear();
        assert_ne!(reader.read_line(&mut line).unwrap(), 0, "it ended early");
        told += u64::from(line.ends_with(": Pulling fs layer\n"));
    }
    reader
}

#[test]
fn each_layer_is_fetched_once_whoever_gives_up() {
    let Some(mut scene) = Scene::set() else {
        return;
    };
    for round in 0..rounds(2) {
        scene.chaos.take_requests();
        scene.chaos.hold(true);
        let mut pulls = scene.pulls();
        let mut readers: Vec<_> = pulls
            .iter_mut()
            .map(|(_, child)| told_of_all_layers(child))
            .collect();
        // All wait now: half of them, whichever, are given up.
        let mut staying = BTreeSet::new();
        for (number, child) in &mut pulls {
            if scene.random(2) == 0 {
                child.kill().unwrap();
            } else {
                staying.insert(*number);
            }
        }
        scene.chaos.hold(false);
        for ((number, child), reader) in pulls.iter_mut().zip(&mut readers) {
            std::io::copy(reader, &mut std::io::sink()).unwrap();
            let status = child.wait().unwrap();
            assert!(status.success() || status.code().is_none(), "{number}");
        }
        let there = eventually("what was given up is gone", || scene.settled());
        for number in &staying {
            // Whoever was given up a moment too late may be there as well.
            assert!(
                there.contains(&number.to_string()),
                "round {round}: {number}"
            );
        }
        scene.engine.assert_content_is_sound();
        let fetched = scene.fetched();
        let many: Vec<_> = fetched.iter().filter(|(_, times)| **times > 1).collect();
        assert!(many.is_empty(), "round {round}: {many:?}");
        assert!(
            fetched.len() >= usize::try_from(LAYERS).unwrap(),
            "{fetched:?}"
        );
        scene.remove_all();
    }
}

#[test]
fn pulls_that_are_given_up_at_any_time_leave_nothing() {
    let Some(mut scene) = Scene::set() else {
        return;
    };
    let begun = Instant::now();
    for (_, mut child) in scene.pulls() {
        assert!(child.wait().unwrap().success());
    }
    let took = begun.elapsed();
    scene.remove_all();
    for _ in 0..rounds(2) {
        let mut pulls = Vec::new();
        for (_, child) in scene.pulls() {
            let percent = u32::try_from(scene.random(120)).unwrap();
            pulls.push((took * percent / 100, child));
        }
        let begun = Instant::now();
        eventually_within(Duration::from_secs(60), "all pulls have ended", || {
            pulls.retain_mut(|(end, child)| {
                if begun.elapsed() >= *end {
                    drop(child.kill());
                }
                child.try_wait().unwrap().is_none()
            });
            pulls.is_empty().then_some(())
        });
        // A pull whose last bytes had come goes through without its client.
        eventually("what was given up is gone", || scene.settled());
        scene.engine.assert_content_is_sound();
        for number in 0..IMAGES {
            scene
                .engine
                .docker(&["pull", "-q", &scene.image(number)])
                .ok();
        }
        let all = usize::try_from(IMAGES + LAYERS - 1).unwrap();
        let documents = 2 * usize::try_from(IMAGES).unwrap();
        assert_eq!(scene.engine.kept_content(), [all + documents, all]);
        scene.remove_all();
    }
}
