//! Compose's commands and keys on one application.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "what a test needs fails the test where it stands"
)]

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};

use arca_testkit::{Compose, Engine, eventually};
use serde_json::Value;

const APP: &str = r#"
services:
  job:
    image: busybox:latest
    command: sh -c "echo prepared > /shared/state"
    volumes: ["shared:/shared"]
  app:
    image: busybox:latest
    init: true
    hostname: apphost
    command: sh -c "cat /shared/state /etc/app.conf /run/secrets/token; echo oops >&2; exec httpd -f -p 8000 -h /shared"
    depends_on:
      job: { condition: service_completed_successfully }
    volumes: ["shared:/shared"]
    configs: [{ source: conf, target: /etc/app.conf }]
    secrets: [token]
    environment: { MODE: test, EMPTY: "" }
    env_file: [{ path: ./none.env, required: false }]
    labels: { org.example.tier: app }
    ulimits: { nofile: { soft: 1000, hard: 2000 } }
    sysctls: { net.ipv4.ip_unprivileged_port_start: 1 }
    tmpfs: ["/scratch:size=1m,mode=700"]
    deploy: { resources: { limits: { memory: 64M, cpus: "0.5", pids: 50 } } }
    stop_grace_period: 1s
    extra_hosts: ["other.example:192.0.2.7"]
    cap_drop: [ALL]
    cap_add: [NET_BIND_SERVICE]
    security_opt: ["no-new-privileges:true"]
    read_only: true
    healthcheck:
      test: ["CMD", "wget", "-qO-", "http://127.0.0.1:8000/state"]
      interval: 30s
      start_period: 20s
      start_interval: 200ms
    logging: { driver: json-file, options: { max-size: 1m, max-file: "2" } }
    networks:
      default: { ipv4_address: 10.213.77.40, aliases: [service.example] }
      closed: {}
  client:
    image: busybox:latest
    init: true
    command: sleep 1d
    depends_on:
      app: { condition: service_healthy }
  extra:
    image: busybox:latest
    init: true
    command: sleep 1d
    profiles: [extra]
    network_mode: service:client
    pid: service:client
volumes:
  shared: { labels: { org.example.kept: "yes" } }
networks:
  default:
    ipam: { config: [{ subnet: 10.213.77.0/24, gateway: 10.213.77.1 }] }
  closed: { internal: true }
configs:
  conf: { file: ./app.conf }
secrets:
  token: { file: ./token }
"#;

#[test]
fn an_application_lives_its_life() {
    let engine = Engine::start();
    let app = Compose::of(&engine, APP);
    for (name, content) in [("token", "sesame\n"), ("app.conf", "configured\n")] {
        let path = app.file().with_file_name(name);
        std::fs::write(path, content).unwrap();
    }
    app.run(&["config", "-q"]).ok();
    app.run(&["create"]).ok();
    assert_eq!(app.run(&["ps", "-q"]).ok(), "");
    app.run(&["up", "-d", "--wait", "app", "client"]).ok();

    the_keys_have_their_effect(&engine, &app);
    what_there_is_is_told(&engine, &app);
    containers_come_and_go(&engine, &app);
    services_are_scaled_and_kept(&engine, &app);

    let again = app.run(&["up", "-d"]).expect(0);
    assert!(!again.stderr.contains("Recreate"), "{}", again.stderr);
    let recreated = app.run(&["up", "-d", "--force-recreate", "--no-deps", "client"]);
    assert!(recreated.expect(0).stderr.contains("Recreated"));
    app.run(&["--profile", "extra", "down", "-t", "1"]).ok();
    let label = format!("label=com.docker.compose.project={}", app.project());
    for what in ["container", "network"] {
        let all: &[&str] = if what == "container" { &["-a"] } else { &[] };
        let left = engine.docker(&[&[what, "ls", "-q", "--filter", &label], all].concat());
        assert_eq!(left.ok(), "", "{what}");
    }
    let kept = engine
        .docker(&["volume", "ls", "-q", "--filter", &label])
        .ok();
    assert!(kept.ends_with("_shared"), "{kept}");
    app.run(&["down", "-v"]).ok();
    let left = engine.docker(&["volume", "ls", "-q", "--filter", &label]);
    assert_eq!(left.ok(), "");
}

fn the_keys_have_their_effect(engine: &Engine, app: &Compose<'_>) {
    let inside = |script: &str| app.run(&["exec", "-T", "app", "sh", "-c", script]).ok();
    let log = app.run(&["logs", "--no-log-prefix", "app"]).expect(0);
    for line in ["prepared", "configured", "sesame", "oops"] {
        assert!(
            log.stdout.lines().any(|said| said == line),
            "{line}: {}",
            log.stdout
        );
    }
    assert_eq!(inside("hostname"), "apphost");
    assert_eq!(inside("echo $MODE-$EMPTY-"), "test--");
    assert_eq!(inside("ulimit -n; ulimit -Hn"), "1000\n2000");
    assert_eq!(
        inside("cat /proc/sys/net/ipv4/ip_unprivileged_port_start"),
        "1"
    );
    assert!(inside("mount").contains("tmpfs on /scratch type tmpfs"));
    assert!(inside("touch /no 2>&1 || true").contains("Read-only file system"));
    assert_eq!(
        inside("grep ^CapEff /proc/1/status"),
        "CapEff:\t0000000000000400"
    );
    assert_eq!(inside("grep ^NoNewPrivs /proc/1/status"), "NoNewPrivs:\t1");
    assert!(inside("cat /etc/hosts").contains("192.0.2.7\tother.example"));
    assert!(inside("ip -o -4 address").contains("10.213.77.40/24"));
    let seen = engine.inspect(&app.run(&["ps", "-q", "app"]).ok());
    let host = &seen["HostConfig"];
    assert_eq!(host["Memory"], 64 << 20);
    assert_eq!(host["NanoCpus"], 500_000_000);
    assert_eq!(host["PidsLimit"], 50);
    assert_eq!(host["LogConfig"]["Config"]["max-size"], "1m");
    assert_eq!(
        seen["NetworkSettings"]["Networks"]
            .as_object()
            .map(|all| all.len()),
        Some(2)
    );
    let page = app.run(&[
        "exec",
        "-T",
        "client",
        "wget",
        "-qO-",
        "http://service.example:8000/state",
    ]);
    assert_eq!(page.ok(), "prepared");
}

fn what_there_is_is_told(engine: &Engine, app: &Compose<'_>) {
    let listed = app.run(&["ps", "-a", "--format", "json"]).ok();
    let mut states: Vec<(String, String)> = Vec::new();
    for line in listed.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let text = |key: &str| line[key].as_str().unwrap_or_default().to_owned();
        states.push((
            text("Service"),
            format!("{} {}", text("State"), text("Health")),
        ));
    }
    states.sort();
    let expected = [
        ("app", "running healthy"),
        ("client", "running "),
        ("job", "exited "),
    ];
    let expected = expected.map(|(service, state)| (service.to_owned(), state.to_owned()));
    assert_eq!(states, expected);
    assert!(app.run(&["top", "app"]).ok().contains("httpd"));
    assert!(app.run(&["images"]).ok().contains("busybox"));
    assert!(
        app.run(&["stats", "--no-stream", "app"])
            .ok()
            .contains("64MiB")
    );
    assert!(app.run(&["volumes"]).ok().contains("_shared"));
    assert!(
        engine
            .docker(&["compose", "ls"])
            .ok()
            .contains(app.project())
    );
    assert!(app.run(&["config", "--services"]).ok().contains("client"));
    let ran = app.run(&[
        "run",
        "--rm",
        "-T",
        "--no-deps",
        "-e",
        "X=7",
        "client",
        "sh",
        "-c",
        "echo $X; exit 9",
    ]);
    assert_eq!((ran.code, ran.stdout.trim()), (9, "7"));
}

fn containers_come_and_go(engine: &Engine, app: &Compose<'_>) {
    app.run(&["pause", "client"]).ok();
    assert!(app.run(&["ps", "client"]).ok().contains("(Paused)"));
    app.run(&["unpause", "client"]).ok();
    let file = app.file().with_file_name("state");
    let file = file.to_str().unwrap_or_default();
    app.run(&["cp", "app:/shared/state", file]).ok();
    app.run(&["cp", file, "client:/tmp/state"]).ok();
    assert_eq!(
        app.run(&["exec", "-T", "client", "cat", "/tmp/state"]).ok(),
        "prepared"
    );
    app.run(&["restart", "-t", "0", "client"]).ok();
    app.run(&["stop", "-t", "0", "client"]).ok();
    app.run(&["start", "client"]).ok();
    eventually("wait tells how it ended", || {
        app.run(&["start", "client"]).ok();
        let mut waiting = engine.docker_spawn(&app.arguments(&["wait", "client"]));
        app.run(&["kill", "-s", "KILL", "client"]).ok();
        // It may have come too late to see the container running.
        (waiting.wait().ok()?.code() == Some(137)).then_some(())
    });
}

fn services_are_scaled_and_kept(engine: &Engine, app: &Compose<'_>) {
    app.run(&["--profile", "extra", "up", "-d"]).ok();
    let shared = app
        .run(&[
            "--profile",
            "extra",
            "exec",
            "-T",
            "extra",
            "hostname",
            "-i",
        ])
        .ok();
    let client = app.run(&["exec", "-T", "client", "hostname", "-i"]).ok();
    assert_eq!(shared, client, "one network for both");
    app.run(&["scale", "client=2"]).ok();
    assert_eq!(app.run(&["ps", "-q", "client"]).ok().lines().count(), 2);
    app.run(&["scale", "client=1"]).ok();
    app.run(&["rm", "-sf", "client"]).ok();
    assert_eq!(app.run(&["ps", "-aq", "client"]).ok(), "");
    app.run(&["up", "-d", "client"]).ok();
    let image = engine.name("committed");
    app.run(&["commit", "client", &image]).ok();
    engine.docker(&["image", "inspect", &image]).ok();
    engine.docker(&["image", "rm", &image]).ok();
    let archive = app.file().with_file_name("client.tar");
    app.run(&[
        "export",
        "-o",
        archive.to_str().unwrap_or_default(),
        "client",
    ])
    .ok();
    assert!(std::fs::metadata(archive).is_ok_and(|file| file.len() > 1_000_000));
}

/// A command of compose that goes on; ended when it goes.
struct Followed(Child);

impl Followed {
    fn start(engine: &Engine, app: &Compose<'_>, arguments: &[&str]) -> Self {
        let mut command = engine.docker_command(&app.arguments(arguments));
        Self(command.stdout(Stdio::piped()).spawn().unwrap())
    }

    /// Reads lines until each of `expected` has been found in one.
    fn until_all(&mut self, mut expected: Vec<&str>, found: impl Fn(&str, &str) -> bool) {
        let lines = BufReader::new(self.0.stdout.take().unwrap()).lines();
        for line in lines.map_while(Result::ok) {
            expected.retain(|one| !found(&line, one));
            if expected.is_empty() {
                return;
            }
        }
        assert!(expected.is_empty(), "{expected:?}");
    }
}

impl Drop for Followed {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[test]
fn logs_and_events_are_followed() {
    let engine = Engine::start();
    let app = Compose::of(
        &engine,
        "services:\n  one: &one\n    image: busybox:latest\n    init: true\n    \
         command: sh -c 'echo first; exec sleep 1d'\n    \
         post_start: [{ command: echo hook }]\n  two: *one\n",
    );
    app.run(&["up", "-d"]).ok();
    let mut logs = Followed::start(&engine, &app, &["logs", "-f", "--no-color"]);
    let script = "echo second > /proc/1/fd/1";
    app.run(&["exec", "-T", "two", "sh", "-c", script]).ok();
    let expected = vec!["one-1  | first", "two-1  | first", "two-1  | second"];
    logs.until_all(expected, |line, expected| line.contains(expected));
    app.run(&["stop", "-t", "0", "one"]).ok();
    let mut events = Followed::start(&engine, &app, &["events", "--json", "--since", "1"]);
    let expected = vec!["create", "start", "exec_start: echo hook", "die", "stop"];
    events.until_all(expected, |line, action| {
        let event: Value = serde_json::from_str(line).unwrap();
        event["service"] == "one" && event["action"] == action
    });
}
