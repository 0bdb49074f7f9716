//! Exit codes of `docker run`, which come from the engine's words.

use arca_testkit::Engine;

#[test]
fn the_exit_code_is_the_commands() {
    let engine = Engine::start();
    engine
        .docker(&["run", "--rm", "busybox", "sh", "-c", "exit 42"])
        .expect(42);
    engine
        .docker(&[
            "run",
            "--rm",
            "busybox",
            "sh",
            "-c",
            "sh -c 'kill -9 $$'; exit $?",
        ])
        .expect(137);
    engine
        .docker(&[
            "run",
            "--rm",
            "--init",
            "busybox",
            "sh",
            "-c",
            "kill -TERM $$",
        ])
        .expect(143);
}

#[test]
fn a_missing_command_is_127() {
    let engine = Engine::start();
    let output = engine
        .docker(&["run", "--rm", "busybox", "nosuchcmd"])
        .expect(127);
    assert!(
        output.stderr.contains("executable file not found in $PATH"),
        "{}",
        output.stderr
    );
    let output = engine
        .docker(&["run", "--rm", "busybox", "/no/such/cmd"])
        .expect(127);
    assert!(
        output.stderr.contains("no such file or directory"),
        "{}",
        output.stderr
    );
}

#[test]
fn what_cannot_be_executed_is_126() {
    let engine = Engine::start();
    let output = engine
        .docker(&["run", "--rm", "busybox", "/etc"])
        .expect(126);
    assert!(
        output.stderr.contains("is a directory") || output.stderr.contains("permission denied"),
        "{}",
        output.stderr
    );
    let output = engine
        .docker(&["run", "--rm", "busybox", "/etc/passwd"])
        .expect(126);
    assert!(
        output.stderr.contains("permission denied"),
        "{}",
        output.stderr
    );
}

#[test]
fn what_the_client_or_the_engine_refuses_is_125() {
    let engine = Engine::start();
    engine
        .docker(&["run", "--rm", "--memory", "lots", "busybox", "true"])
        .expect(125);
    engine
        .docker(&["run", "--rm", "--memory", "1k", "busybox", "true"])
        .expect(125);
    let output = engine
        .docker(&["run", "--rm", "--network", "nosuchnet", "busybox", "true"])
        .expect(125);
    assert!(
        output.stderr.contains("network nosuchnet not found"),
        "{}",
        output.stderr
    );
    let output = engine
        .docker(&["run", "--rm", "-w", "relative", "busybox", "true"])
        .expect(125);
    assert!(
        output.stderr.contains(
            "the working directory 'relative' is invalid, it needs to be an absolute path"
        ),
        "{}",
        output.stderr
    );
    let output = engine
        .docker(&["run", "--rm", "--user", "nosuchuser", "busybox", "true"])
        .expect(125);
    assert!(
        output
            .stderr
            .contains("unable to find user nosuchuser: no matching entries in passwd file"),
        "{}",
        output.stderr
    );
}

#[test]
fn a_start_that_failed_leaves_a_container_that_says_why() {
    let engine = Engine::start();
    let name = engine.name("failed");
    engine
        .docker(&["run", "--name", &name, "busybox", "nosuchcmd"])
        .expect(127);
    let inspected = engine.inspect(&name);
    assert_eq!(inspected["State"]["Status"], "created");
    assert_eq!(inspected["State"]["ExitCode"], 127);
    let error = inspected["State"]["Error"].as_str().unwrap();
    assert!(
        error.contains("executable file not found in $PATH"),
        "{error}"
    );
}

#[test]
fn out_of_memory_is_told() {
    let engine = Engine::start();
    let name = engine.name("oom");
    let mut events = engine.events("");
    engine
        .docker(&[
            "run",
            "--name",
            &name,
            "-m",
            "64m",
            "--memory-swap",
            "64m",
            "busybox",
            "sh",
            "-c",
            "tail /dev/zero",
        ])
        .expect(137);
    events.wait("oom", &name);
    let state = &engine.inspect(&name)["State"];
    assert_eq!(
        (&state["OOMKilled"], &state["ExitCode"]),
        (&true.into(), &137.into()),
        "{state}"
    );
}

#[test]
fn where_the_killer_is_disabled_the_container_waits() {
    let engine = Engine::start();
    let name = engine.name("held-up");
    let mut events = engine.events("");
    let mut arguments = vec!["run", "-d", "--name", &name, "-m", "64m"];
    arguments.extend(["--memory-swap", "64m", "--oom-kill-disable", "busybox"]);
    // What the shell writes itself is waited for; a system call would fail instead.
    arguments.extend(["sh", "-c", "x=a; while :; do x=$x$x; done"]);
    let run = engine.docker(&arguments).expect(0);
    events.wait("oom", &name);
    let state = &engine.inspect(&name)["State"];
    assert_eq!(state["OOMKilled"], true, "{state}");
    // Unified cgroups know no such thing, as the warning says.
    let dropped = run.stderr.contains("does not support OomKillDisable");
    if !dropped {
        assert_eq!(state["Status"], "running", "{state}");
    }
    engine.docker(&["rm", "-f", &name]).ok();
}
