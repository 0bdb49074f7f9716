//! `docker events`: what is published, with which attributes, and the replay of what was.

use arca_testkit::{Engine, eventually};

#[test]
fn the_life_of_a_container() {
    let engine = Engine::start();
    let name = engine.name("life");
    let mut events = engine.events("{\"type\":[\"container\"]}");
    engine
        .docker(&[
            "run", "--name", &name, "-l", "k=v", "busybox", "sh", "-c", "exit 3",
        ])
        .expect(3);
    engine.docker(&["rm", &name]).ok();
    let died = events.wait("die", &name);
    let attributes = &died["Actor"]["Attributes"];
    assert_eq!(attributes["exitCode"], "3");
    assert_eq!(
        (&attributes["image"], &attributes["k"]),
        (&"busybox".into(), &"v".into())
    );
    assert!(attributes["execDuration"].is_string());
    assert_eq!(
        (&died["status"], &died["from"], &died["Type"]),
        (&"die".into(), &"busybox".into(), &"container".into())
    );
    assert_eq!(died["id"], died["Actor"]["ID"]);
    events.wait("destroy", &name);
    assert_eq!(
        events.actions(&name),
        ["create", "attach", "start", "die", "destroy"]
    );
}

#[test]
fn every_operation_has_its_event() {
    let engine = Engine::start();
    let (old, name) = (engine.name("old"), engine.name("new"));
    let mut events = engine.events("");
    let script = "trap 'exit 0' TERM; echo ready; while :; do sleep 0.05; done";
    let id = engine
        .docker(&["run", "-d", "--name", &old, "busybox", "sh", "-c", script])
        .ok();
    engine.docker(&["rename", &old, &name]).ok();
    engine.docker(&["pause", &name]).ok();
    engine.docker(&["unpause", &name]).ok();
    engine.docker(&["exec", &name, "true"]).ok();
    engine
        .docker(&["update", "-m", "64m", "--memory-swap", "128m", &name])
        .ok();
    engine.docker(&["top", &name]).ok();
    let ready = |times| {
        eventually("it listens", || {
            (engine
                .docker(&["logs", &name])
                .stdout
                .matches("ready")
                .count()
                == times)
                .then_some(())
        });
    };
    ready(1);
    engine.docker(&["restart", &name]).ok();
    ready(2);
    engine.docker(&["stop", &name]).ok();
    engine.docker(&["rm", &name]).ok();
    events.wait("destroy", &id);
    let actions = events.actions(&id);
    // Of "die" and "stop" either may be first.
    let text = actions
        .join(" ")
        .replace("  ", " ")
        .replace("stop die", "die stop");
    assert_eq!(
        text,
        "create start rename pause unpause exec_create: true exec_start: true exec_die update top \
         kill die stop start restart kill die stop destroy"
    );
}

#[test]
fn the_network_and_images_tell_too() {
    let engine = Engine::start();
    let name = engine.name("other");
    let mut events = engine.events("");
    let id = engine
        .docker(&["run", "--name", &name, "busybox", "true"])
        .expect(0);
    drop(id);
    let connect = events.wait_for("connect", |event| event["Type"] == "network");
    assert_eq!(connect["Actor"]["Attributes"]["name"], "bridge");
    assert_eq!(connect["Actor"]["Attributes"]["type"], "bridge");
    events.wait_for("disconnect", |event| event["Type"] == "network");
    let tag = engine.name("tag");
    engine.docker(&["tag", "busybox", &format!("{tag}:x")]).ok();
    engine.docker(&["rmi", &format!("{tag}:x")]).ok();
    let tagged = events.wait_for("tag", |event| {
        event["Actor"]["Attributes"]["name"] == format!("{tag}:x")
    });
    assert_eq!(tagged["Type"], "image");
    events.wait_for("untag", |event| event["Type"] == "image");
}

#[test]
fn past_events_are_replayed_by_time_and_filter() {
    let engine = Engine::start();
    let name = engine.name("past");
    engine
        .docker(&["run", "--rm", "--name", &name, "busybox", "true"])
        .ok();
    let filter = format!("container={name}");
    let past = |more: &[&str]| {
        let mut arguments = vec![
            "events",
            "--since",
            "5m",
            "--until",
            "-1s",
            "-f",
            &filter,
            "--format",
            "{{.Action}}",
        ];
        arguments.extend(more);
        engine.docker(&arguments).ok()
    };
    let all = past(&[]);
    assert!(
        all.starts_with("create\nattach\n") && all.contains("\ndie\n"),
        "{all}"
    );
    assert!(all.ends_with("destroy"), "{all}");
    assert_eq!(past(&["-f", "event=die"]), "die");
    assert_eq!(
        past(&["-f", "event=die", "-f", "event=start"]),
        "start\ndie"
    );
    assert_eq!(past(&["-f", "event=die", "-f", "type=image"]), "");
}

#[test]
fn the_journal_survives_a_crash() {
    let engine = Engine::start();
    if !engine.is_own() {
        return;
    }
    let name = engine.name("kept");
    engine
        .docker(&["run", "--name", &name, "busybox", "true"])
        .ok();
    engine.kill_9();
    engine.launch();
    let past = engine
        .docker(&[
            "events",
            "--since",
            "5m",
            "--until",
            "-1s",
            "-f",
            &format!("container={name}"),
            "--format",
            "{{.Action}}",
        ])
        .ok();
    assert!(past.contains("create") && past.contains("die"), "{past}");
}
