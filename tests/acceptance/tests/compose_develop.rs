//! Compose for who develops: build, push, pull, attach, watch.
#![expect(
    clippy::unwrap_used,
    reason = "what a test needs fails the test where it stands"
)]

use std::io::{BufRead as _, BufReader, Lines, PipeReader, Write as _};
use std::process::{Child, Stdio};
use std::time::Duration;

use arca_testkit::{Compose, Engine, Registry, eventually_within};

/// A command of compose that goes on; ended when it goes.
struct Ongoing {
    child: Child,
    said: Lines<BufReader<PipeReader>>,
}

impl Ongoing {
    fn start(engine: &Engine, app: &Compose<'_>, arguments: &[&str]) -> Self {
        let (reader, writer) = std::io::pipe().unwrap();
        let mut command = engine.docker_command(&app.arguments(arguments));
        command
            .stdin(Stdio::piped())
            .stderr(writer.try_clone().unwrap());
        let child = command.stdout(writer).spawn().unwrap();
        let said = BufReader::new(reader).lines();
        Self { child, said }
    }

    /// Waits until it says something.
    fn until(&mut self, text: &str) {
        let found = |line: std::io::Result<String>| line.unwrap().contains(text);
        assert!(self.said.any(found), "{text}");
    }
}

impl Drop for Ongoing {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// A service whose image is built beside its file.
fn app<'a>(engine: &'a Engine, image: &str) -> Compose<'a> {
    let app = Compose::of(
        engine,
        &format!(
            "services:
  web:
    image: {image}
    build: .
    init: true
    stdin_open: true
    command: sh -c 'while read line; do echo said $$line; done'
    stop_grace_period: 1s
    develop:
      watch:
        - {{ action: sync, path: ./src, target: /src }}
        - {{ action: rebuild, path: ./version }}
        - {{ action: restart, path: ./restarts }}
        - {{ action: sync+restart, path: ./settings, target: /settings }}
        - {{ action: sync+exec, path: ./data, target: /data, exec: {{ command: cp /data/new /loaded }} }}
"
        ),
    );
    let directory = app.file().parent().unwrap();
    for name in ["src", "restarts", "settings", "data"] {
        std::fs::create_dir(directory.join(name)).unwrap();
    }
    let dockerfile = "FROM busybox\nCOPY src /src\nCOPY version /version\n";
    for (name, text) in [
        ("Dockerfile", dockerfile),
        ("src/page", "first\n"),
        ("version", "1\n"),
    ] {
        std::fs::write(directory.join(name), text).unwrap();
    }
    app
}

#[test]
fn what_is_built_is_pushed_and_pulled_and_attached_to() {
    let engine = Engine::start();
    let registry = Registry::start(&engine);
    let image = registry.image("developed");
    let app = app(&engine, &image);
    app.run(&["build", "-q"]).ok();
    let id = engine
        .docker(&["image", "inspect", "-f", "{{.Id}}", &image])
        .ok();
    app.run(&["push", "-q"]).ok();
    engine.docker(&["image", "rm", &image]).ok();
    app.run(&["pull", "-q"]).ok();
    let pulled = engine
        .docker(&["image", "inspect", "-f", "{{.Id}}", &image])
        .ok();
    assert_eq!(pulled, id);
    app.run(&["up", "-d", "--no-build"]).ok();

    let mut attached = Ongoing::start(&engine, &app, &["attach", "web"]);
    let mut stdin = attached.child.stdin.take().unwrap();
    stdin.write_all(b"hello\n").unwrap();
    attached.until("said hello");
    drop(attached);
    app.run(&["down", "--rmi", "all"]).ok();
    let gone = engine.docker(&["image", "inspect", &image]);
    assert_eq!(gone.code, 1);
}

#[test]
fn watch_brings_changes_into_the_container() {
    let engine = Engine::start();
    let image = engine.name("watched");
    let app = app(&engine, &image);
    app.run(&["up", "-d", "--build"]).ok();
    let inside = |path: &str| {
        app.run(&["exec", "-T", "web", "cat", path])
            .stdout
            .trim()
            .to_owned()
    };
    assert_eq!(inside("/src/page"), "first");
    let before = app.run(&["ps", "-q", "web"]).ok();
    let mut watch = Ongoing::start(&engine, &app, &["watch", "--no-up"]);
    let directory = app.file().parent().unwrap();
    let minute = Duration::from_secs(60);
    watch.until("Watch enabled");
    std::fs::write(directory.join("src/page"), "changed\n").unwrap();
    eventually_within(minute, "a change is copied", || {
        (inside("/src/page") == "changed").then_some(())
    });
    assert_eq!(app.run(&["ps", "-q", "web"]).ok(), before);
    std::fs::remove_file(directory.join("src/page")).unwrap();
    eventually_within(minute, "what is removed goes", || {
        inside("/src/page").is_empty().then_some(())
    });
    std::fs::write(directory.join("version"), "2\n").unwrap();
    eventually_within(minute, "a change builds the image anew", || {
        (inside("/version") == "2").then_some(())
    });
    assert_ne!(app.run(&["ps", "-q", "web"]).ok(), before);
    drop(watch);
    app.run(&["down", "--rmi", "all", "-t", "1"]).ok();
}

#[test]
fn watch_restarts_and_runs_what_a_change_asks_for() {
    let engine = Engine::start();
    let image = engine.name("reloaded");
    let app = app(&engine, &image);
    app.run(&["up", "-d", "--build"]).ok();
    let id = app.run(&["ps", "-q", "web"]).ok();
    let started = || engine.inspect(&id)["State"]["StartedAt"].clone();
    let inside = |path: &str| app.run(&["exec", "-T", "web", "cat", path]).stdout;
    let mut watch = Ongoing::start(&engine, &app, &["watch", "--no-up"]);
    let change = |path: &str, text: &str| {
        let path = app.file().parent().unwrap().join(path);
        std::fs::write(path, text).unwrap();
    };
    let minute = Duration::from_secs(60);
    watch.until("Watch enabled");
    let first = started();
    change("restarts/now", "");
    eventually_within(minute, "a change restarts the container", || {
        (started() != first).then_some(())
    });
    let second = started();
    change("settings/name", "changed\n");
    eventually_within(minute, "settings restart it", || {
        (started() != second && inside("/settings/name") == "changed\n").then_some(())
    });
    change("data/new", "loaded\n");
    eventually_within(minute, "data are loaded by a command", || {
        (inside("/loaded") == "loaded\n").then_some(())
    });
    assert_eq!(app.run(&["ps", "-q", "web"]).ok(), id);
    drop(watch);
    app.run(&["down", "--rmi", "all", "-t", "1"]).ok();
}
