//! Health checks: states, log, timing, and what a restart of the daemon does to them.
#![expect(clippy::too_many_lines, reason = "a story is told in one piece")]
#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "helpers of tests fail by panicking"
)]

use std::collections::BTreeMap;
use std::time::Duration;

use arca_testkit::{Engine, Events, Options, eventually, eventually_within};
use serde_json::Value;

const STATUS: &str = "health_status: ";

fn health(engine: &Engine, name: &str) -> Value {
    engine.inspect(name)["State"]["Health"].clone()
}

fn run(engine: &Engine, name: &str, options: &[&str], script: &str) {
    let mut arguments = vec!["run", "-d", "--name", name];
    arguments.extend(options);
    arguments.extend(["busybox", "sh", "-c", script]);
    engine.docker(&arguments).ok();
}

/// The changes of health so far, in order.
fn changes(events: &mut Events, name: &str) -> Vec<String> {
    let actions = events.actions(name).into_iter();
    let health = actions.filter_map(|action| action.strip_prefix(STATUS).map(str::to_owned));
    health.collect()
}

/// Waits for the health to become so.
fn wait_for(events: &mut Events, name: &str, status: &str) {
    events.wait(&format!("{STATUS}{status}"), name);
}

#[test]
fn failures_make_unhealthy_and_one_success_heals() {
    let engine = Engine::start();
    let name = engine.name("recovery");
    let mut events = engine.events("");
    run(
        &engine,
        &name,
        &[
            "--health-cmd=cat /ok",
            "--health-interval=100ms",
            "--health-retries=2",
        ],
        "trap exit TERM; sleep 600 & wait",
    );
    wait_for(&mut events, &name, "unhealthy");
    let now = health(&engine, &name);
    assert_eq!(now["Status"], "unhealthy");
    assert!(now["FailingStreak"].as_i64().unwrap() >= 2, "{now}");
    let entry = &now["Log"][0];
    assert_eq!(entry["ExitCode"], 1);
    assert_eq!(
        entry["Output"],
        "cat: can't open '/ok': No such file or directory\n"
    );
    let filter = format!("name={name}");
    let status = || {
        engine
            .docker(&["ps", "-f", &filter, "--format", "{{.Status}}"])
            .ok()
    };
    assert!(status().ends_with("(unhealthy)"), "{}", status());
    let listed = |health: &str| {
        let health = format!("health={health}");
        engine
            .docker(&["ps", "-q", "-f", &filter, "-f", &health])
            .ok()
            .lines()
            .count()
    };
    assert_eq!((listed("unhealthy"), listed("healthy")), (1, 0));
    engine
        .docker(&[
            "exec",
            &name,
            "sh",
            "-c",
            "head -c 6000 /dev/zero | tr '\\000' x > /ok",
        ])
        .ok();
    wait_for(&mut events, &name, "healthy");
    let now = health(&engine, &name);
    assert_eq!(
        (&now["Status"], &now["FailingStreak"]),
        (&"healthy".into(), &0.into())
    );
    assert!(status().ends_with("(healthy)"), "{}", status());
    // Five results, whose output is cut at 4096 bytes.
    eventually("the log is full", || {
        let log = health(&engine, &name)["Log"].as_array().unwrap().clone();
        assert!(log.len() <= 5);
        let full = |entry: &Value| entry["Output"].as_str().unwrap().len() == 4096 + 3;
        (log.len() == 5 && log.iter().all(full)).then_some(())
    });
    engine.docker(&["exec", &name, "rm", "/ok"]).ok();
    eventually("it gets unhealthy again", || {
        (changes(&mut events, &name) == ["unhealthy", "healthy", "unhealthy"]).then_some(())
    });
    engine.docker(&["stop", &name]).ok();
    // What does not run is not healthy, and its results stay until it runs again.
    let now = health(&engine, &name);
    assert_eq!(
        (&now["Status"], now["Log"].as_array().unwrap().len()),
        (&"unhealthy".into(), 5)
    );
    engine.docker(&["start", &name]).ok();
    assert_eq!(health(&engine, &name)["Status"], "starting");
}

#[test]
fn failures_in_the_start_period_do_not_count_and_its_interval_is_its_own() {
    let engine = Engine::start();
    let name = engine.name("period");
    let mut events = engine.events("");
    let options = [
        "--health-cmd=test -e /ok",
        "--health-interval=10m",
        "--health-start-period=10m",
        "--health-start-interval=100ms",
        "--health-retries=1",
    ];
    run(&engine, &name, &options, "sleep 600");
    let now = eventually("three probes fail", || {
        let now = health(&engine, &name);
        (now["Log"].as_array().unwrap().len() >= 3).then_some(now)
    });
    assert_eq!(
        (&now["Status"], &now["FailingStreak"]),
        (&"starting".into(), &0.into())
    );
    let filter = format!("name={name}");
    let status = engine
        .docker(&["ps", "-f", &filter, "--format", "{{.Status}}"])
        .ok();
    assert!(status.ends_with("(health: starting)"), "{status}");
    engine.docker(&["exec", &name, "touch", "/ok"]).ok();
    wait_for(&mut events, &name, "healthy");
    let after = health(&engine, &name)["Log"].as_array().unwrap().len();
    assert!((4..=5).contains(&after));
    assert_eq!(changes(&mut events, &name), ["healthy"]);
}

#[test]
fn a_probe_that_takes_too_long_is_killed() {
    let engine = Engine::start();
    let name = engine.name("timeout");
    let mut events = engine.events("");
    let options = [
        "--health-cmd=echo begun; echo $$ > /pid; exec sleep 600",
        "--health-interval=100ms",
        "--health-timeout=1s",
        "--health-retries=1",
    ];
    run(&engine, &name, &options, "sleep 600");
    wait_for(&mut events, &name, "unhealthy");
    let entry = health(&engine, &name)["Log"][0].clone();
    assert_eq!(entry["ExitCode"], -1);
    assert_eq!(
        entry["Output"],
        "Health check exceeded timeout (1s): begun\n"
    );
    eventually("there is one probe at a time", || {
        let top = engine.docker(&["top", &name]).ok();
        (top.matches("sleep 600").count() <= 2).then_some(())
    });
}

#[test]
fn none_turns_the_check_of_an_image_off_and_inherited_settings_are_kept() {
    let engine = Engine::start();
    let image = engine.name("checked");
    let base = engine.name("base");
    engine
        .docker(&["create", "--name", &base, "busybox", "sleep", "600"])
        .ok();
    let change = "HEALTHCHECK --interval=100ms --retries=7 CMD test -e /image";
    engine.docker(&["commit", "-c", change, &base, &image]).ok();
    let inherited = engine.name("inherited");
    let mut events = engine.events("");
    engine
        .docker(&[
            "run",
            "-d",
            "--name",
            &inherited,
            "--health-cmd=exit 0",
            &image,
            "sleep",
            "600",
        ])
        .ok();
    wait_for(&mut events, &inherited, "healthy");
    let check = engine.inspect(&inherited)["Config"]["Healthcheck"].clone();
    assert_eq!(
        (&check["Retries"], &check["Interval"]),
        (&7.into(), &100_000_000.into())
    );
    let none = engine.name("none");
    engine
        .docker(&[
            "run",
            "-d",
            "--name",
            &none,
            "--no-healthcheck",
            &image,
            "sleep",
            "600",
        ])
        .ok();
    assert_eq!(health(&engine, &none), Value::Null);
    let own = engine.name("own");
    engine
        .docker(&["run", "-d", "--name", &own, &image, "sleep", "600"])
        .ok();
    assert_eq!(health(&engine, &own)["Status"], "starting");
    engine.docker(&["exec", &own, "touch", "/image"]).ok();
    wait_for(&mut events, &own, "healthy");
    engine
        .docker(&["rm", "-f", &own, &none, &inherited, &base])
        .ok();
    engine.docker(&["rmi", &image]).ok();
}

#[test]
fn health_goes_on_after_the_daemon_has_died_in_the_middle_of_a_probe() {
    let engine = Engine::start();
    if !engine.is_own() {
        return;
    }
    let name = engine.name("adopted");
    let mut events = engine.events("");
    let options = [
        // The second probe hangs until the test says otherwise.
        "--health-cmd=if [ -e /hang ]; then echo $$ > /pid; exec sleep 600; fi; echo fine",
        "--health-interval=200ms",
        "--health-timeout=5m",
        "--health-retries=1",
    ];
    run(&engine, &name, &options, "sleep 600");
    wait_for(&mut events, &name, "healthy");
    let root = format!("/proc/{}/root", engine.inspect(&name)["State"]["Pid"]);
    std::fs::write(format!("{root}/hang"), "").unwrap();
    eventually("a probe hangs", || {
        std::fs::read_to_string(format!("{root}/pid"))
            .ok()
            .filter(|pid| pid.ends_with('\n'))
    });
    let before = health(&engine, &name);
    engine.kill_9();
    std::fs::remove_file(format!("{root}/hang")).unwrap();
    engine.launch();
    let now = health(&engine, &name);
    assert_eq!(now["Status"], "healthy", "{now}");
    let last = |health: &Value| health["Log"].as_array().unwrap().last().unwrap()["Start"].clone();
    eventually("a new probe has run", || {
        let now = health(&engine, &name);
        let log = now["Log"].as_array().unwrap();
        let newest = log.last().unwrap();
        (last(&now) != last(&before) && newest["ExitCode"] == 0).then_some(())
    });
    eventually("the old probe is gone", || {
        let top = engine.docker(&["top", &name]).ok();
        (top.matches("sleep 600").count() == 1).then_some(())
    });
    std::fs::write(format!("{root}/hang"), "").unwrap();
    assert_eq!(health(&engine, &name)["Status"], "healthy");
}

#[test]
fn an_unhealthy_container_is_restarted_when_that_is_asked_for() {
    let options = Options {
        flags: vec!["--restart-on-unhealthy".to_owned()],
        ..Options::default()
    };
    let engine = Engine::start_with(options);
    // dockerd has nothing of the kind.
    if !engine.is_own() {
        return;
    }
    let (asked, not) = (engine.name("asked"), engine.name("not"));
    let check = [
        "--health-cmd=test ! -e /bad",
        "--health-interval=100ms",
        "--health-retries=1",
    ];
    let script = "trap 'exit 7' TERM; rm -f /bad; sleep 600 & wait";
    run(
        &engine,
        &asked,
        &[&check[..], &["--stop-timeout=30"]].concat(),
        script,
    );
    let label = ["--label", "arca.restart-on-unhealthy=false"];
    run(&engine, &not, &[&check[..], &label].concat(), script);
    let mut events = engine.events("");
    for name in [&asked, &not] {
        engine.docker(&["exec", name, "touch", "/bad"]).ok();
    }
    wait_for(&mut events, &asked, "unhealthy");
    wait_for(&mut events, &not, "unhealthy");
    eventually_within(
        Duration::from_secs(30),
        "it runs again and is healthy",
        || {
            let container = engine.inspect(&asked);
            let state = &container["State"];
            (container["RestartCount"] == 1 && state["Health"]["Status"] == "healthy").then_some(())
        },
    );
    let container = engine.inspect(&not);
    assert_eq!(
        (&container["RestartCount"], &container["State"]["Running"]),
        (&0.into(), &true.into())
    );
    // A client's stop is the last word.
    engine.docker(&["stop", "-t", "0", &asked]).ok();
    assert_eq!(engine.inspect(&asked)["State"]["Status"], "exited");
    let refused = engine
        .docker(&[
            "create",
            "--label",
            "arca.restart-on-unhealthy=maybe",
            "busybox",
        ])
        .expect(1);
    assert!(
        refused.stderr.contains("must be true or false"),
        "{}",
        refused.stderr
    );
}

/// How often each thread of arcad has been waiting so far.
fn waits(engine: &Engine) -> BTreeMap<String, u64> {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", engine.pid())).unwrap();
    let of = |task: std::fs::DirEntry| {
        let status = std::fs::read_to_string(task.path().join("status")).ok()?;
        let mut lines = status.lines();
        let count = lines.find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?;
        let thread = task.file_name().to_string_lossy().into_owned();
        Some((thread, count.trim().parse().ok()?))
    };
    tasks.filter_map(|task| of(task.unwrap())).collect()
}

/// How often arcad has been woken since; threads that have ended do not count.
fn wakeups(engine: &Engine, before: &BTreeMap<String, u64>) -> u64 {
    let now = waits(engine);
    let since =
        |(thread, count): (&String, &u64)| count - before.get(thread).copied().unwrap_or_default();
    now.iter().map(since).sum()
}

#[test]
fn a_check_wakes_an_idle_daemon_at_its_interval_alone() {
    let engine = Engine::start();
    // What is counted is arcad's.
    if !engine.is_own() {
        return;
    }
    let idle = |engine: &Engine| {
        let before = waits(engine);
        // Two seconds in which nobody asks anything.
        std::process::Command::new("sleep")
            .arg("2")
            .status()
            .unwrap();
        wakeups(engine, &before)
    };
    let names: Vec<String> = (0..5).map(|_| engine.name("rarely")).collect();
    let options = ["--health-cmd=true", "--health-interval=10m"];
    for name in &names {
        run(&engine, name, &options, "sleep 600");
    }
    // What a start leaves to do is done soon.
    eventually("nothing is to be done", || {
        (idle(&engine) == 0).then_some(())
    });

    let name = engine.name("often");
    let mut events = engine.events("");
    let options = ["--health-cmd=true", "--health-interval=300ms"];
    run(&engine, &name, &options, "sleep 600");
    let probes = |events: &mut Events| events.times("exec_die", &name).len();
    eventually("the first probe", || {
        (probes(&mut events) >= 1).then_some(())
    });
    let (first, before) = (probes(&mut events), waits(&engine));
    let last = eventually("ten probes", || {
        let count = probes(&mut events);
        (count >= first + 10).then_some(count)
    });
    let each = wakeups(&engine, &before) / u64::try_from(last - first).unwrap();
    assert!(each < 150, "{each} wakeups for one probe");
}
