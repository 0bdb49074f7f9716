//! arcad is killed at any moment: containers live on, nothing that was told is lost, nothing leaks.
#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::too_many_lines,
    reason = "helpers of tests fail where they stand, and a story is told in one piece"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::Duration;

use arca_testkit::{Engine, Pty, Registry, Snapshot, eventually, eventually_within};
use serde_json::{Value, json};

/// Whether the process exists and is not a zombie.
fn alive(pid: i64) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

fn pid(engine: &Engine, name: &str) -> i64 {
    engine.inspect(name)["State"]["Pid"]
        .as_i64()
        .unwrap_or_default()
}

#[test]
fn running_containers_are_adopted() {
    let engine = Engine::start();
    if !engine.is_own() {
        return;
    }
    engine.need_nginx();
    let (counter, ending, web) = (
        engine.name("counter"),
        engine.name("ending"),
        engine.name("web"),
    );
    let script = "i=0; trap 'exit 5' TERM; while :; do i=$((i+1)); echo $i; sleep 0.01; done";
    engine
        .docker(&[
            "run", "-d", "--name", &counter, "busybox", "sh", "-c", script,
        ])
        .ok();
    engine
        .docker(&[
            "run",
            "-d",
            "--name",
            &ending,
            "busybox",
            "sh",
            "-c",
            "while [ ! -e /go ]; do sleep 0.05; done; rm /go; echo last words; exit 7",
        ])
        .ok();
    engine
        .docker(&[
            "run",
            "-d",
            "--name",
            &web,
            "-p",
            "127.0.0.1:8080:80",
            "nginx",
        ])
        .ok();
    let page = || {
        engine.in_netns(|| {
            let mut stream = std::net::TcpStream::connect("127.0.0.1:8080").ok()?;
            std::io::Write::write_all(&mut stream, b"GET / HTTP/1.0\r\n\r\n").ok()?;
            let mut text = String::new();
            std::io::Read::read_to_string(&mut stream, &mut text).ok()?;
            text.contains("Welcome to nginx!").then_some(())
        })
    };
    eventually("nginx answers", page);
    let pids = [
        pid(&engine, &counter),
        pid(&engine, &ending),
        pid(&engine, &web),
    ];
    engine.kill_9();
    assert!(pids.iter().all(|pid| alive(*pid)));
    page().expect("a published port works while arcad is down");
    std::fs::write(format!("/proc/{}/root/go", pids[1]), "").unwrap();
    eventually("the container has ended", || {
        (!alive(pids[1])).then_some(())
    });
    engine.launch();
    assert_eq!(
        (pid(&engine, &counter), pid(&engine, &web)),
        (pids[0], pids[2])
    );
    let state = eventually("the end is known", || {
        let state = engine.inspect(&ending)["State"].clone();
        (state["Running"] == false).then_some(state)
    });
    assert_eq!(
        (&state["Status"], &state["ExitCode"]),
        (&json!("exited"), &json!(7))
    );
    assert_eq!(engine.docker(&["logs", &ending]).ok(), "last words");
    page().expect("a published port works after the restart");
    assert_eq!(
        engine.docker(&["exec", &counter, "echo", "still"]).ok(),
        "still"
    );
    engine.docker(&["stop", &counter]).ok();
    assert_eq!(engine.docker(&["wait", &counter]).ok(), "5");
    let log = engine.docker(&["logs", &counter]).ok();
    let numbers: Vec<usize> = log.lines().map(|line| line.parse().unwrap()).collect();
    assert!(numbers.len() > 10);
    assert_eq!(numbers, (1..=numbers.len()).collect::<Vec<_>>());
    engine.docker(&["start", &ending]).ok();
    assert_eq!(engine.inspect(&ending)["State"]["Running"], true);
}

#[test]
fn a_stop_in_order_leaves_the_containers_running_too() {
    let engine = Engine::start();
    if !engine.is_own() {
        return;
    }
    let name = engine.name("survivor");
    engine
        .docker(&["run", "-d", "--name", &name, "busybox", "sleep", "600"])
        .ok();
    let before = pid(&engine, &name);
    engine.stop();
    assert!(alive(before));
    engine.launch();
    assert_eq!(pid(&engine, &name), before);
}

#[test]
fn a_terminal_can_be_attached_again_after_a_crash() {
    let engine = Engine::start();
    if !engine.is_own() {
        return;
    }
    let name = engine.name("terminal");
    engine
        .docker(&["run", "-dit", "--name", &name, "busybox", "sh"])
        .ok();
    engine.kill_9();
    engine.launch();
    let mut pty = Pty::spawn(&engine.docker_command(&["attach", &name]));
    pty.send("\necho $((6*7)); stty size\n");
    pty.expect("42\r\n24 80\r\n");
    pty.send("exit 4\n");
    assert_eq!(pty.wait(), 4);
}

#[test]
fn a_killed_shim_is_reported_and_cleaned_up() {
    let engine = Engine::start();
    if !engine.is_own() {
        return;
    }
    let name = engine.name("shim");
    engine.docker(&["run", "--rm", "busybox", "true"]).ok();
    let before = Snapshot::take(&engine);
    let id = engine
        .docker(&[
            "run", "-d", "--name", &name, "-p", "0:80", "busybox", "sleep", "600",
        ])
        .ok();
    let container = pid(&engine, &name);
    let stat = std::fs::read_to_string(format!("/proc/{container}/stat")).unwrap();
    let shim: i32 = stat
        .rsplit(") ")
        .next()
        .unwrap()
        .split(' ')
        .nth(1)
        .unwrap()
        .parse()
        .unwrap();
    let comm = std::fs::read_to_string(format!("/proc/{shim}/comm")).unwrap();
    assert!(comm.starts_with("arca-shim"), "{comm}");
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(shim).unwrap(),
        rustix::process::Signal::KILL,
    )
    .unwrap();
    let state = eventually("the container is reported dead", || {
        let state = engine.inspect(&id)["State"].clone();
        (state["Running"] == false).then_some(state)
    });
    assert_eq!(state["ExitCode"], 137, "{state}");
    assert!(!state["Error"].as_str().unwrap().is_empty(), "{state}");
    eventually("its process is gone", || (!alive(container)).then_some(()));
    engine.docker(&["start", &name]).ok();
    engine.docker(&["rm", "-f", &name]).ok();
    before.settled(&engine);
}

#[test]
fn a_reboot_is_told_apart_from_a_restart() {
    let engine = Engine::start();
    if !engine.is_own() {
        return;
    }
    let (plain, always) = (engine.name("plain"), engine.name("always"));
    engine
        .docker(&["run", "-d", "--name", &plain, "busybox", "sleep", "600"])
        .ok();
    engine
        .docker(&[
            "run",
            "-d",
            "--name",
            &always,
            "--restart",
            "always",
            "busybox",
            "sleep",
            "600",
        ])
        .ok();
    engine.kill_9();
    engine.forget_runtime();
    engine.launch();
    let state = engine.inspect(&plain)["State"].clone();
    assert_eq!(
        (&state["Status"], &state["ExitCode"]),
        (&json!("exited"), &json!(255))
    );
    eventually("the policy starts it", || {
        (engine.inspect(&always)["State"]["Running"] == true).then_some(())
    });
    engine.docker(&["start", &plain]).ok();
}

/// A small random generator (xorshift), so that a failure can be repeated by its seed.
#[derive(Debug)]
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// What the clients were told of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Created,
    Running,
    Stopped,
    Removed,
    /// The last request got no answer: either outcome is right.
    Unknown,
}

#[derive(Debug, Default)]
struct Known {
    containers: BTreeMap<String, Told>,
    pulled: Option<bool>,
}

/// One client's work until the engine dies under it.
fn work(engine: &Engine, known: &Mutex<Known>, dice: &mut Dice, prefix: &str, image: &str) {
    let http = engine.http();
    let tell = |name: &str, told: Told| {
        known
            .lock()
            .unwrap()
            .containers
            .insert(name.to_owned(), told);
    };
    for step in 0..1000 {
        let mine: Vec<(String, Told)> = {
            let known = known.lock().unwrap();
            known
                .containers
                .iter()
                .filter(|(name, told)| name.starts_with(prefix) && **told != Told::Removed)
                .map(|(name, told)| (name.clone(), *told))
                .collect()
        };
        let old = mine
            .get(usize::try_from(dice.below(1 + mine.len() as u64)).unwrap())
            .cloned();
        let answer = match (dice.below(10), old) {
            (0..=3, _) | (_, None) if mine.len() < 5 => {
                let name = format!("{prefix}{step}-{}", dice.below(1 << 40));
                let published = dice.below(3) == 0;
                let mut body = json!({"Image": "busybox", "Cmd": ["sleep", "600"]});
                if published {
                    body["ExposedPorts"] = json!({"80/tcp": {}});
                    body["HostConfig"] = json!({"PortBindings": {"80/tcp": [{"HostPort": "0"}]}});
                }
                tell(&name, Told::Unknown);
                http.try_post(&format!("/containers/create?name={name}"), &body)
                    .and_then(|(status, answer)| {
                        assert_eq!(status, 201, "{answer}");
                        tell(&name, Told::Created);
                        let (status, answer) = {
                            tell(&name, Told::Unknown);
                            http.try_post(&format!("/containers/{name}/start"), &Value::Null)?
                        };
                        assert_eq!(status, 204, "{answer}");
                        tell(&name, Told::Running);
                        Ok(())
                    })
            }
            (4, Some((name, Told::Running))) => {
                let body = json!({"Cmd": ["true"], "AttachStdout": true});
                http.try_post(&format!("/containers/{name}/exec"), &body)
                    .and_then(|(_, exec)| {
                        let id = exec["Id"].as_str().unwrap_or("x").to_owned();
                        http.try_post(&format!("/exec/{id}/start"), &json!({}))?;
                        Ok(())
                    })
            }
            (5 | 6, Some((name, Told::Running | Told::Unknown))) => {
                tell(&name, Told::Unknown);
                http.try_post(&format!("/containers/{name}/stop?t=0"), &Value::Null)
                    .map(|(status, _)| {
                        if [204, 304].contains(&status) {
                            tell(&name, Told::Stopped);
                        }
                    })
            }
            (7, _) => {
                known.lock().unwrap().pulled = None;
                http.try_send(
                    "POST",
                    &format!("/images/create?fromImage={image}&tag=latest"),
                    &[],
                    b"",
                )
                .and_then(|mut pull| {
                    let text = String::from_utf8_lossy(&pull.try_bytes()?).into_owned();
                    assert!(!text.contains("errorDetail"), "{text}");
                    if text.contains("Status: ") {
                        known.lock().unwrap().pulled = Some(true);
                    }
                    Ok(())
                })
            }
            (_, Some((name, _))) => {
                tell(&name, Told::Unknown);
                http.try_send("DELETE", &format!("/containers/{name}?force=1"), &[], b"")
                    .map(|answer| {
                        if [204, 404].contains(&answer.status) {
                            tell(&name, Told::Removed);
                        }
                    })
            }
            _ => Ok(()),
        };
        if answer.is_err() {
            return;
        }
    }
}

/// What must hold after every restart.
fn check(engine: &Engine, known: &Mutex<Known>, image: &str, context: &str) {
    let (status, listed) = engine.http().get("/containers/json?all=1");
    assert_eq!(status, 200, "{context}");
    let states: BTreeMap<String, String> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|container| {
            let name = container["Names"][0]
                .as_str()
                .unwrap()
                .trim_start_matches('/')
                .to_owned();
            (name, container["State"].as_str().unwrap().to_owned())
        })
        .collect();
    let mut known = known.lock().unwrap();
    for (name, told) in &mut known.containers {
        let state = states.get(name).map(String::as_str);
        let right = match told {
            Told::Created => state == Some("created"),
            Told::Running => state == Some("running"),
            Told::Stopped => matches!(state, Some("created" | "exited")),
            Told::Removed => state.is_none(),
            Told::Unknown => matches!(state, None | Some("created" | "running" | "exited")),
        };
        assert!(
            right,
            "{context}: {name} was told {told:?} and is {state:?}"
        );
        // What was cut short may still be carried out: it stays open until somebody is told.
        *told = match state {
            None => Told::Removed,
            Some(_) if *told == Told::Unknown => Told::Unknown,
            Some("running") => Told::Running,
            Some("exited") => Told::Stopped,
            Some(_) => Told::Created,
        };
    }
    for name in states.keys() {
        assert!(
            known.containers.contains_key(name),
            "{context}: {name} came from nowhere"
        );
    }
    let running: BTreeSet<&String> = states
        .iter()
        .filter(|(_, state)| *state == "running")
        .map(|(name, _)| name)
        .collect();
    for name in &running {
        assert!(alive(pid(engine, name)), "{context}: {name} has no process");
    }
    if known.pulled == Some(true) {
        let (status, _) = engine.http().get(&format!("/images/{image}:latest/json"));
        assert_eq!(status, 200, "{context}: the pulled image is gone");
    }
    known.containers.retain(|_, told| *told != Told::Removed);
}

#[test]
fn two_hundred_kills_lose_nothing_and_leak_nothing() {
    let engine = Engine::start();
    if !engine.is_own() {
        return;
    }
    let rounds: u64 = std::env::var("ARCA_TEST_ROUNDS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(200);
    let seed: u64 = std::env::var("ARCA_TEST_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or_else(|| u64::from(std::process::id()) * 0x9e37_79b9 + 1);
    let registry = Registry::start(&engine);
    registry.publish(&engine, "busybox:latest", "crash:latest");
    let image = registry.image("crash");
    engine
        .docker(&["run", "--rm", "-p", "0:80", "busybox", "true"])
        .ok();
    // The open files of another process of arcad cannot be compared by number: restart first.
    engine.kill_9();
    engine.launch();
    engine
        .docker(&["run", "--rm", "-p", "0:80", "busybox", "true"])
        .ok();
    let before = Snapshot::take(&engine);
    let known = Mutex::new(Known::default());
    let mut dice = Dice(seed);
    for round in 0..rounds {
        let context = format!("round {round} of seed {seed}");
        std::thread::scope(|scope| {
            for client in 0..2 {
                let mut own =
                    Dice(seed ^ (round * 2 + client + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
                let (engine, known, image) = (&engine, &known, &image);
                scope.spawn(move || work(engine, known, &mut own, &format!("c{client}-"), image));
            }
            // The moment of the kill is the one thing that no event can tell.
            let moment = Duration::from_micros(dice.below(120_000));
            eventually_within(Duration::from_secs(5), "the moment", {
                let begin = std::time::Instant::now();
                move || (begin.elapsed() >= moment).then_some(())
            });
            engine.kill_9();
        });
        engine.launch();
        check(&engine, &known, &image, &context);
        if round % 20 == 19 || round + 1 == rounds {
            for name in std::mem::take(&mut known.lock().unwrap().containers).keys() {
                let (status, error) = engine.http().delete(&format!("/containers/{name}?force=1"));
                assert_eq!(status, 204, "{context}: {error}");
            }
            engine.http().delete(&format!("/images/{image}:latest"));
            known.lock().unwrap().pulled = None;
            // The process is another one, so its open files are not compared.
            before.settled_without(&engine, &["open files"]);
        }
    }
}
