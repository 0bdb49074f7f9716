//! `docker exec`: output, input, exit codes, users, detached and after the end.

use arca_testkit::{Engine, eventually};
use serde_json::json;

#[test]
fn a_command_runs_in_the_container() {
    let engine = Engine::start();
    let name = engine.name("exec");
    engine
        .docker(&[
            "run", "-d", "--name", &name, "-e", "A=b", "busybox", "sleep", "600",
        ])
        .ok();
    let exec = |options: &[&str], script: &str| {
        let mut arguments = vec!["exec"];
        arguments.extend(options);
        arguments.extend([name.as_str(), "sh", "-c", script]);
        engine.docker(&arguments)
    };
    let output = exec(&[], "echo out; echo err >&2; exit 3").expect(3);
    assert_eq!(
        (output.stdout.as_str(), output.stderr.as_str()),
        ("out\n", "err\n")
    );
    assert_eq!(
        exec(
            &["-e", "C=d", "-w", "/tmp", "-u", "33"],
            "echo $A $C; pwd; id -u"
        )
        .ok(),
        "b d\n/tmp\n33"
    );
    assert_eq!(exec(&[], "cat /proc/1/comm").ok(), "sleep");
    assert_eq!(
        exec(&["--privileged"], "grep CapEff /proc/self/status | cut -f2")
            .ok()
            .len(),
        16
    );
    engine.docker(&["exec", &name, "nosuchcmd"]).expect(127);
    engine.docker(&["exec", &name, "/etc"]).expect(126);
    let output = engine
        .docker_with(&["exec", "-i", &name, "cat"], b"through\n")
        .ok();
    assert_eq!(output, "through");
}

#[test]
fn a_detached_command_runs_on() {
    let engine = Engine::start();
    let name = engine.name("detached");
    engine
        .docker(&["run", "-d", "--name", &name, "busybox", "sleep", "600"])
        .ok();
    engine
        .docker(&["exec", "-d", &name, "sh", "-c", "echo done >/tmp/file"])
        .ok();
    eventually("the file is there", || {
        (engine.docker(&["exec", &name, "cat", "/tmp/file"]).stdout == "done\n").then_some(())
    });
}

#[test]
fn inspect_tells_the_state_and_the_exit_code() {
    let engine = Engine::start();
    let name = engine.name("inspect");
    engine
        .docker(&["run", "-d", "--name", &name, "busybox", "sleep", "600"])
        .ok();
    let http = engine.http();
    let body = json!({"AttachStdout": true, "Cmd": ["sh", "-c", "exit 5"]});
    let (status, created) = http.post(&format!("/v1.51/containers/{name}/exec"), &body);
    assert_eq!(status, 201, "{created}");
    let id = created["Id"].as_str().unwrap();
    let (_, before) = http.get(&format!("/v1.51/exec/{id}/json"));
    assert_eq!(
        (&before["Running"], &before["ExitCode"]),
        (&json!(false), &json!(null))
    );
    let started = http
        .send(
            "POST",
            &format!("/v1.51/exec/{id}/start"),
            &[("Content-Type", "application/json")],
            b"{}",
        )
        .bytes();
    assert_eq!(started, b"");
    let after = eventually("the exec has ended", || {
        let (_, after) = http.get(&format!("/v1.51/exec/{id}/json"));
        (after["Running"] == false).then_some(after)
    });
    assert_eq!(after["ExitCode"], 5);
    assert_eq!(after["ProcessConfig"]["entrypoint"], "sh");
    let (status, again) = http.post(&format!("/v1.51/exec/{id}/start"), &json!({"Detach": true}));
    assert_eq!(status, 409, "{again}");
    let (status, missing) = http.get("/v1.51/exec/0123456789abcdef/json");
    assert_eq!(
        (status, &missing["message"]),
        (404, &json!("No such exec instance: 0123456789abcdef"))
    );
}

#[test]
fn a_stopped_container_has_no_exec() {
    let engine = Engine::start();
    let name = engine.name("stopped");
    let id = engine
        .docker(&["create", "--name", &name, "busybox", "true"])
        .ok();
    let output = engine.docker(&["exec", &name, "true"]).expect(1);
    assert!(
        output
            .stderr
            .contains(&format!("container {id} is not running")),
        "{}",
        output.stderr
    );
    let output = engine
        .docker(&["exec", "nosuchcontainer", "true"])
        .expect(1);
    assert!(
        output.stderr.contains("No such container: nosuchcontainer"),
        "{}",
        output.stderr
    );
}

#[test]
fn the_execs_of_a_container_end_with_it() {
    let engine = Engine::start();
    let name = engine.name("ends");
    engine
        .docker(&["run", "-d", "--name", &name, "busybox", "sleep", "600"])
        .ok();
    let mut exec = engine.docker_spawn(&["exec", &name, "sleep", "600"]);
    eventually("the exec runs", || {
        (engine
            .docker(&["top", &name])
            .stdout
            .matches("sleep 600")
            .count()
            == 2)
            .then_some(())
    });
    engine.docker(&["kill", &name]).ok();
    assert_eq!(exec.wait().unwrap().code(), Some(137));
}
