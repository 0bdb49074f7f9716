//! Cgroups: limits, pausing, the end of everything.

use std::fs;

use arca_executor::{cgroups, delete, pause, pids, resume, update};
use serde_json::json;

use crate::host::{Box, hierarchies};

pub(super) fn limits_are_in_the_cgroup() {
    let mut it = Box::new(&["sleep", "100"]);
    let resources = &mut it.spec["linux"]["resources"];
    resources["memory"] = json!({"limit": 64 << 20, "swap": 128 << 20});
    resources["pids"] = json!({"limit": 50});
    resources["cpu"] = json!({"shares": 512, "quota": 50000, "period": 100_000, "cpus": "0"});
    it.run().unwrap();
    let paths = cgroups(&it.container).unwrap();
    let read = |controller: &str, v1: &str, v2: &str| {
        let dir = paths.v1.get(controller).or(paths.unified.as_ref()).unwrap();
        let file = if paths.is_v2() { v2 } else { v1 };
        fs::read_to_string(dir.join(file))
            .unwrap()
            .trim()
            .to_owned()
    };
    assert_eq!(
        read("memory", "memory.limit_in_bytes", "memory.max"),
        (64 << 20).to_string()
    );
    assert_eq!(read("pids", "pids.max", "pids.max"), "50");
    assert_eq!(read("cpuset", "cpuset.cpus", "cpuset.cpus"), "0");
    let change = |json: serde_json::Value| {
        update(&it.container, &serde_json::from_value(json).unwrap()).unwrap();
    };
    change(json!({"memory": {"limit": 256 << 20, "swap": 512 << 20}, "pids": {"limit": -1}}));
    assert_eq!(
        read("memory", "memory.limit_in_bytes", "memory.max"),
        (256 << 20).to_string()
    );
    assert_eq!(read("pids", "pids.max", "pids.max"), "max");
    change(json!({"memory": {"limit": 32 << 20, "swap": 64 << 20}}));
    assert_eq!(
        read("memory", "memory.limit_in_bytes", "memory.max"),
        (32 << 20).to_string()
    );
    let wrong =
        serde_json::from_value(json!({"pids": {"limit": 5}, "cpu": {"cpus": "4096"}})).unwrap();
    update(&it.container, &wrong).unwrap_err();
}

pub(super) fn a_paused_container_does_nothing() {
    let it = Box::new(&["sleep", "100"]);
    let init = it.run().unwrap();
    let state = || {
        let stat = fs::read_to_string(format!("/proc/{}/wchan", init.pid)).unwrap();
        let paths = cgroups(&it.container).unwrap();
        let file = paths.v1.get("freezer").map(|dir| dir.join("freezer.state"));
        let file = file.unwrap_or_else(|| paths.unified.unwrap().join("cgroup.events"));
        (stat, fs::read_to_string(file).unwrap())
    };
    pause(&it.container).unwrap();
    let (_, frozen) = state();
    assert!(
        frozen.contains("FROZEN") || frozen.contains("frozen 1"),
        "{frozen}"
    );
    resume(&it.container).unwrap();
    let (_, thawed) = state();
    assert!(
        thawed.contains("THAWED") || thawed.contains("frozen 0"),
        "{thawed}"
    );
    // Deleting a paused container does not wait for ever.
    pause(&it.container).unwrap();
    delete(&it.container).unwrap();
    assert_eq!(init.end().code, 137);
}

pub(super) fn deletion_ends_everything() {
    let mut it = Box::new(&["sh", "-c", "sleep 100 & sleep 100 & sleep 100"]);
    // Without a pid namespace the end of the init ends nobody else.
    it.spec["linux"]["namespaces"] = json!([{"type": "mount"}, {"type": "network"}]);
    it.spec.as_object_mut().unwrap().remove("hostname");
    it.spec["mounts"][0] =
        json!({"destination": "/proc", "type": "bind", "source": "/proc", "options": ["rbind"]});
    it.spec["linux"]["maskedPaths"] = json!([]);
    it.spec["linux"]["readonlyPaths"] = json!([]);
    let init = it.run().unwrap();
    while pids(&it.container).unwrap().len() < 3 {
        std::thread::yield_now();
    }
    delete(&it.container).unwrap();
    assert_eq!(init.end().code, 137);
    for (name, dir) in hierarchies() {
        assert!(!dir.join(&it.cgroup[1..]).exists(), "{name}");
    }
    assert!(!it.path("state").join(&it.container.id).exists());
    delete(&it.container).unwrap();
}

/// Optional: on hosts that systemd runs.
pub(super) fn systemd_makes_the_cgroup_if_asked() {
    if !std::path::Path::new("/run/systemd/system").exists() {
        println!("  (optional: systemd does not run here)");
        return;
    }
    let mut it = Box::new(&["sleep", "100"]);
    let id = it.container.id.clone();
    it.cgroup = format!("system.slice:arca-test:{id}");
    it.spec["linux"]["resources"]["memory"] = json!({"limit": 64 << 20});
    let init = it.run().unwrap();
    let scope = format!("/system.slice/arca-test-{id}.scope");
    let of_init = fs::read_to_string(format!("/proc/{}/cgroup", init.pid)).unwrap();
    assert!(
        of_init.lines().all(|line| line.ends_with(&scope)),
        "{of_init}"
    );
    let show = |property: &str| {
        let unit = format!("arca-test-{id}.scope");
        let mut command = std::process::Command::new("systemctl");
        let output = command
            .args(["show", "--value", "-p", property, &unit])
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    assert_eq!(
        (show("ActiveState"), show("MemoryMax")),
        ("active".into(), (64 << 20).to_string())
    );
    let change = serde_json::from_value(json!({"memory": {"limit": 128 << 20}})).unwrap();
    update(&it.container, &change).unwrap();
    assert_eq!(show("MemoryMax"), (128 << 20).to_string());
    delete(&it.container).unwrap();
    assert_eq!(init.end().code, 137);
    let paths = it.path("state").join(&id);
    assert!(!paths.exists());
    assert!(
        !std::path::Path::new("/sys/fs/cgroup")
            .join(&scope[1..])
            .exists()
    );
}
