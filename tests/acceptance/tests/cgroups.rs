//! What a container's cgroup does, in either version of cgroups: limits, statistics, devices, freezing,
//! memory that runs out, and all of it again after a crash of arcad. Short: it also runs in a virtual
//! machine without hardware support (`scripts/test-cgroup2`).
#![expect(clippy::too_many_lines, reason = "a story is told in one piece")]

use arca_testkit::{Engine, Options, eventually};
use serde_json::Value;

/// Reads the first of the two files that the container has below `/sys/fs/cgroup`.
fn read(engine: &Engine, container: &str, v1: &str, v2: &str) -> String {
    let script = format!("cd /sys/fs/cgroup; cat {v2} 2>/dev/null || cat {v1}");
    engine
        .docker(&["exec", container, "sh", "-c", &script])
        .ok()
}

fn stats(engine: &Engine, container: &str) -> Value {
    let path = format!("/v1.51/containers/{container}/stats?stream=false&one-shot=true");
    let (status, stats) = engine.http().get(&path);
    assert_eq!(status, 200, "{stats}");
    stats
}

#[test]
fn limits_are_set_counted_and_changed() {
    let engine = Engine::start();
    let name = engine.name("limited");
    let limits = [
        "-m=64m",
        "--memory-swap=64m",
        "--memory-reservation=32m",
        "--cpus=0.5",
        "--pids-limit=50",
        "--cpuset-cpus=0",
    ];
    let mut arguments = vec!["run", "-d", "--name", &name];
    arguments.extend(limits);
    arguments.extend(["busybox", "sleep", "600"]);
    engine.docker(&arguments).ok();
    let file = |v1: &str, v2: &str| read(&engine, &name, v1, v2);
    assert_eq!(
        file("memory/memory.limit_in_bytes", "memory.max"),
        "67108864"
    );
    assert_eq!(
        file("memory/memory.soft_limit_in_bytes", "memory.low"),
        "33554432"
    );
    assert_eq!(file("pids/pids.max", "pids.max"), "50");
    assert_eq!(file("cpuset/cpuset.cpus", "cpuset.cpus"), "0");
    let quota = file("cpu/cpu.cfs_quota_us", "cpu.max");
    assert!(
        ["50000", "50000 100000"].contains(&quota.as_str()),
        "{quota}"
    );

    let stats = stats(&engine, &name);
    assert_eq!(stats["memory_stats"]["limit"], 67_108_864, "{stats}");
    assert!(stats["memory_stats"]["usage"].as_u64().unwrap() > 0);
    assert_eq!(stats["pids_stats"]["limit"], 50);
    assert!(
        stats["cpu_stats"]["cpu_usage"]["total_usage"]
            .as_u64()
            .unwrap()
            > 0
    );

    engine
        .docker(&[
            "update",
            "-m=32m",
            "--memory-swap=48m",
            "--pids-limit=60",
            &name,
        ])
        .ok();
    assert_eq!(
        file("memory/memory.limit_in_bytes", "memory.max"),
        "33554432"
    );
    assert_eq!(file("pids/pids.max", "pids.max"), "60");

    engine.docker(&["pause", &name]).ok();
    let pid = engine.inspect(&name)["State"]["Pid"].as_u64().unwrap();
    let state = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    // A frozen process of v1 is in the state D, of v2 asleep: only the cgroup tells.
    assert!(state.contains("State:"));
    let frozen = engine.docker(&["exec", &name, "true"]);
    assert_eq!(frozen.code, 1, "{}", frozen.stderr);
    engine.docker(&["unpause", &name]).ok();
    engine.docker(&["exec", &name, "true"]).ok();
    engine.docker(&["stop", "-t", "0", &name]).ok();
    assert_eq!(engine.inspect(&name)["State"]["ExitCode"], 137);
}

#[test]
fn devices_are_allowed_one_by_one() {
    let engine = Engine::start();
    let inside = |options: &[&str], script: &str| {
        let mut arguments = vec!["run", "--rm"];
        arguments.extend(options);
        arguments.extend(["busybox", "sh", "-c", script]);
        engine.docker(&arguments).ok()
    };
    // Nothing is behind this number: opening it fails in the driver if the cgroup lets it through.
    let script = "mknod /n b 7 250 && { head -c1 /n; echo x >/n; } 2>&1; true";
    let denied = "Operation not permitted";
    let found = inside(&[], script);
    assert_eq!(found.matches(denied).count(), 2, "{found}");
    let found = inside(&["--device-cgroup-rule", "b 7:250 r"], script);
    assert_eq!(found.matches(denied).count(), 1, "{found}");
    let found = inside(&["--device-cgroup-rule", "b 7:* rw"], script);
    assert_eq!(found.matches(denied).count(), 0, "{found}");
    let found = inside(&["--privileged"], script);
    assert_eq!(found.matches(denied).count(), 0, "{found}");
    let found = inside(
        &["--device", "/dev/zero:/dev/mine:r"],
        "head -c3 /dev/mine | wc -c; ls -l /dev/mine",
    );
    assert!(found.starts_with('3'), "{found}");
    assert!(found.contains("1,   5"), "{found}");
}

#[test]
fn memory_that_runs_out_is_told_and_a_crash_changes_nothing() {
    let engine = Engine::start();
    let (greedy, patient) = (engine.name("greedy"), engine.name("patient"));
    let script = "while [ ! -e /go ]; do sleep 0.1; done; tail /dev/zero";
    let mut arguments = vec![
        "run",
        "-d",
        "--name",
        &greedy,
        "-m=16m",
        "--memory-swap=16m",
    ];
    arguments.extend(["busybox", "sh", "-c", script]);
    engine.docker(&arguments).ok();
    let mut arguments = vec!["run", "-d", "--name", &patient, "-m=32m"];
    arguments.extend(["busybox", "sleep", "600"]);
    engine.docker(&arguments).ok();
    let pid = engine.inspect(&patient)["State"]["Pid"].clone();
    if engine.is_own() {
        engine.kill_9();
        engine.launch();
    }
    assert_eq!(engine.inspect(&patient)["State"]["Pid"], pid);
    assert_eq!(
        stats(&engine, &patient)["memory_stats"]["limit"],
        33_554_432
    );
    let mut events = engine.events("");
    engine.docker(&["exec", &greedy, "touch", "/go"]).ok();
    assert_eq!(engine.docker(&["wait", &greedy]).ok(), "137");
    events.wait("oom", &greedy);
    let state = &engine.inspect(&greedy)["State"];
    assert_eq!(state["OOMKilled"], true, "{state}");
    engine.docker(&["rm", "-f", &patient]).ok();
    let gone = eventually("the process has ended", || {
        (!std::path::Path::new(&format!("/proc/{pid}/ns")).exists()).then_some(true)
    });
    assert!(gone);
}

#[test]
fn with_the_systemd_driver_a_container_is_a_scope() {
    let systemd = std::path::Path::new("/run/systemd/system").exists();
    let flags = [
        "--exec-opt=native.cgroupdriver=systemd",
        "--cgroup-parent=arcatest.slice",
    ];
    let options = Options {
        flags: flags.map(str::to_owned).to_vec(),
        ..Options::default()
    };
    let engine = Engine::start_with(if systemd { options } else { Options::default() });
    if !systemd || !engine.is_own() {
        // systemd is not PID 1 here: the whole table of scripts/test-cgroup2 has it.
        return;
    }
    let driver = engine
        .docker(&["info", "-f", "{{.CgroupDriver}} {{.CgroupVersion}}"])
        .ok();
    assert!(driver.starts_with("systemd "), "{driver}");
    let name = engine.name("scope");
    let run = [
        "run",
        "-d",
        "--name",
        &name,
        "-m=64m",
        "--cpus=0.5",
        "--pids-limit=50",
    ];
    engine
        .docker(&[&run[..], &["busybox", "sleep", "600"]].concat())
        .ok();
    let inspected = engine.inspect(&name);
    let (id, pid) = (
        inspected["Id"].as_str().unwrap(),
        &inspected["State"]["Pid"],
    );
    let cgroups = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let unit = format!("docker-{id}.scope");
    assert!(
        cgroups.contains(&format!("/arcatest.slice/{unit}")),
        "{cgroups}"
    );
    let property = |name: &str| {
        let shown = std::process::Command::new("systemctl")
            .args(["show", "-p", name, "--value", &unit])
            .output();
        String::from_utf8(shown.unwrap().stdout)
            .unwrap()
            .trim()
            .to_owned()
    };
    assert_eq!(property("MemoryMax"), "67108864");
    assert_eq!(property("TasksMax"), "50");
    let file = |v1: &str, v2: &str| read(&engine, &name, v1, v2);
    assert_eq!(
        file("memory/memory.limit_in_bytes", "memory.max"),
        "67108864"
    );
    engine
        .docker(&["update", "-m=32m", "--memory-swap=48m", &name])
        .ok();
    assert_eq!(property("MemoryMax"), "33554432");
    // What systemd does by itself leaves the limits alone.
    let reload = std::process::Command::new("systemctl")
        .arg("daemon-reload")
        .status();
    assert!(reload.unwrap().success());
    assert_eq!(
        file("memory/memory.limit_in_bytes", "memory.max"),
        "33554432"
    );
    engine.kill_9();
    engine.launch();
    engine.docker(&["exec", &name, "true"]).ok();
    engine.docker(&["rm", "-f", &name]).ok();
    assert_eq!(property("ActiveState"), "inactive");
}
