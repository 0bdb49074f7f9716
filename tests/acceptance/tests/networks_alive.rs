//! Packets and names do not depend on a daemon that is alive.
#![expect(
    clippy::unwrap_used,
    reason = "what a test needs fails the test where it stands"
)]

use std::process::Command;
use std::time::Duration;

use arca_testkit::{Engine, eventually, eventually_within};

/// The process of a container.
fn pid(engine: &Engine, container: &str) -> String {
    let inspected = engine.inspect(container);
    let pid = inspected.pointer("/State/Pid").cloned();
    pid.unwrap_or_default().to_string()
}

/// Runs a command in the namespaces of a process, without the daemon.
fn inside(pid: &str, command: &[&str]) -> Option<String> {
    let output = Command::new("nsenter")
        .args(["-t", pid, "-m", "-n", "--"])
        .args(command)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    output.status.success().then_some(text)
}

#[test]
fn connections_and_names_outlive_the_daemon() {
    let engine = Engine::start();
    if !engine.is_own() {
        // A shared engine is not killed.
        return;
    }
    let (net, server, client) = (
        engine.name("net"),
        engine.name("server"),
        engine.name("client"),
    );
    engine.docker(&["network", "create", &net]).ok();
    let run = ["run", "-d", "--network", &net, "--name"];
    let script = |script: &'static str| ["busybox", "sh", "-c", script];
    let listen = script("sleep 1d | nc -l -p 9000 > /got");
    engine
        .docker(&[&run[..], &[&server, "--network-alias", "server"], &listen].concat())
        .ok();
    let talk = script(
        "until (while :; do echo tick; usleep 50000; done | nc server 9000); do usleep 50000; done",
    );
    engine.docker(&[&run[..], &[&client], &talk].concat()).ok();
    let (serving, asking) = (pid(&engine, &server), pid(&engine, &client));
    let got = || {
        let path = format!("/proc/{serving}/root/got");
        std::fs::metadata(path).map_or(0, |metadata| metadata.len())
    };
    eventually("the connection is there", || (got() > 10).then_some(()));
    let lookup = ["nslookup", "-type=a", &server, "127.0.0.11"];
    assert!(inside(&asking, &lookup).is_some());

    engine.kill_9();
    let before = got();
    eventually("more comes over the connection", || {
        (got() > before + 50).then_some(())
    });
    for _ in 0..20 {
        let answer = inside(&asking, &lookup).expect("the name is found while arcad is away");
        assert!(answer.contains("Address"), "{answer}");
    }
    engine.launch();
    let before = got();
    eventually_within(Duration::from_secs(5), "and afterwards", || {
        (got() > before + 50).then_some(())
    });
    assert!(inside(&asking, &lookup).is_some());
    // Names that come later are known, too.
    let late = engine.name("late");
    engine
        .docker(&[&run[..], &[&late], &["busybox", "sleep", "600"]].concat())
        .ok();
    let lookup = ["nslookup", "-type=a", &late, "127.0.0.11"];
    assert!(inside(&asking, &lookup).is_some());
}
