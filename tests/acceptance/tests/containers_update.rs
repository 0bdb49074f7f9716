//! `docker update`: each limit changes in the kernel while the container runs, is shown, and is kept.
#![expect(clippy::too_many_lines, reason = "a story is told in one piece")]

use arca_testkit::Engine;
use serde_json::json;

fn run(engine: &Engine, what: &str, flags: &[&str]) -> String {
    let name = engine.name(what);
    let head = ["run", "-d", "--name", &name];
    let tail = ["busybox", "sleep", "600"];
    engine.docker(&[&head[..], flags, &tail[..]].concat()).ok();
    name
}

/// A file of the container's cgroup, by version.
fn cgroup(engine: &Engine, name: &str, v1: &str, v2: &str) -> String {
    let script = format!("cat /sys/fs/cgroup/{v2} 2>/dev/null || cat /sys/fs/cgroup/{v1}");
    engine.docker(&["exec", name, "sh", "-c", &script]).ok()
}

#[test]
fn each_limit_changes_while_the_container_runs() {
    let engine = Engine::start();
    let name = run(&engine, "update", &["-m", "64m"]);
    let steps: [(&[&str], &str, &str, &[&str]); 8] = [
        (
            &["-m", "96m", "--memory-swap", "192m"],
            "memory/memory.limit_in_bytes",
            "memory.max",
            &["100663296"],
        ),
        (
            &["--memory-reservation", "48m"],
            "memory/memory.soft_limit_in_bytes",
            "memory.low",
            &["50331648"],
        ),
        (
            &["--cpu-shares", "256"],
            "cpu/cpu.shares",
            "cpu.weight",
            &["256", "10"],
        ),
        (
            &["--cpus", "0.25"],
            "cpu/cpu.cfs_quota_us",
            "cpu.max",
            &["25000", "25000 100000"],
        ),
        (
            &["--cpuset-cpus", "0"],
            "cpuset/cpuset.cpus",
            "cpuset.cpus",
            &["0"],
        ),
        (
            &["--cpuset-mems", "0"],
            "cpuset/cpuset.mems",
            "cpuset.mems",
            &["0"],
        ),
        (
            &["--pids-limit", "33"],
            "pids/pids.max",
            "pids.max",
            &["33"],
        ),
        (
            &["--pids-limit", "-1"],
            "pids/pids.max",
            "pids.max",
            &["max"],
        ),
    ];
    for (flags, v1, v2, wanted) in steps {
        engine
            .docker(&[&["update"], flags, &[name.as_str()]].concat())
            .ok();
        let found = cgroup(&engine, &name, v1, v2);
        assert!(wanted.contains(&found.as_str()), "{flags:?}: {found}");
    }
    let quota = run(&engine, "quota", &[]);
    engine
        .docker(&[
            "update",
            "--cpu-period",
            "20000",
            "--cpu-quota",
            "10000",
            &quota,
        ])
        .ok();
    let found = cgroup(&engine, &quota, "cpu/cpu.cfs_quota_us", "cpu.max");
    assert!(
        ["10000", "10000 20000"].contains(&found.as_str()),
        "{found}"
    );
    let kept = |engine: &Engine| {
        let host = &engine.inspect(&name)["HostConfig"];
        let fields = [
            "Memory",
            "MemorySwap",
            "CpuShares",
            "NanoCpus",
            "CpusetCpus",
            "PidsLimit",
        ];
        json!(fields.map(|field| host[field].clone()))
    };
    let wanted = json!([100_663_296, 201_326_592, 256, 250_000_000, "0", 0]);
    assert_eq!(kept(&engine), wanted);
    if engine.is_own() {
        engine.stop();
        engine.launch();
        assert_eq!(kept(&engine), wanted);
    }
}

#[test]
fn the_restart_policy_changes_and_counts() {
    let engine = Engine::start();
    let name = run(&engine, "policy", &[]);
    engine
        .docker(&["update", "--restart", "on-failure:3", &name])
        .ok();
    let policy = engine.inspect(&name)["HostConfig"]["RestartPolicy"].clone();
    assert_eq!(
        policy,
        json!({"Name": "on-failure", "MaximumRetryCount": 3})
    );
    let refused = engine.docker(&["update", "--restart", "sometimes", &name]);
    assert!(
        refused.stderr.contains("invalid restart policy"),
        "{}",
        refused.stderr
    );
    let removed = run(&engine, "removed", &["--rm"]);
    let refused = engine
        .docker(&["update", "--restart", "always", &removed])
        .expect(1);
    let text = "Restart policy cannot be updated because AutoRemove is enabled for the container";
    assert!(refused.stderr.contains(text), "{}", refused.stderr);
}

#[test]
fn what_cannot_be_changed_is_refused_in_dockerds_words() {
    let engine = Engine::start();
    let limited = run(&engine, "limited", &["-m", "64m", "--cpus", "0.5"]);
    let quota = run(&engine, "quota", &["--cpu-quota", "50000"]);
    let cases: [(&str, &[&str], &str); 8] = [
        (
            &limited,
            &["-m", "512m"],
            "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time",
        ),
        (
            &limited,
            &["-m", "1m"],
            "Minimum memory limit allowed is 6MB",
        ),
        (
            &limited,
            &["--cpu-quota", "10000"],
            "Conflicting options: CPU Quota cannot be updated as NanoCPUs has already been set",
        ),
        (
            &limited,
            &["--cpu-period", "10000"],
            "Conflicting options: CPU Period cannot be updated as NanoCPUs has already been set",
        ),
        (
            &quota,
            &["--cpus", "0.5"],
            "Conflicting options: Nano CPUs cannot be updated as CPU Quota has already been set",
        ),
        (
            &quota,
            &["--cpuset-cpus", "x"],
            "Invalid value x for cpuset cpus: invalid format: x",
        ),
        (
            &quota,
            &["--cpuset-cpus", "4000"],
            "Requested CPUs are not available - requested 4000, available: ",
        ),
        ("nosuch", &["-m", "64m"], "No such container: nosuch"),
    ];
    for (name, flags, text) in cases {
        let output = engine
            .docker(&[&["update"], flags, &[name]].concat())
            .expect(1);
        assert!(output.stderr.contains(text), "{flags:?}: {}", output.stderr);
    }
}

#[test]
fn a_container_that_does_not_run_starts_with_what_was_changed() {
    let engine = Engine::start();
    let name = engine.name("later");
    engine
        .docker(&["create", "--name", &name, "busybox", "sleep", "600"])
        .ok();
    engine.docker(&["update", "--pids-limit", "44", &name]).ok();
    engine.docker(&["start", &name]).ok();
    assert_eq!(cgroup(&engine, &name, "pids/pids.max", "pids.max"), "44");
}
