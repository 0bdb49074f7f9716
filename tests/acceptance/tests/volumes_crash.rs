//! Every kind of mount, and an arcad that is killed at any time: nothing is left of it.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "what a test needs fails the test where it stands"
)]

use std::path::Path;
use std::time::{Duration, Instant};

use arca_testkit::{Engine, Snapshot};
use rustix::mount::{MountPropagationFlags, UnmountFlags};
use serde_json::{Value, json};

/// A directory of the host whose mounts spread to where it is bound, and back.
struct Shared(tempfile::TempDir);

impl Shared {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        rustix::mount::mount_bind(dir.path(), dir.path()).unwrap();
        rustix::mount::mount_change(dir.path(), MountPropagationFlags::SHARED).unwrap();
        std::fs::write(dir.path().join("precious"), "x").unwrap();
        Self(dir)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        rustix::mount::unmount(self.0.path(), UnmountFlags::DETACH).ok();
    }
}

/// Numbers by chance, the same in every run (xorshift64).
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit.max(1)
    }
}

/// The names of one round.
struct Round {
    number: String,
}

const VOLUMES: [(&str, &str); 5] = [
    ("bind", "local"),
    ("tmpfs", "local"),
    ("block", "block"),
    ("plain", "local"),
    ("part", "local"),
];

impl Round {
    fn name(&self, kind: &str) -> String {
        format!("{kind}-{}", self.number)
    }

    fn volume(&self, kind: &str, host: &Path) -> Value {
        let options = match kind {
            "bind" => json!({"type": "none", "o": "bind", "device": host}),
            "tmpfs" => json!({"type": "tmpfs", "device": "tmpfs"}),
            "block" => json!({"size": "16m"}),
            _ => json!({}),
        };
        let driver = VOLUMES.iter().find(|(name, _)| *name == kind).unwrap().1;
        json!({"Name": self.name(kind), "Driver": driver, "DriverOpts": options})
    }

    /// A container with every kind of mount there is.
    fn container(&self, host: &Path) -> Value {
        let volume = |kind: &str| json!({"Type": "volume", "Source": self.name(kind), "Target": format!("/{kind}")});
        let bind = |target: &str, options: Value| json!({"Type": "bind", "Source": host, "Target": target, "BindOptions": options});
        let mut part = volume("part");
        part["VolumeOptions"] = json!({"Subpath": "deep"});
        json!({"Image": "busybox", "Cmd": ["sh", "-c", "echo x > /block/f; sleep 600"],
               "Volumes": {"/declared": {}}, "HostConfig": {
            "Binds": [format!("{}:/b", host.display()), format!("{}:/r:ro", host.display()), "/anonymous"],
            "Tmpfs": {"/t": ""},
            "VolumesFrom": [self.name("from")],
            "Mounts": [volume("bind"), volume("tmpfs"), volume("block"), volume("plain"), part,
                       bind("/n", json!({"NonRecursive": true})), bind("/s", json!({"Propagation": "rslave"})),
                       bind("/h", json!({"Propagation": "rshared"})),
                       bind("/i", json!({"IDMapping": {"Source": "match-user", "User": "7:8"}})),
                       {"Type": "volume", "Target": "/unnamed"},
                       {"Type": "image", "Source": "busybox", "Target": "/image"},
                       {"Type": "tmpfs", "Target": "/m"}]}})
    }

    /// Everything that clients do in a round; it breaks off when the engine is gone.
    fn requests(&self, engine: &Engine, host: &Path) -> std::io::Result<()> {
        let create = |name: String, body: &Value| {
            let path = format!("/v1.51/containers/create?name={name}");
            engine.http().try_post(&path, body).map(drop)
        };
        for (kind, _) in VOLUMES {
            let body = self.volume(kind, host);
            engine.http().try_post("/v1.51/volumes/create", &body)?;
        }
        // Makes the part of the volume that the other one mounts.
        let maker = json!({"Image": "busybox", "Volumes": {"/from": {}}, "HostConfig": {
            "Binds": [format!("{}:/part", self.name("part"))]}});
        create(self.name("from"), &maker)?;
        let mut archive = vec![0_u8; 512];
        archive[..5].copy_from_slice(b"deep/");
        archive[100..107].copy_from_slice(b"0000755");
        archive[124..135].copy_from_slice(b"00000000000");
        archive[156] = b'5';
        archive[257..265].copy_from_slice(b"ustar\x0000");
        archive[148..156].fill(b' ');
        let sum: u32 = archive.iter().map(|byte| u32::from(*byte)).sum();
        archive[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        archive.resize(1536, 0);
        let path = format!("/v1.51/containers/{}/archive?path=/part", self.name("from"));
        let mut put = engine.http().try_send("PUT", &path, &[], &archive)?;
        put.try_bytes()?;
        create(self.name("all"), &self.container(host))?;
        let path = format!("/v1.51/containers/{}", self.name("all"));
        let (_, answer) = engine
            .http()
            .try_post(&format!("{path}/start"), &json!(null))?;
        assert_eq!(answer, json!(null), "the container starts");
        let mut copy =
            engine
                .http()
                .try_send("GET", &format!("{path}/archive?path=/b"), &[], b"")?;
        copy.try_bytes()?;
        self.removals(engine).map(drop)
    }

    /// Removes all of it; returns what was refused.
    fn removals(&self, engine: &Engine) -> std::io::Result<Vec<String>> {
        let mut refused = Vec::new();
        let mut remove = |path: String| {
            let mut answer = engine.http().try_send("DELETE", &path, &[], b"")?;
            let said = String::from_utf8_lossy(&answer.try_bytes()?).into_owned();
            if ![204, 404].contains(&answer.status) {
                refused.push(format!("{path}: {} {said}", answer.status));
            }
            Ok::<_, std::io::Error>(())
        };
        for name in ["all", "from"] {
            remove(format!("/v1.51/containers/{}?force=1&v=1", self.name(name)))?;
        }
        for (kind, _) in VOLUMES {
            remove(format!("/v1.51/volumes/{}", self.name(kind)))?;
        }
        Ok(refused)
    }
}

/// How many rounds; `ARCA_TEST_ROUNDS` makes it more.
fn rounds() -> u64 {
    let given = std::env::var("ARCA_TEST_ROUNDS").ok();
    given.and_then(|text| text.parse().ok()).unwrap_or(8)
}

#[test]
fn rounds_of_everything_with_kills_leave_nothing() {
    let engine = Engine::start();
    if !engine.is_own() {
        return;
    }
    let shared = Shared::new();
    let dir = shared.0.path();
    let round = || Round {
        number: engine.name("round"),
    };
    let first = round();
    let begin = Instant::now();
    first.requests(&engine, dir).unwrap();
    let whole = begin.elapsed();
    assert_eq!(first.removals(&engine).unwrap(), Vec::<String>::new());
    let before = Snapshot::take(&engine);
    let mut chance = Chance(0x9E37_79B9_7F4A_7C15);
    for number in 1..rounds() {
        let round = round();
        std::thread::scope(|scope| {
            let work = scope.spawn(|| round.requests(&engine, dir));
            if number % 4 != 0 {
                let moment = u64::try_from(whole.as_micros()).unwrap();
                std::thread::park_timeout(Duration::from_micros(chance.below(moment)));
                engine.kill_9();
                drop(work.join().unwrap());
                engine.launch();
            } else {
                work.join().unwrap().unwrap();
            }
        });
        let refused = round.removals(&engine).unwrap();
        assert_eq!(refused, Vec::<String>::new(), "round {number}");
    }
    before.settled_without(&engine, &["open files"]);
    nothing_is_left(&engine);
    let kept = std::fs::read_to_string(dir.join("precious")).unwrap();
    assert_eq!(kept, "x");
}

/// No volume, no loop device, and nothing below the directory of volumes.
fn nothing_is_left(engine: &Engine) {
    let (_, listed) = engine.http().get("/v1.51/volumes");
    assert_eq!(listed["Volumes"], json!([]));
    let root = engine.data_root();
    let text = root.to_str().unwrap();
    arca_testkit::eventually("no loop device is left", || {
        let all = std::fs::read_dir("/sys/block").unwrap().flatten();
        let mut backing = all.filter_map(|entry| {
            std::fs::read_to_string(entry.path().join("loop/backing_file")).ok()
        });
        (!backing.any(|path| path.starts_with(text))).then_some(())
    });
    arca_testkit::eventually("no directory is left", || {
        let left = std::fs::read_dir(root.join("volumes")).unwrap();
        (left.count() == 0).then_some(())
    });
}
