//! `arca doctor`: what it says of an engine as it is, and what it takes away of one that lost its records.

use arca_testkit::{Engine, eventually};

/// The lines about the state.
fn state(told: &str) -> Vec<String> {
    let of_state = |line: &&str| line.contains("  state: ");
    told.lines().filter(of_state).map(str::to_owned).collect()
}

#[test]
fn containers_that_run_are_found_with_and_without_a_daemon() {
    let engine = Engine::start();
    if !engine.is_own() {
        return;
    }
    let name = engine.name("runs");
    engine
        .docker(&["run", "-d", "--name", &name, "busybox", "sleep", "1000"])
        .ok();
    let (code, told) = engine.arca(&["doctor"]);
    assert_eq!(code, Some(0), "{told}");
    assert_eq!(
        state(&told),
        ["ok       state: 1 containers, 1 of them run"],
        "{told}"
    );

    // Also while no daemon is there to ask.
    engine.stop();
    let (_, told) = engine.arca(&["doctor"]);
    assert_eq!(
        state(&told),
        ["ok       state: 1 containers, 1 of them run"],
        "{told}"
    );
    engine.launch();
}

#[test]
fn what_no_record_knows_is_taken_away_with_its_processes() {
    let engine = Engine::start();
    if !engine.is_own() {
        return;
    }
    let name = engine.name("orphan");
    engine
        .docker(&["run", "-d", "--name", &name, "busybox", "sleep", "1000"])
        .ok();
    let pid = engine.inspect(&name)["State"]["Pid"].as_i64().unwrap();
    let process = format!("/proc/{pid}/cmdline");
    assert!(std::fs::exists(&process).unwrap());
    engine.kill_9();
    // The database is lost: whatever is there belongs to nobody.
    for file in ["arca.db", "arca.db-wal", "arca.db-shm"] {
        std::fs::remove_file(engine.data_root().join(file)).ok();
    }

    let (code, told) = engine.arca(&["doctor"]);
    assert_eq!(code, Some(1), "{told}");
    for text in [
        "a shim runs for ",
        "the network namespace ",
        "the directory of a container ",
    ] {
        assert!(told.contains(text), "{text}: {told}");
    }
    let (code, told) = engine.arca(&["doctor", "--repair"]);
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains("and its container"), "{told}");
    eventually("the container's process is gone", || {
        let left = std::fs::read(&process).unwrap_or_default();
        left.is_empty().then_some(())
    });
    let (_, told) = engine.arca(&["doctor"]);
    assert_eq!(
        state(&told),
        ["ok       state: 0 containers, 0 of them run"],
        "{told}"
    );
    engine.launch();
}
