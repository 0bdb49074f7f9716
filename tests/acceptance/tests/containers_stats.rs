//! `docker stats`: each counter is the kernel's, on both versions of the cgroups.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail where they stand")]

use arca_testkit::{Engine, eventually};
use serde_json::Value;

fn is_unified() -> bool {
    std::path::Path::new("/sys/fs/cgroup/cgroup.controllers").exists()
}

fn stats(engine: &Engine, name: &str, query: &str) -> Value {
    let path = format!("/v1.51/containers/{name}/stats?{query}");
    let (status, value) = engine.http().get(&path);
    assert_eq!(status, 200, "{value}");
    value
}

fn keys(value: &Value) -> Vec<&str> {
    let object = value.as_object().unwrap();
    object.keys().map(String::as_str).collect()
}

/// The disk that the images are on, or another: block I/O is counted where it is limited.
fn disk() -> String {
    let names = std::fs::read_dir("/sys/block").unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
    let mut real = names.filter(|name| !name.starts_with("loop") && !name.contains("ram"));
    format!("/dev/{}", real.next().unwrap())
}

/// A container that has read from a disk and written to its network.
fn busy(engine: &Engine) -> String {
    let name = engine.name("busy");
    let script = "dd if=/dev/zero of=/x bs=64k count=16 conv=fsync 2>/dev/null; \
         dd if=/x of=/dev/null bs=64k iflag=direct 2>/dev/null; \
         gateway=$(ip route | sed -n 's/default via \\([^ ]*\\).*/\\1/p'); \
         ping -c 3 -i 0.1 -W 5 $gateway; echo ready; sleep 600";
    let rate = format!("{}:900mb", disk());
    let limits = [
        "-m",
        "64m",
        "--pids-limit",
        "50",
        "--device-read-bps",
        &rate,
    ];
    let limits = [&limits[..], &["--device-write-bps", &rate]].concat();
    let head = ["run", "-d", "--name", &name];
    let tail = ["busybox", "sh", "-c", script];
    engine.docker(&[&head[..], &limits, &tail].concat()).ok();
    eventually("it is ready", || {
        let logs = engine.docker(&["logs", &name]).ok();
        logs.contains("ready").then_some(())
    });
    name
}

#[test]
fn block_devices_and_links_are_counted() {
    let engine = Engine::start();
    let name = busy(&engine);
    let shown = stats(&engine, &name, "stream=false&one-shot=true");

    let entries = shown["blkio_stats"]["io_service_bytes_recursive"].clone();
    let entries = entries.as_array().unwrap_or_else(|| panic!("{shown}"));
    let word = if is_unified() { "read" } else { "Read" };
    let read = entries.iter().find(|entry| entry["op"] == word);
    let read = read.unwrap_or_else(|| panic!("{entries:?}"));
    assert_eq!(keys(read), ["major", "minor", "op", "value"]);
    assert!(read["value"].as_u64().unwrap() >= 65_536, "{read}");
    if !is_unified() {
        let all = ["Read", "Write", "Sync", "Async", "Discard", "Total"];
        let of_device = entries
            .iter()
            .filter(|entry| entry["minor"] == read["minor"]);
        let words: Vec<&str> = of_device
            .map(|entry| entry["op"].as_str().unwrap())
            .collect();
        assert_eq!(words, all);
        let counts = &shown["blkio_stats"]["io_serviced_recursive"];
        assert_eq!(counts.as_array().unwrap().len(), entries.len());
    }

    let link = &shown["networks"]["eth0"];
    let script = "cd /sys/class/net/eth0/statistics && for f in rx_bytes tx_bytes rx_packets \
         tx_packets rx_errors tx_errors rx_dropped tx_dropped; do echo $f $(cat $f); done";
    let inside = engine.docker(&["exec", &name, "sh", "-c", script]).ok();
    for line in inside.lines() {
        let (counter, value) = line.split_once(' ').unwrap();
        let (value, told) = (
            value.parse::<u64>().unwrap(),
            link[counter].as_u64().unwrap(),
        );
        // Something may have arrived in between.
        assert!(told <= value && value - told < 2000, "{line}: {told}");
    }
    assert!(link["tx_packets"].as_u64().unwrap() >= 3, "{link}");
    assert_eq!(keys(link).len(), 8, "{link}");
}

#[test]
fn memory_and_processes_are_those_of_the_cgroup() {
    let engine = Engine::start();
    let name = busy(&engine);
    let shown = stats(&engine, &name, "stream=false&one-shot=true");
    assert_eq!(shown["memory_stats"]["limit"], 64 << 20);
    assert_eq!(shown["pids_stats"]["limit"], 50);
    // The shell may have become the last command.
    assert!((1..=2).contains(&shown["pids_stats"]["current"].as_u64().unwrap()));
    let script =
        "cat /sys/fs/cgroup/memory.stat 2>/dev/null || cat /sys/fs/cgroup/memory/memory.stat";
    let kernel = engine.docker(&["exec", &name, "sh", "-c", script]).ok();
    let names: Vec<&str> = kernel
        .lines()
        .filter_map(|line| line.split(' ').next())
        .collect();
    let told = &shown["memory_stats"]["stats"];
    for key in keys(told) {
        assert!(names.contains(&key), "{key}");
    }
    assert!(keys(told).len() >= 25, "{told}");
    assert!(shown["memory_stats"]["usage"].as_u64().unwrap() > 0);
    assert!(
        shown["cpu_stats"]["cpu_usage"]["total_usage"]
            .as_u64()
            .unwrap()
            > 0
    );
}

#[test]
fn a_stream_has_the_counters_of_before() {
    let engine = Engine::start();
    let name = busy(&engine);
    // Not one-shot: the daemon looks twice.
    let shown = stats(&engine, &name, "stream=false");
    let (now, before) = (&shown["cpu_stats"], &shown["precpu_stats"]);
    let number = |value: &Value| value.as_u64().unwrap_or_else(|| panic!("{shown}"));
    assert!(number(&now["system_cpu_usage"]) > number(&before["system_cpu_usage"]));
    assert!(
        number(&now["cpu_usage"]["total_usage"]) >= number(&before["cpu_usage"]["total_usage"])
    );
    assert_eq!(now["online_cpus"], before["online_cpus"]);
    assert_ne!(shown["preread"], "0001-01-01T00:00:00Z");
    assert!(shown["read"].as_str() > shown["preread"].as_str());
    // What has ended has no counters.
    engine.docker(&["kill", &name]).ok();
    let ended = stats(&engine, &name, "stream=false");
    assert_eq!(ended["pids_stats"], serde_json::json!({}), "{ended}");
    assert_eq!(ended["read"], "0001-01-01T00:00:00Z");
}
