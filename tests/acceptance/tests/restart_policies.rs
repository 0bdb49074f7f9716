//! Restart policies: on failure, always, unless stopped, and what a daemon's restart does of them.
#![expect(clippy::too_many_lines, reason = "a story is told in one piece")]

use arca_testkit::{Engine, eventually};

#[test]
fn on_failure_gives_up_after_its_retries() {
    let engine = Engine::start();
    let name = engine.name("failure");
    engine
        .docker(&[
            "run",
            "-d",
            "--name",
            &name,
            "--restart",
            "on-failure:2",
            "busybox",
            "sh",
            "-c",
            "echo run; exit 1",
        ])
        .ok();
    eventually("the retries are used up", || {
        let container = engine.inspect(&name);
        (container["RestartCount"] == 2 && container["State"]["Status"] == "exited").then_some(())
    });
    assert_eq!(engine.docker(&["logs", &name]).ok(), "run\nrun\nrun");
    let name = engine.name("success");
    engine
        .docker(&[
            "run",
            "--name",
            &name,
            "--restart",
            "on-failure",
            "busybox",
            "true",
        ])
        .expect(0);
    assert_eq!(engine.inspect(&name)["RestartCount"], 0);
}

#[test]
fn always_starts_again_until_it_is_stopped() {
    let engine = Engine::start();
    let name = engine.name("always");
    engine
        .docker(&[
            "run",
            "-d",
            "--name",
            &name,
            "--restart",
            "always",
            "busybox",
            "sh",
            "-c",
            "sleep 600 & wait",
        ])
        .ok();
    let before = engine.inspect(&name)["State"]["Pid"].clone();
    engine.docker(&[
        "exec",
        &name,
        "sh",
        "-c",
        "kill -9 1; kill -TERM 1; kill -QUIT -1",
    ]);
    let kill = before.as_i64().unwrap();
    // A process of the container cannot kill its PID 1; the host can.
    if engine.inspect(&name)["State"]["Pid"] == before {
        let pid = rustix::process::Pid::from_raw(i32::try_from(kill).unwrap()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    }
    eventually("it runs again", || {
        let container = engine.inspect(&name);
        (container["State"]["Running"] == true
            && container["State"]["Pid"] != before
            && container["RestartCount"] == 1)
            .then_some(())
    });
    engine.docker(&["stop", "-t", "0", &name]).ok();
    assert_eq!(engine.inspect(&name)["State"]["Status"], "exited");
}

#[test]
fn a_container_that_a_client_kills_stays_down_until_it_is_started() {
    let engine = Engine::start();
    let script = "trap 'exit 5' HUP; echo ready; while :; do sleep 0.1; done";
    for (what, signal) in [("killed", "KILL"), ("hung-up", "HUP")] {
        let name = engine.name(what);
        let head = ["run", "-d", "--name", &name, "--restart", "always"];
        engine
            .docker(&[&head[..], &["busybox", "sh", "-c", script]].concat())
            .ok();
        let ready = || engine.docker(&["logs", &name]).ok().lines().count();
        eventually("it is ready", || (ready() == 1).then_some(()));
        let mut events = engine.events("");
        engine.docker(&["kill", "-s", signal, &name]).ok();
        eventually("it has ended", || {
            let state = engine.inspect(&name)["State"].clone();
            (state["Status"] == "exited").then_some(())
        });
        assert!(!events.actions(&name).contains(&"start".to_owned()));
        assert_eq!(engine.inspect(&name)["RestartCount"], 0, "{what}");
        // From then on the policy counts again.
        engine.docker(&["start", &name]).ok();
        eventually("it is ready again", || (ready() == 2).then_some(()));
        engine.docker(&["exec", &name, "kill", "-HUP", "1"]).ok();
        eventually("it runs anew", || {
            let container = engine.inspect(&name);
            (container["RestartCount"] == 1 && ready() == 3).then_some(())
        });
        engine.docker(&["rm", "-f", &name]).ok();
    }
}

#[test]
fn each_exit_code_is_judged_by_each_policy() {
    let engine = Engine::start();
    // The policy, how it ends, whether it is started again.
    let cases = [
        ("no", "exit 1", false),
        ("always", "exit 0", true),
        ("always", "exit 3", true),
        ("unless-stopped", "exit 0", true),
        ("unless-stopped", "kill -9 $$", true),
        ("on-failure:1", "exit 0", false),
        ("on-failure:1", "exit 3", true),
        ("on-failure:1", "exit 126", true),
        ("on-failure:1", "kill -9 $$", true),
    ];
    let names: Vec<String> = cases
        .iter()
        .map(|(policy, end, _)| {
            let name = engine.name(policy.split(':').next().unwrap());
            // The second run goes on; a shell of its own can be killed, PID 1 cannot.
            let script =
                format!("[ -e /again ] && exec sleep 600; touch /again; sh -c '{end}'; exit $?");
            let head = ["run", "-d", "--name", &name, "--restart", policy];
            engine
                .docker(&[&head[..], &["busybox", "sh", "-c", &script]].concat())
                .ok();
            name
        })
        .collect();
    for ((policy, end, again), name) in cases.iter().zip(&names) {
        eventually("it has come to an end", || {
            let container = engine.inspect(name);
            let state = &container["State"];
            match again {
                true => container["RestartCount"] == 1 && state["Running"] == true,
                false => container["RestartCount"] == 0 && state["Status"] == "exited",
            }
            .then_some(())
        });
        let count = engine.inspect(name)["RestartCount"].clone();
        assert_eq!(count, i32::from(*again), "{policy} {end}");
    }
}

#[test]
fn a_policy_and_auto_removal_exclude_each_other() {
    let engine = Engine::start();
    let output = engine
        .docker(&["run", "--rm", "--restart", "always", "busybox", "true"])
        .expect(125);
    assert!(
        output.stderr.contains("--restart") || output.stderr.contains("AutoRemove"),
        "{}",
        output.stderr
    );
    let (status, body) = engine.http().post(
        "/v1.51/containers/create",
        &serde_json::json!({"Image": "busybox", "HostConfig": {"AutoRemove": true, "RestartPolicy": {"Name": "always"}}}),
    );
    assert_eq!(
        (status, &body["message"]),
        (
            400,
            &"can't create 'AutoRemove' container with restart policy".into()
        )
    );
}

#[test]
fn policies_are_carried_out_after_a_crash_of_the_daemon() {
    let engine = Engine::start();
    if !engine.is_own() {
        return;
    }
    let (always, stopped, removed) = (
        engine.name("always"),
        engine.name("stopped"),
        engine.name("removed"),
    );
    let script = "while [ ! -e /go ]; do sleep 0.1; done; rm /go; exit 3";
    engine
        .docker(&[
            "run",
            "-d",
            "--name",
            &always,
            "--restart",
            "always",
            "busybox",
            "sh",
            "-c",
            script,
        ])
        .ok();
    engine
        .docker(&[
            "run", "-d", "--name", &removed, "--rm", "busybox", "sh", "-c", script,
        ])
        .ok();
    engine
        .docker(&[
            "run",
            "-d",
            "--name",
            &stopped,
            "--restart",
            "unless-stopped",
            "busybox",
            "sleep",
            "600",
        ])
        .ok();
    engine.docker(&["stop", "-t", "0", &stopped]).ok();
    let pid = |name: &str| engine.inspect(name)["State"]["Pid"].as_i64().unwrap();
    let roots = [pid(&always), pid(&removed)].map(|pid| format!("/proc/{pid}/root/go"));
    engine.kill_9();
    for go in &roots {
        std::fs::write(go, "").unwrap();
    }
    for go in &roots {
        let process = go.trim_end_matches("/root/go").to_owned();
        eventually("the container has ended", || {
            let stat = std::fs::read_to_string(format!("{process}/stat")).unwrap_or_default();
            (stat.is_empty() || stat.contains(") Z ")).then_some(())
        });
    }
    engine.launch();
    eventually("the policy is carried out", || {
        let container = engine.inspect(&always);
        (container["State"]["Running"] == true && container["RestartCount"] == 1).then_some(())
    });
    eventually("auto-removal is carried out", || {
        (engine.http().get(&format!("/containers/{removed}/json")).0 == 404).then_some(())
    });
    assert_eq!(engine.inspect(&stopped)["State"]["Status"], "exited");
}

#[test]
fn a_stop_and_a_start_of_the_daemon_keep_to_the_policies() {
    let engine = Engine::start();
    if !engine.is_own() {
        return;
    }
    let run = |policy: &str, script: &str| {
        let name = engine.name(policy.split(':').next().unwrap());
        engine
            .docker(&[
                "run",
                "-d",
                "--name",
                &name,
                "--restart",
                policy,
                "busybox",
                "sh",
                "-c",
                script,
            ])
            .ok();
        name
    };
    let lives = run("always", "sleep 600");
    let stopped_always = run("always", "sleep 600");
    let stopped_unless = run("unless-stopped", "sleep 600");
    let killed = run("on-failure", "sleep 600");
    let done = run("on-failure:1", "exit 4");
    let mut events = engine.events("");
    engine
        .docker(&["stop", "-t", "0", &stopped_always, &stopped_unless])
        .ok();
    engine.docker(&["kill", &killed]).ok();
    eventually("the retry is used up", || {
        let container = engine.inspect(&done);
        (container["State"]["Status"] == "exited" && container["RestartCount"] == 1).then_some(())
    });
    let pid = engine.inspect(&lives)["State"]["Pid"].clone();
    assert!(!events.actions(&killed).contains(&"start".to_owned()));
    engine.stop();
    engine.launch();
    // It went on, and was not started anew.
    assert_eq!(engine.inspect(&lives)["State"]["Pid"], pid);
    eventually("what a client stopped is started by `always` alone", || {
        (engine.inspect(&stopped_always)["State"]["Running"] == true).then_some(())
    });
    for name in [&stopped_unless, &killed, &done] {
        assert_eq!(engine.inspect(name)["State"]["Status"], "exited", "{name}");
    }
}

#[test]
fn want_of_memory_is_a_failure_like_others() {
    let engine = Engine::start();
    let name = engine.name("oom");
    // The process itself grows: it is what the kernel ends.
    let script = "x=x; while :; do x=$x$x; done";
    engine
        .docker(&[
            "run",
            "-d",
            "--name",
            &name,
            "--restart",
            "on-failure:1",
            "-m",
            "16m",
            "--memory-swap",
            "16m",
            "busybox",
            "sh",
            "-c",
            script,
        ])
        .ok();
    let container = eventually("the retry is used up", || {
        let container = engine.inspect(&name);
        (container["RestartCount"] == 1 && container["State"]["Status"] == "exited")
            .then_some(container)
    });
    assert_eq!(
        (
            &container["State"]["ExitCode"],
            &container["State"]["OOMKilled"]
        ),
        (&137.into(), &true.into())
    );
}

#[test]
fn after_a_reboot_what_is_to_run_runs_and_nothing_else_is_touched() {
    let engine = Engine::start();
    if !engine.is_own() {
        return;
    }
    let run = |what: &str, arguments: &[&str]| {
        let name = engine.name(what);
        let begin = ["run", "-d", "--name", &name];
        engine
            .docker(&[&begin[..], arguments, &["busybox", "sleep", "600"]].concat())
            .ok();
        name
    };
    let always = run(
        "always",
        &[
            "--restart",
            "always",
            "--health-cmd=true",
            "--health-interval=100ms",
        ],
    );
    let failing = run("failing", &["--restart", "on-failure"]);
    let plain = run("plain", &[]);
    let removed = run("removed", &["--rm"]);
    let stopped = run("stopped", &["--restart", "unless-stopped"]);
    engine.docker(&["stop", "-t", "0", &stopped]).ok();
    let old = engine.inspect(&always)["State"]["Pid"].clone();
    engine.kill_9();
    engine.forget_runtime();
    engine.launch();
    eventually("what is to run runs", || {
        let state = engine.inspect(&always)["State"].clone();
        (state["Running"] == true && state["Pid"] != old && state["Health"]["Status"] == "healthy")
            .then_some(())
    });
    // Nobody saw how it ended: that counts as a failure.
    eventually("a failure is made good", || {
        (engine.inspect(&failing)["State"]["Running"] == true).then_some(())
    });
    for name in [&plain, &stopped] {
        let state = engine.inspect(name)["State"].clone();
        assert_eq!(
            (&state["Status"], &state["Pid"]),
            (&"exited".into(), &0.into()),
            "{name}"
        );
    }
    assert_ne!(engine.inspect(&plain)["State"]["ExitCode"], 0);
    eventually("auto-removal is carried out", || {
        (engine.http().get(&format!("/containers/{removed}/json")).0 == 404).then_some(())
    });
}

#[test]
fn restarts_come_later_and_later() {
    let engine = Engine::start();
    let name = engine.name("backoff");
    let mut events = engine.events("");
    engine
        .docker(&[
            "run",
            "-d",
            "--name",
            &name,
            "--restart",
            "on-failure:4",
            "busybox",
            "false",
        ])
        .ok();
    eventually("the retries are used up", || {
        let container = engine.inspect(&name);
        (container["RestartCount"] == 4 && container["State"]["Status"] == "exited").then_some(())
    });
    let mut times = Vec::new();
    eventually("five ends are told", || {
        times = events.times("die", &name);
        (times.len() == 5).then_some(())
    });
    // 100, 200, 400 and 800 ms, and the time that a start takes.
    let gaps: Vec<i64> = times
        .windows(2)
        .map(|pair| (pair[1] - pair[0]) / 1_000_000)
        .collect();
    for (gap, delay) in gaps.iter().zip([100, 200, 400, 800]) {
        assert!(*gap >= delay, "{gaps:?}");
    }
}

#[test]
fn process_numbers_of_before_a_reboot_belong_to_others() {
    let engine = Engine::start();
    if !engine.is_own() {
        return;
    }
    let name = engine.name("stale");
    let id = engine
        .docker(&[
            "run",
            "-d",
            "--name",
            &name,
            "--restart",
            "always",
            "busybox",
            "sleep",
            "600",
        ])
        .ok();
    engine.kill_9();
    engine.kill_containers();
    // Somebody else has the numbers now, and even the start times fit.
    let mut other = std::process::Command::new("sleep")
        .arg("600")
        .spawn()
        .unwrap();
    let pid = other.id();
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let started: u64 = stat
        .rsplit_once(") ")
        .unwrap()
        .1
        .split(' ')
        .nth(19)
        .unwrap()
        .parse()
        .unwrap();
    let exec_root = engine.exec_root();
    let path = exec_root.join("shims").join(&id).join("state.json");
    let mut state: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    state["init"]["pid"] = pid.into();
    state["init_started"] = started.into();
    state["shim_pid"] = pid.into();
    state["shim_started"] = started.into();
    std::fs::write(&path, state.to_string()).unwrap();
    std::fs::write(exec_root.join("boot-id"), "another").unwrap();
    engine.launch();
    eventually("it is started anew", || {
        let state = engine.inspect(&name)["State"].clone();
        (state["Running"] == true && state["Pid"] != pid).then_some(())
    });
    assert!(
        other.try_wait().unwrap().is_none(),
        "somebody else's process was ended"
    );
    other.kill().unwrap();
    other.wait().unwrap();
}

#[test]
fn a_wait_ends_with_the_first_end_whatever_the_policy() {
    let engine = Engine::start();
    let name = engine.name("waited");
    let policy = ["--restart", "always", "-i", "busybox"];
    let script = ["sh", "-c", "read line; exit 4"];
    let create = ["create", "--name", &name];
    let create = [&create[..], &policy, &script].concat();
    engine.docker(&create).ok();
    engine.docker(&["start", &name]).ok();
    let path = format!("/containers/{name}/wait");
    let mut waiting = engine.http().send("POST", &path, &[], b"");
    assert_eq!(waiting.status, 200);
    engine.docker_with(&["attach", &name], b"\n");
    assert_eq!(waiting.json().1["StatusCode"], 4);
    let refused = engine.docker(&["rm", &name]).expect(1).stderr;
    assert!(refused.contains("stop the container before"), "{refused}");
    engine.docker(&["rm", "-f", &name]).ok();
}
