//! What a crash of arcad, or two requests at once, must not break.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arca_testkit::{Engine, eventually};
use serde_json::{Value, json};

#[test]
fn a_crash_in_the_middle_of_a_create_leaves_no_volume() {
    let engine = Engine::start();
    if !engine.is_own() {
        return;
    }
    let body = json!({"Image": "busybox", "Volumes": {"/a": {}, "/b": {}}});
    for round in 1..=4 {
        let done = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    while engine.http().try_post("/containers/create", &body).is_ok() {
                        done.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            eventually("some are created", || {
                (done.load(Ordering::Relaxed) >= round * 2).then_some(())
            });
            engine.kill_9();
        });
        engine.launch();
        let names = |list: &Value| -> BTreeSet<String> {
            let entries = list.as_array().into_iter().flatten();
            entries
                .map(|entry| entry["Name"].as_str().unwrap().to_owned())
                .collect()
        };
        let volumes = names(&engine.http().get("/volumes").1["Volumes"]);
        let (_, containers) = engine.http().get("/containers/json?all=1");
        let used: BTreeSet<String> = containers
            .as_array()
            .unwrap()
            .iter()
            .flat_map(|container| names(&container["Mounts"]))
            .collect();
        assert_eq!(volumes, used, "round {round}");
    }
}

#[test]
fn an_adopted_exec_still_tells_its_command() {
    let engine = Engine::start();
    if !engine.is_own() {
        return;
    }
    let name = engine.name("adopted");
    engine
        .docker(&["run", "-d", "--name", &name, "busybox", "sleep", "600"])
        .ok();
    let body = json!({"Cmd": ["sleep", "321"], "User": "33", "Env": ["A=1"], "Tty": true});
    let (_, made) = engine
        .http()
        .post(&format!("/containers/{name}/exec"), &body);
    let id = made["Id"].as_str().unwrap();
    let (status, _) = engine
        .http()
        .post(&format!("/exec/{id}/start"), &json!({"Detach": true}));
    assert_eq!(status, 200);
    let inspect = || engine.http().get(&format!("/exec/{id}/json")).1;
    let before = inspect();
    assert_eq!(before["ProcessConfig"]["arguments"], json!(["321"]));
    engine.kill_9();
    engine.launch();
    assert_eq!(inspect(), before);
    let pid = before["Pid"].to_string();
    assert!(
        Command::new("kill")
            .args(["-9", &pid])
            .status()
            .unwrap()
            .success()
    );
    eventually("the exec has ended", || {
        (inspect()["ExitCode"] == json!(137)).then_some(())
    });
}

#[test]
fn a_start_waits_for_files_that_are_being_copied_into_the_container() {
    let engine = Engine::start();
    if !engine.is_own() {
        // dockerd does the same by a lock that inspect waits for, too.
        return;
    }
    let name = engine.name("copied");
    let script = "test -e /late && echo complete";
    engine
        .docker(&["create", "--name", &name, "busybox", "sh", "-c", script])
        .ok();
    let files = tempfile::tempdir().unwrap();
    std::fs::write(files.path().join("early"), vec![1; 200_000]).unwrap();
    std::fs::write(files.path().join("late"), "x").unwrap();
    let tar = Command::new("tar")
        .args(["-cC", files.path().to_str().unwrap(), "early", "late"])
        .output()
        .unwrap()
        .stdout;
    let mut upload = engine.http().connect();
    let head = format!(
        "PUT /containers/{name}/archive?path=/ HTTP/1.1\r\nHost: d\r\nContent-Type: \
         application/x-tar\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        tar.len()
    );
    upload.write_all(head.as_bytes()).unwrap();
    upload.write_all(&tar[..100_000]).unwrap();
    // The first file is being written: the upload has begun.
    let begun = || {
        engine.http().send(
            "HEAD",
            &format!("/containers/{name}/archive?path=/early"),
            &[],
            b"",
        )
    };
    eventually("the upload has begun", || {
        (begun().status == 200).then_some(())
    });
    std::thread::scope(|scope| {
        let start = scope.spawn(|| engine.docker(&["start", &name]));
        let state = || engine.inspect(&name)["State"]["Status"].clone();
        let begin = std::time::Instant::now();
        while begin.elapsed() < Duration::from_millis(300) {
            assert_eq!(state(), "created");
        }
        upload.write_all(&tar[100_000..]).unwrap();
        let mut answer = String::new();
        upload.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        start.join().unwrap().expect(0);
    });
    engine.docker(&["wait", &name]).ok();
    assert_eq!(engine.docker(&["logs", &name]).ok(), "complete");
}
