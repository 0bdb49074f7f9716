//! The host is left as it was.
#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "helpers of tests fail where they stand"
)]

use arca_testkit::{Engine, Snapshot};
use serde_json::json;

#[test]
fn five_hundred_containers_leave_nothing() {
    let engine = Engine::start();
    let http = engine.http();
    let name = engine.name("cycle");
    let cycle = |body: &serde_json::Value, start: bool| {
        let (status, created) = http.post(&format!("/v1.51/containers/create?name={name}"), body);
        assert_eq!(status, 201, "{created}");
        if start {
            let (status, error) =
                http.post(&format!("/v1.51/containers/{name}/start"), &json!(null));
            assert_eq!(status, 204, "{error}");
        }
        let (status, error) = http.delete(&format!("/v1.51/containers/{name}?force=1"));
        assert_eq!(status, 204, "{error}");
    };
    let plain = json!({"Image": "busybox", "Cmd": ["sleep", "600"]});
    let published = json!({"Image": "busybox", "Cmd": ["sleep", "600"], "ExposedPorts": {"80/tcp": {}}, "HostConfig": {"PortBindings": {"80/tcp": [{"HostPort": "0"}]}}});
    // What is made once and kept (the bridge, caches) is there before the comparison begins.
    cycle(&published, true);
    let before = engine.is_own().then(|| Snapshot::take(&engine));
    let (created, started) = if engine.is_own() {
        (350, 150)
    } else {
        (50, 20)
    };
    for _ in 0..created {
        cycle(&plain, false);
    }
    for round in 0..started {
        cycle(if round % 3 == 0 { &published } else { &plain }, true);
    }
    if let Some(before) = before {
        before.settled(&engine);
    }
}

#[test]
fn what_fails_leaves_nothing() {
    let engine = Engine::start();
    if !engine.is_own() {
        return;
    }
    engine
        .docker(&["run", "--rm", "-p", "0:80", "busybox", "true"])
        .ok();
    let before = Snapshot::take(&engine);
    for _ in 0..5 {
        engine
            .docker(&["run", "--rm", "-p", "0:80", "busybox", "nosuchcmd"])
            .expect(127);
        engine
            .docker(&["run", "--rm", "-v", "/proc/nosuch/x:/y", "busybox", "true"])
            .expect(125);
        engine
            .docker(&["run", "--rm", "--network", "nosuch", "busybox", "true"])
            .expect(125);
        engine.docker(&["pull", "127.0.0.1:1/x"]).expect(1);
    }
    before.settled(&engine);
}

#[test]
fn streams_and_execs_leave_no_open_files() {
    let engine = Engine::start();
    if !engine.is_own() {
        return;
    }
    let name = engine.name("streams");
    engine
        .docker(&[
            "run",
            "-d",
            "--name",
            &name,
            "busybox",
            "sh",
            "-c",
            "echo x; sleep 600",
        ])
        .ok();
    engine.docker(&["exec", &name, "true"]).ok();
    let before = Snapshot::take(&engine);
    for _ in 0..10 {
        engine.docker(&["exec", &name, "echo", "x"]).ok();
        engine.docker(&["logs", &name]).ok();
        let mut follower = engine.docker_spawn(&["logs", "-f", &name]);
        let mut byte = [0];
        std::io::Read::read_exact(follower.stdout.as_mut().unwrap(), &mut byte).unwrap();
        follower.kill().unwrap();
        follower.wait().unwrap();
    }
    before.settled(&engine);
}

/// What a start and a burst of requests needed of the program is not held while nothing happens.
#[test]
fn an_idle_daemon_gives_memory_back() {
    let engine = Engine::start();
    if !engine.is_own() {
        return;
    }
    engine.docker(&["run", "--rm", "busybox", "true"]).ok();
    let most = code_in_memory(&engine);
    arca_testkit::eventually("the code of the burst is given back", || {
        (code_in_memory(&engine) < most / 2).then_some(())
    });
    engine.docker(&["run", "--rm", "busybox", "true"]).ok();
}

/// What is resident of the program's code, in KiB.
fn code_in_memory(engine: &Engine) -> u64 {
    let maps = std::fs::read_to_string(format!("/proc/{}/smaps", engine.pid())).unwrap();
    let mut lines = maps.lines();
    lines
        .find(|line| line.contains(" r-xp ") && line.ends_with("arcad"))
        .expect("the program's code");
    let resident = lines.find_map(|line| line.strip_prefix("Rss:")).unwrap();
    resident.trim().trim_end_matches(" kB").parse().unwrap()
}
