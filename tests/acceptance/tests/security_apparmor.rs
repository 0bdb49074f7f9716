//! AppArmor: the default profile is loaded and enforced, another one is taken, none when asked. On a host
//! without AppArmor there is nothing to see: the virtual machine of `scripts/test-cgroup2` has it.
#![expect(
    clippy::unwrap_used,
    clippy::too_many_lines,
    reason = "helpers of tests fail where they stand, and a story is told in one piece"
)]

use std::io::Write as _;
use std::process::{Command, Stdio};

use arca_testkit::Engine;

/// Whether the host enforces profiles; dockerd and arca see that the same way.
fn has_apparmor() -> bool {
    std::fs::read_to_string("/sys/module/apparmor/parameters/enabled")
        .is_ok_and(|text| text.starts_with('Y'))
}

fn load(profile: &str) {
    let mut parser = Command::new("/sbin/apparmor_parser")
        .args(["-K", "-r"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = parser.stdin.take().unwrap();
    stdin.write_all(profile.as_bytes()).unwrap();
    drop(stdin);
    assert!(parser.wait().unwrap().success());
}

#[test]
fn containers_run_under_their_profile() {
    let engine = Engine::start();
    let options = engine.docker(&["info", "-f", "{{.SecurityOptions}}"]).ok();
    assert_eq!(
        options.contains("name=apparmor"),
        has_apparmor(),
        "{options}"
    );
    let of = |name: &str| {
        let format = "{{.AppArmorProfile}}";
        engine.docker(&["inspect", "-f", format, name]).ok()
    };
    let name = engine.name("confined");
    engine
        .docker(&["create", "--name", &name, "busybox", "sleep", "600"])
        .ok();
    assert_eq!(of(&name), "");
    if !has_apparmor() {
        // Options are taken, and nothing comes of them.
        let option = "apparmor=anything";
        engine
            .docker(&["run", "--rm", "--security-opt", option, "busybox", "true"])
            .ok();
        return;
    }
    engine.docker(&["start", &name]).ok();
    assert_eq!(of(&name), "docker-default");
    let current = "cat /proc/self/attr/current";
    let exec = |script: &str| engine.docker(&["exec", &name, "sh", "-c", script]).ok();
    assert_eq!(exec(current), "docker-default (enforce)");
    // Signals within the container and from the engine pass.
    assert_eq!(exec("sleep 9 & kill $! && echo sent"), "sent");
    engine.docker(&["stop", "-t", "0", &name]).ok();

    let inside = |options: &[&str], script: &str| {
        let mut arguments = vec!["run", "--rm"];
        arguments.extend(options);
        arguments.extend(["busybox", "sh", "-c", script]);
        engine.docker(&arguments)
    };
    // Capabilities, no masks and no filter: the profile alone stands in the way.
    let open = [
        "--cap-add=ALL",
        "--security-opt=systempaths=unconfined",
        "--security-opt=seccomp=unconfined",
    ];
    let script = "mount -t tmpfs x /tmp 2>&1; echo 1 2>&1 >/proc/sys/kernel/panic; head -c1 /proc/kcore 2>&1; true";
    let found = inside(&open, script).ok();
    assert_eq!(
        found.to_lowercase().matches("permission denied").count(),
        3,
        "{found}"
    );

    let confined = |option: &str| inside(&["--security-opt", option], current);
    assert_eq!(confined("apparmor=unconfined").ok(), "unconfined");
    assert_eq!(inside(&["--privileged"], current).ok(), "unconfined");
    let both = ["--privileged", "--security-opt=apparmor=docker-default"];
    assert_eq!(inside(&both, current).ok(), "docker-default (enforce)");
    load(
        "profile arca-test-own flags=(attach_disconnected) { file, capability, signal, deny /etc/passwd r, }\n",
    );
    let found = inside(
        &["--security-opt=apparmor=arca-test-own"],
        "cat /proc/self/attr/current; cat /etc/passwd 2>&1; true",
    )
    .ok();
    assert!(found.starts_with("arca-test-own (enforce)"), "{found}");
    assert!(found.contains("Permission denied"), "{found}");
    let refused = confined("apparmor=arca-test-nosuch").stderr;
    assert!(refused.contains("apparmor"), "{refused}");
}
