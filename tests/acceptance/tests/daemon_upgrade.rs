//! An afternoon of use: an application is up, the engine is upgraded in place, and work goes on.
#![expect(
    clippy::unwrap_used,
    clippy::too_many_lines,
    reason = "what a test needs fails the test where it stands"
)]

use std::io::{BufRead as _, BufReader};
use std::path::Path;

use arca_testkit::{Compose, Engine, Options, Snapshot, program};
use rustix::process::{Pid, Signal, kill_process};

/// Puts the programs of this build into a directory, each by a rename, as a package manager does.
fn install(directory: &Path) {
    for name in ["arcad", "arca-shim", "arca-init", "arca-dns"] {
        let new = directory.join(format!("{name}.new"));
        std::fs::copy(program(name), &new).unwrap();
        std::fs::rename(new, directory.join(name)).unwrap();
    }
}

#[test]
fn an_application_goes_on_while_the_engine_is_upgraded() {
    let programs = tempfile::tempdir().unwrap();
    install(programs.path());
    let engine = Engine::start_with(Options {
        programs: Some(programs.path().to_owned()),
        ..Options::default()
    });
    if !engine.is_own() {
        return;
    }
    engine.need_redis();
    // What answers DNS questions is started once, for the first network, and stays.
    let first = engine.name("first");
    engine.docker(&["network", "create", &first]).ok();
    let run = ["run", "--rm", "--network", &first, "busybox", "true"];
    engine.docker(&run).ok();
    engine.docker(&["network", "rm", &first]).ok();
    let before = Snapshot::take(&engine);
    let app = Compose::of(
        &engine,
        "services:
  ticker:
    image: busybox
    command: sh -c 'i=0; while :; do i=$$((i+1)); echo tick $$i; sleep 0.1; done'
    init: true
  store:
    image: redis
    volumes: ['data:/data']
volumes: {data: {}}
",
    );
    app.run(&["up", "-d"]).ok();
    app.run(&["exec", "-T", "store", "redis-cli", "set", "key", "kept"])
        .ok();
    let ids = app.run(&["ps", "-q"]).ok();
    let pid = |id: &str| engine.inspect(id)["State"]["Pid"].as_i64().unwrap();
    let pids: Vec<i64> = ids.lines().map(pid).collect();

    // A client that follows the log loses its connection, no line, and follows again.
    let mut follower =
        engine.docker_spawn(&app.arguments(&["logs", "-f", "--no-log-prefix", "ticker"]));
    let mut lines = BufReader::new(follower.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "tick 1");

    install(programs.path());
    engine.stop();
    engine.launch();
    let follower_pid = Pid::from_raw(i32::try_from(follower.id()).unwrap()).unwrap();
    kill_process(follower_pid, Signal::KILL).ok();
    follower.wait().unwrap();

    assert_eq!(app.run(&["ps", "-q"]).ok(), ids);
    assert_eq!(ids.lines().map(pid).collect::<Vec<_>>(), pids);
    let key = app
        .run(&["exec", "-T", "store", "redis-cli", "get", "key"])
        .ok();
    assert_eq!(key, "kept");
    let log = app.run(&["logs", "--no-log-prefix", "ticker"]).ok();
    let expected = |number: usize| format!("tick {}", number + 1);
    for (number, line) in log.lines().enumerate() {
        assert_eq!(line, expected(number));
    }

    let follow = ["logs", "-f", "--no-log-prefix", "--tail", "1", "ticker"];
    let mut follower = engine.docker_spawn(&app.arguments(&follow));
    let lines = BufReader::new(follower.stdout.take().unwrap()).lines();
    let followed: Vec<String> = lines.take(4).map(Result::unwrap).collect();
    let begin = (log.lines().count() - 1..).find(|number| expected(*number) == followed[0]);
    let all: Vec<String> = (0..4).map(|more| expected(begin.unwrap() + more)).collect();
    assert_eq!(followed, all);
    follower.kill().unwrap();
    follower.wait().unwrap();

    // Containers that older programs run, and such of the newer ones, side by side.
    let again = app.run(&["up", "-d", "--scale", "ticker=3"]).expect(0);
    assert!(!again.stderr.contains("Recreate"), "{}", again.stderr);
    let scaled = app.run(&["ps", "-q"]).ok();
    assert_eq!(scaled.lines().count(), 4, "{scaled}");
    assert!(ids.lines().all(|id| scaled.contains(id)), "{scaled}");
    app.run(&[
        "exec", "-T", "--index", "3", "ticker", "ping", "-c", "1", "store",
    ])
    .ok();
    app.run(&["stop", "-t", "1"]).ok();
    app.run(&["start"]).ok();
    app.run(&["down", "-v", "-t", "1"]).ok();
    before.settled(&engine);
}
