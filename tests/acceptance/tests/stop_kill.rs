//! `docker stop`, `kill` and `restart`: signals, timeouts and what they leave.

use std::time::Duration;

use arca_testkit::{Engine, eventually};

const TRAP: &str = "trap 'echo got TERM; exit 3' TERM; trap 'echo got USR1; exit 4' USR1; echo ready; while :; do sleep 0.1; done";

/// Starts a container that says which signal ended it, and waits until it listens.
fn start(engine: &Engine, name: &str, options: &[&str]) {
    let mut arguments = vec!["run", "-d", "--name", name];
    arguments.extend(options);
    arguments.extend(["busybox", "sh", "-c", TRAP]);
    engine.docker(&arguments).ok();
    eventually("the container is ready", || {
        engine
            .docker(&["logs", name])
            .stdout
            .contains("ready")
            .then_some(())
    });
}

#[test]
fn stop_sends_sigterm_and_waits() {
    let engine = Engine::start();
    let name = engine.name("term");
    start(&engine, &name, &[]);
    assert!(engine.docker(&["stop", &name]).expect(0).took < Duration::from_secs(5));
    assert_eq!(engine.inspect(&name)["State"]["ExitCode"], 3);
    assert!(engine.docker(&["logs", &name]).ok().ends_with("got TERM"));
    engine.docker(&["stop", &name]).ok();
}

#[test]
fn stop_honours_the_stop_signal() {
    let engine = Engine::start();
    let name = engine.name("signal");
    start(&engine, &name, &["--stop-signal", "SIGUSR1"]);
    engine.docker(&["stop", &name]).ok();
    assert_eq!(engine.inspect(&name)["State"]["ExitCode"], 4);
    engine.docker(&["start", &name]).ok();
    eventually("ready again", || {
        (engine
            .docker(&["logs", &name])
            .stdout
            .matches("ready")
            .count()
            == 2)
            .then_some(())
    });
    engine.docker(&["stop", "-s", "TERM", &name]).ok();
    assert_eq!(engine.inspect(&name)["State"]["ExitCode"], 3);
}

#[test]
fn what_ignores_the_signal_is_killed_after_the_timeout() {
    let engine = Engine::start();
    let name = engine.name("stubborn");
    engine
        .docker(&["run", "-d", "--name", &name, "busybox", "sleep", "600"])
        .ok();
    let output = engine.docker(&["stop", "-t", "1", &name]).expect(0);
    assert!(
        output.took >= Duration::from_secs(1) && output.took < Duration::from_secs(8),
        "{:?}",
        output.took
    );
    assert_eq!(engine.inspect(&name)["State"]["ExitCode"], 137);
    let name = engine.name("stubborn");
    engine
        .docker(&[
            "run",
            "-d",
            "--name",
            &name,
            "--stop-timeout",
            "1",
            "busybox",
            "sleep",
            "600",
        ])
        .ok();
    let output = engine.docker(&["stop", &name]).expect(0);
    assert!(
        output.took >= Duration::from_secs(1) && output.took < Duration::from_secs(8),
        "{:?}",
        output.took
    );
}

#[test]
fn kill_sends_any_signal() {
    let engine = Engine::start();
    let name = engine.name("kill");
    start(&engine, &name, &[]);
    engine.docker(&["kill", "-s", "USR1", &name]).ok();
    assert_eq!(engine.docker(&["wait", &name]).ok(), "4");
    let output = engine.docker(&["kill", &name]).expect(1);
    assert!(
        output.stderr.contains("is not running"),
        "{}",
        output.stderr
    );
    let output = engine.docker(&["kill", "-s", "NOSUCH", &name]).expect(1);
    assert!(
        output.stderr.to_lowercase().contains("invalid signal"),
        "{}",
        output.stderr
    );
}

#[test]
fn restart_gives_a_new_process_and_keeps_the_log() {
    let engine = Engine::start();
    let name = engine.name("restart");
    start(&engine, &name, &[]);
    let before = engine.inspect(&name)["State"]["Pid"].as_i64().unwrap();
    engine.docker(&["restart", &name]).ok();
    let state = engine.inspect(&name)["State"].clone();
    assert_eq!(state["Running"], true);
    assert_ne!(state["Pid"].as_i64().unwrap(), before);
    assert_eq!(engine.inspect(&name)["RestartCount"], 0);
    eventually("ready again", || {
        (engine
            .docker(&["logs", &name])
            .stdout
            .matches("ready")
            .count()
            == 2)
            .then_some(())
    });
}
