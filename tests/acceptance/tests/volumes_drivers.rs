//! Drivers of volumes: where the data are, when they are mounted, and what a crash leaves.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::too_many_lines,
    reason = "what a test needs fails the test where it stands; a story is told in one piece"
)]

use std::path::Path;

use arca_testkit::{Engine, Snapshot};
use serde_json::{Value, json};

/// The mounts of the host whose place or device is below `path`.
fn mounted(path: &str) -> usize {
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let at = |line: &str| {
        line.split(' ')
            .nth(4)
            .is_some_and(|place| place.starts_with(path))
    };
    table.lines().filter(|line| at(line)).count()
}

fn create(engine: &Engine, name: &str, driver: &str, options: &Value) -> (u16, Value) {
    let body = json!({"Name": name, "Driver": driver, "DriverOpts": options});
    engine.http().post("/v1.51/volumes/create", &body)
}

fn mountpoint(engine: &Engine, name: &str) -> String {
    let (status, volume) = engine.http().get(&format!("/v1.51/volumes/{name}"));
    assert_eq!(status, 200, "{volume}");
    volume["Mountpoint"].as_str().unwrap().to_owned()
}

/// Runs a script with the volume at `/v`.
fn run(engine: &Engine, volume: &str, script: &str) -> String {
    let mount = format!("{volume}:/v");
    let arguments = ["run", "--rm", "-v", &mount, "busybox", "sh", "-c", script];
    engine.docker(&arguments).ok()
}

#[test]
fn a_local_volume_is_mounted_while_it_is_used() {
    let engine = Engine::start();
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("file"), "host").unwrap();
    let bound = engine.name("bound");
    let options = json!({"type": "none", "o": "bind", "device": dir.path()});
    assert_eq!(create(&engine, &bound, "local", &options).0, 201);
    let place = mountpoint(&engine, &bound);
    assert_eq!(mounted(&place), 0);
    let (first, second) = (engine.name("first"), engine.name("second"));
    let mount = format!("{bound}:/v");
    for name in [&first, &second] {
        engine
            .run_detached(name, &["-v", &mount, "busybox", "sleep", "600"])
            .expect(0);
    }
    assert_eq!(mounted(&place), 1);
    assert_eq!(
        engine.docker(&["exec", &second, "cat", "/v/file"]).ok(),
        "host"
    );
    engine.docker(&["stop", &first]).expect(0);
    assert_eq!(mounted(&place), 1);
    // In use by a container that has ended, too.
    let refused = engine.docker(&["volume", "rm", &bound]).expect(1);
    assert!(
        refused.stderr.contains("volume is in use"),
        "{}",
        refused.stderr
    );
    engine.docker(&["stop", &second]).expect(0);
    arca_testkit::eventually("the volume is unmounted", || {
        (mounted(&place) == 0).then_some(())
    });
    // A stopped container's volume is seen, and unmounted again.
    let out = engine
        .docker(&["cp", &format!("{first}:/v/file"), "-"])
        .expect(0);
    assert!(String::from_utf8_lossy(&out.raw).contains("host"));
    arca_testkit::eventually("the volume is unmounted", || {
        (mounted(&place) == 0).then_some(())
    });
    engine.docker(&["rm", "-f", &first, &second]).expect(0);
    engine.docker(&["volume", "rm", &bound]).expect(0);
    // Nothing is deleted through the mount.
    assert_eq!(
        std::fs::read_to_string(dir.path().join("file")).unwrap(),
        "host"
    );
}

#[test]
fn memory_and_failures_of_mounting() {
    let engine = Engine::start();
    let memory = engine.name("memory");
    let options = json!({"type": "tmpfs", "device": "tmpfs", "o": "size=64k,uid=7"});
    create(&engine, &memory, "local", &options);
    let said = run(
        &engine,
        &memory,
        "stat -c %u /v; grep ' /v ' /proc/mounts; echo x > /v/f",
    );
    assert!(
        said.starts_with("7\ntmpfs /v tmpfs") && said.contains("size=64k"),
        "{said}"
    );
    assert_eq!(
        run(&engine, &memory, "ls /v"),
        "",
        "memory goes with its last user"
    );
    for (options, text) in [
        (
            json!({"type": "none", "o": "bind", "device": "/nonexist"}),
            "failed to mount local volume: mount /nonexist:{place}, flags: 0x1000: no such file or directory",
        ),
        (
            json!({"type": "nofs", "device": "x"}),
            "failed to mount local volume: mount x:{place}: no such device",
        ),
        (
            json!({"type": "tmpfs", "device": "tmpfs", "o": "bad=1"}),
            "failed to mount local volume: mount tmpfs:{place}, data: bad=1: invalid argument",
        ),
    ] {
        let name = engine.name("bad");
        assert_eq!(create(&engine, &name, "local", &options).0, 201);
        let place = mountpoint(&engine, &name);
        let container = engine.name("container");
        let body = json!({"Image": "busybox", "Cmd": ["true"], "HostConfig": {"Binds": [format!("{name}:/v")]}});
        let path = format!("/v1.51/containers/create?name={container}");
        assert_eq!(engine.http().post(&path, &body).0, 201);
        let path = format!("/v1.51/containers/{container}/start");
        let (status, answer) = engine.http().post(&path, &json!(null));
        let expected = format!(
            "error while mounting volume '{place}': {}",
            text.replace("{place}", &place)
        );
        assert_eq!(
            (status, answer["message"].as_str().unwrap()),
            (500, expected.as_str())
        );
        assert_eq!(mounted(&place), 0);
        engine.docker(&["rm", &container]).expect(0);
        engine.docker(&["volume", "rm", &name]).expect(0);
    }
    for (options, text) in [
        (
            json!({"type": "tmpfs"}),
            "missing required option: \"device\"",
        ),
        (
            json!({"device": "/tmp", "o": "bind"}),
            "missing required option: \"type\"",
        ),
        (json!({"foo": "bar"}), "invalid option: \"foo\""),
        (json!({"size": "xx"}), "invalid size: 'xx'"),
    ] {
        let (status, answer) = create(&engine, "refused", "local", &options);
        let expected = format!("create refused: {text}");
        assert_eq!(
            (status, answer["message"].as_str().unwrap()),
            (400, expected.as_str())
        );
    }
    let (status, answer) = create(&engine, "refused", "nosuch", &json!({}));
    let expected =
        "create refused: error looking up volume plugin nosuch: plugin \"nosuch\" not found";
    assert_eq!(
        (status, answer["message"].as_str().unwrap()),
        (404, expected)
    );
    engine.docker(&["volume", "rm", &memory]).expect(0);
}

#[test]
fn after_a_crash_mounts_are_taken_over_or_away() {
    let engine = Engine::start();
    if !engine.is_own() {
        return;
    }
    let before = Snapshot::take(&engine);
    let (kept, lost) = (engine.name("kept"), engine.name("lost"));
    let dir = tempfile::tempdir().unwrap();
    let options = json!({"type": "none", "o": "bind", "device": dir.path()});
    create(&engine, &kept, "local", &options);
    create(&engine, &lost, "block", &json!({"size": "32m"}));
    let (runs, ends) = (engine.name("runs"), engine.name("ends"));
    let start = |name: &str, volume: &str, script: &str| {
        let mount = format!("{volume}:/v");
        engine
            .run_detached(name, &["-v", &mount, "busybox", "sh", "-c", script])
            .expect(0);
    };
    start(&runs, &kept, "sleep 600");
    start(
        &ends,
        &lost,
        "echo x > /v/f; while ! [ -e /v/go ]; do sleep 0.05; done",
    );
    let (here, there) = (mountpoint(&engine, &kept), mountpoint(&engine, &lost));
    assert_eq!((mounted(&here), mounted(&there)), (1, 1));
    engine.kill_9();
    // Its container ends while nobody looks.
    std::fs::write(Path::new(&there).join("go"), "").unwrap();
    engine.launch();
    engine.docker(&["wait", &ends]).ok();
    arca_testkit::eventually("the lost mount is gone", || {
        (mounted(&there) == 0).then_some(())
    });
    assert_eq!(mounted(&here), 1);
    engine.docker(&["stop", &runs]).expect(0);
    arca_testkit::eventually("the kept mount is gone", || {
        (mounted(&here) == 0).then_some(())
    });
    assert_eq!(run(&engine, &lost, "cat /v/f"), "x");
    engine.docker(&["rm", "-f", &runs, &ends]).expect(0);
    engine.docker(&["volume", "rm", &kept, &lost]).expect(0);
    before.settled_without(&engine, &["open files"]);
    assert!(dir.path().join("f").exists() || dir.path().exists());
}

#[test]
fn a_block_volume_is_a_file_system_of_its_own() {
    let engine = Engine::start();
    if !engine.is_own() {
        return;
    }
    let disk = engine.name("disk");
    assert_eq!(
        create(&engine, &disk, "block", &json!({"size": "32m"})).0,
        201
    );
    assert_eq!(
        run(&engine, &disk, "ls -A /v; echo kept > /v/f"),
        "",
        "no lost+found"
    );
    let said = run(
        &engine,
        &disk,
        "cat /v/f; dd if=/dev/zero of=/v/large bs=1M count=64 2>&1 | grep -o 'No space'; rm /v/large; df -m /v | tail -1 | awk '{print ($2 < 33)}'",
    );
    assert_eq!(said, "kept\nNo space\n1");
    let image = engine
        .data_root()
        .join("volumes")
        .join(&disk)
        .join("volume.img");
    let checked = std::process::Command::new("/usr/sbin/e2fsck")
        .arg("-fn")
        .arg(&image)
        .output()
        .unwrap();
    assert!(
        checked.status.success(),
        "{}",
        String::from_utf8_lossy(&checked.stdout)
    );
    // One at a time.
    let (first, second) = (engine.name("first"), engine.name("second"));
    let mount = format!("{disk}:/v");
    let start = |name: &str| engine.run_detached(name, &["-v", &mount, "busybox", "sleep", "600"]);
    start(&first).expect(0);
    let refused = start(&second).expect(125);
    assert!(
        refused.stderr.contains("one container at a time"),
        "{}",
        refused.stderr
    );
    let out = engine
        .docker(&["cp", &format!("{second}:/v/f"), "-"])
        .expect(0);
    assert!(String::from_utf8_lossy(&out.raw).contains("kept"));
    engine.docker(&["rm", "-f", &first]).expect(0);
    engine.docker(&["start", &second]).expect(0);
    engine.docker(&["rm", "-f", &second]).expect(0);
    let (_, usage) = engine.http().get("/v1.51/system/df?type=volume");
    let size = usage["Volumes"][0]["UsageData"]["Size"].as_i64().unwrap();
    assert!((1..32 << 20).contains(&size), "{size}");
    for (options, text) in [
        (json!({"size": "1k"}), "invalid size: '1k'"),
        (
            json!({"type": "vfat"}),
            "a block volume is ext4 or xfs, not \"vfat\"",
        ),
        (json!({"device": "x"}), "invalid option: \"device\""),
    ] {
        let (status, answer) = create(&engine, "refused", "block", &options);
        assert_eq!(status, 400);
        assert_eq!(answer["message"], format!("create refused: {text}"));
    }
    let (status, answer) = create(&engine, &disk, "local", &json!({}));
    assert_eq!(status, 409, "{answer}");
    engine.docker(&["volume", "rm", &disk]).expect(0);
    arca_testkit::eventually("the image is gone", || (!image.exists()).then_some(()));
}

/// A program of the host sits in the volume, and an unrelated mount is below it.
#[test]
fn a_busy_volume_is_removed_without_waiting_and_without_what_is_mounted_there() {
    let engine = Engine::start();
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("file"), "host").unwrap();
    let (bound, plain, disk) = (
        engine.name("bound"),
        engine.name("plain"),
        engine.name("disk"),
    );
    let options = json!({"type": "none", "o": "bind", "device": dir.path()});
    create(&engine, &bound, "local", &options);
    create(&engine, &plain, "local", &json!({}));
    let mut volumes = vec![bound, plain];
    if engine.is_own() {
        create(&engine, &disk, "block", &json!({"size": "16m"}));
        volumes.push(disk);
    }
    for volume in &volumes {
        let container = engine.name("user");
        let mount = format!("{volume}:/v");
        let script = "echo x > /v/own; sleep 600";
        let arguments = [
            "run", "-d", "--name", &container, "-v", &mount, "busybox", "sh", "-c", script,
        ];
        engine.docker(&arguments).expect(0);
        let place = mountpoint(&engine, volume);
        arca_testkit::eventually("the container has written", || {
            Path::new(&place).join("own").exists().then_some(())
        });
        let mut sitting = std::process::Command::new("sleep")
            .arg("600")
            .current_dir(&place)
            .spawn()
            .unwrap();
        let begin = std::time::Instant::now();
        engine.docker(&["rm", "-f", &container]).expect(0);
        // A mount that somebody of the host has made in there does not go with it, but with dockerd.
        if engine.is_own() {
            let below = Path::new(&place).join("below");
            std::fs::create_dir(&below).unwrap();
            rustix::mount::mount_bind(dir.path(), &below).unwrap();
        }
        engine.docker(&["volume", "rm", volume]).expect(0);
        assert!(begin.elapsed().as_secs() < 30, "{:?}", begin.elapsed());
        sitting.kill().unwrap();
        sitting.wait().unwrap();
        let kept = std::fs::read_to_string(dir.path().join("file"));
        assert_eq!(kept.unwrap(), "host", "{volume}");
        assert_eq!(mounted(&place), 0);
    }
}

/// A volume plugin: a program that answers on a socket, and keeps volumes as directories.
mod plugin {
    use std::io::{BufRead as _, BufReader, Read as _, Write as _};
    use std::os::unix::net::{UnixListener, UnixStream};
    use std::path::{Path, PathBuf};
    use std::sync::{Arc, Mutex};

    use serde_json::{Value, json};

    pub(crate) struct Plugin {
        pub(crate) name: String,
        socket: PathBuf,
        pub(crate) asked: Arc<Mutex<Vec<String>>>,
    }

    impl Plugin {
        pub(crate) fn start(name: String, data: &Path) -> Self {
            std::fs::create_dir_all("/run/docker/plugins").unwrap();
            let socket = Path::new("/run/docker/plugins").join(format!("{name}.sock"));
            let listener = UnixListener::bind(&socket).unwrap();
            let asked = Arc::new(Mutex::new(Vec::new()));
            let (log, data) = (Arc::clone(&asked), data.to_owned());
            std::thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    let (log, data) = (Arc::clone(&log), data.clone());
                    std::thread::spawn(move || serve(stream, &log, &data));
                }
            });
            Self {
                name,
                socket,
                asked,
            }
        }

        pub(crate) fn count(&self, what: &str) -> usize {
            let asked = self.asked.lock().unwrap();
            asked.iter().filter(|line| line.starts_with(what)).count()
        }
    }

    impl Drop for Plugin {
        fn drop(&mut self) {
            std::fs::remove_file(&self.socket).ok();
        }
    }

    fn serve(stream: UnixStream, log: &Mutex<Vec<String>>, data: &Path) {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let mut writer = stream;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            let method = line
                .split(' ')
                .nth(1)
                .unwrap()
                .trim_start_matches('/')
                .to_owned();
            let mut length = 0;
            loop {
                let mut header = String::new();
                reader.read_line(&mut header).unwrap();
                let header = header.trim().to_ascii_lowercase();
                if let Some(value) = header.strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
                if header.is_empty() {
                    break;
                }
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            let body: Value = serde_json::from_slice(&body).unwrap_or_default();
            let name = body["Name"].as_str().unwrap_or_default();
            log.lock()
                .unwrap()
                .push(format!("{method} {name} {}", body["Opts"]));
            let answer = answer(&method, name, data).to_string();
            write!(
                writer,
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{answer}",
                answer.len()
            )
            .unwrap();
        }
    }

    fn answer(method: &str, name: &str, data: &Path) -> Value {
        let home = data.join(name);
        match method {
            "Plugin.Activate" => json!({"Implements": ["VolumeDriver"]}),
            "VolumeDriver.Create" if name.contains("refused") => json!({"Err": "not this one"}),
            "VolumeDriver.Create" => {
                std::fs::create_dir_all(home).unwrap();
                json!({"Err": ""})
            }
            "VolumeDriver.Remove" => {
                std::fs::remove_dir_all(home).unwrap();
                json!({"Err": ""})
            }
            "VolumeDriver.Mount" | "VolumeDriver.Path" => json!({"Mountpoint": home, "Err": ""}),
            "VolumeDriver.Get" if home.exists() && !name.is_empty() => json!({
                "Volume": {"Name": name, "Mountpoint": home, "Status": {"hello": "world"}}, "Err": ""}),
            "VolumeDriver.Get" => json!({"Err": "no such volume"}),
            "VolumeDriver.List" => {
                let names = std::fs::read_dir(data).unwrap().flatten();
                let all: Vec<Value> = names
                    .map(|entry| json!({"Name": entry.file_name().to_str()}))
                    .collect();
                json!({"Volumes": all, "Err": ""})
            }
            "VolumeDriver.Capabilities" => json!({"Capabilities": {"Scope": "global"}}),
            _ => json!({"Err": ""}),
        }
    }
}

#[test]
fn plugins_have_volumes() {
    let engine = Engine::start();
    let data = tempfile::tempdir().unwrap();
    let plugin = plugin::Plugin::start(engine.name("plugin"), data.path());
    let volume = engine.name("remote");
    let (status, made) = create(&engine, &volume, &plugin.name, &json!({"a": "b"}));
    assert_eq!(status, 201, "{made}");
    assert_eq!(
        (&made["Driver"], &made["Scope"]),
        (&json!(plugin.name), &json!("global"))
    );
    assert_eq!(
        plugin.count(&format!("VolumeDriver.Create {volume} {{\"a\":\"b\"}}")),
        1
    );
    let (_, shown) = engine.http().get(&format!("/v1.51/volumes/{volume}"));
    assert_eq!(shown["Status"], json!({"hello": "world"}));
    run(&engine, &volume, "echo x > /v/f");
    assert_eq!(
        std::fs::read_to_string(data.path().join(&volume).join("f")).unwrap(),
        "x\n"
    );
    assert_eq!(
        plugin.count("VolumeDriver.Mount"),
        plugin.count("VolumeDriver.Unmount")
    );
    assert!(plugin.count("VolumeDriver.Mount") >= 1);
    // A container that names a driver makes the volume.
    let other = engine.name("other");
    let mount = format!("{other}:/v");
    let arguments = [
        "run",
        "--rm",
        "--volume-driver",
        &plugin.name,
        "-v",
        &mount,
        "busybox",
        "true",
    ];
    engine.docker(&arguments).ok();
    assert!(data.path().join(&other).is_dir());
    let listed = engine
        .docker(&[
            "volume",
            "ls",
            "-q",
            "--filter",
            &format!("driver={}", plugin.name),
        ])
        .ok();
    assert!(
        listed.contains(&other) && listed.contains(&volume),
        "{listed}"
    );
    let (status, answer) = create(&engine, "refused", &plugin.name, &json!({}));
    assert_eq!(status, 500);
    assert!(
        answer["message"] == "create refused: not this one",
        "{answer}"
    );
    engine.docker(&["volume", "rm", &volume, &other]).expect(0);
    assert_eq!(plugin.count("VolumeDriver.Remove"), 2);
    assert!(!data.path().join(&volume).exists());
    // What the plugin has of somebody else is there, too.
    let theirs = engine.name("theirs");
    std::fs::create_dir(data.path().join(&theirs)).unwrap();
    std::fs::write(data.path().join(&theirs).join("f"), "theirs").unwrap();
    let filter = format!("name={theirs}");
    let listed = engine.docker(&["volume", "ls", "-q", "--filter", &filter]);
    assert_eq!(listed.ok(), theirs);
    let (status, shown) = engine.http().get(&format!("/v1.51/volumes/{theirs}"));
    assert_eq!((status, &shown["Driver"]), (200, &json!(plugin.name)));
    assert_eq!(run(&engine, &theirs, "cat /v/f"), "theirs");
    engine.docker(&["volume", "rm", &theirs]).expect(0);
    assert!(!data.path().join(&theirs).exists());
    let (status, _) = engine.http().get(&format!("/v1.51/volumes/{theirs}"));
    assert_eq!(status, 404);
}
