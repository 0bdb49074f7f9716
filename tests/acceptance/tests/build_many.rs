//! Many builds at once, builds that are broken off, and builds whose daemon dies: `ARCA_TEST_ROUNDS` says
//! how often.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "what a test needs fails the test where it stands"
)]

use std::io::Read as _;
use std::path::Path;
use std::process::{Child, Stdio};

use arca_testkit::{Engine, Snapshot, eventually};

fn rounds(usual: u64) -> u64 {
    let given = std::env::var("ARCA_TEST_ROUNDS").ok();
    given.and_then(|text| text.parse().ok()).unwrap_or(usual)
}

fn context(dockerfile: &str) -> tempfile::TempDir {
    let context = tempfile::tempdir().unwrap();
    std::fs::write(context.path().join("Dockerfile"), dockerfile).unwrap();
    std::fs::write(context.path().join("file"), "file\n").unwrap();
    context
}

/// Which builder the client asks for (`DOCKER_BUILDKIT`).
const BUILDERS: [&str; 2] = ["0", "1"];

fn spawn(engine: &Engine, builder: &str, context: &Path, options: &[&str]) -> Child {
    let mut arguments = vec!["build"];
    arguments.extend(options);
    arguments.push(context.to_str().unwrap());
    let mut command = engine.docker_command(&arguments);
    command
        .env("DOCKER_BUILDKIT", builder)
        .env("BUILDKIT_PROGRESS", "plain")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command.spawn().unwrap()
}

#[track_caller]
fn succeeded(build: Child) -> String {
    let output = build.wait_with_output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    assert!(output.status.success(), "{text}");
    text
}

/// Reads so many bytes of what the client shows, or all if that is less.
fn read_some(build: &mut Child, builder: &str, bytes: usize) -> usize {
    let mut some = vec![0; bytes];
    let mut read = 0;
    while read < bytes {
        // The classic builder's client shows its progress on the other stream.
        let more = match builder {
            "0" => build.stdout.as_mut().unwrap().read(&mut some[read..]),
            _ => build.stderr.as_mut().unwrap().read(&mut some[read..]),
        };
        match more.unwrap() {
            0 => break,
            more => read += more,
        }
    }
    read
}

#[test]
fn a_dockerfile_may_be_as_long_as_an_image_may_be_high() {
    let engine = Engine::start();
    let image = engine.name("long");
    let mut dockerfile = "FROM busybox:latest\n".to_owned();
    for number in 0..60 {
        dockerfile += &format!(
            "COPY file /{number}\nRUN --mount=type=tmpfs,target=/t echo {number} > /last\n"
        );
    }
    let context = context(&dockerfile);
    succeeded(spawn(&engine, "1", context.path(), &["-t", &image]));
    let ran = engine.docker(&["run", "--rm", &image, "cat", "/59", "/last"]);
    assert!(ran.ok().ends_with("59"));
}

#[test]
fn ten_builds_at_once_share_steps_and_cache_mounts() {
    let engine = Engine::start();
    let name = engine.name("many");
    let context = context(&format!(
        "FROM busybox:latest\nCOPY file /file\n\
         RUN --mount=type=cache,id={name},target=/c echo once >> /c/shared && cp /c/shared /shared\n\
         ARG N\n\
         RUN --mount=type=cache,id={name},target=/c,sharing=locked echo $N >> /c/own && cp /c/own /own && echo $N > /n\n\
         CMD [\"cat\", \"/shared\", \"/n\"]\n"
    ));
    let image = |n: usize| format!("{name}:{n}");
    let builds: Vec<Child> = (0..10)
        .map(|n| {
            let (image, argument) = (image(n), format!("N={n}"));
            let options = ["-t", image.as_str(), "--build-arg", &argument];
            spawn(&engine, "1", context.path(), &options)
        })
        .collect();
    for build in builds {
        succeeded(build);
    }
    for n in 0..10 {
        let ran = engine.docker(&["run", "--rm", &image(n)]).ok();
        assert_eq!(ran, format!("once\n{n}"), "a step of all ran once");
    }
    let all: Vec<String> = (0..10)
        .map(|n| {
            let own = ["run", "--rm", &image(n), "cat", "/own"];
            engine.docker(&own).ok()
        })
        .collect();
    let last = all.iter().max_by_key(|own| own.lines().count()).unwrap();
    let mut seen: Vec<&str> = last.lines().collect();
    seen.sort_unstable();
    let each: Vec<String> = (0..10).map(|n| n.to_string()).collect();
    assert_eq!(
        seen, each,
        "a locked cache directory had one user at a time"
    );
    for n in 0..10 {
        engine.docker(&["rmi", &image(n)]).ok();
    }
}

/// Steps with output and a pause. The classic builder knows no mounts.
fn steps(builder: &str) -> tempfile::TempDir {
    match builder {
        "0" => context(&STEPS.replace("--mount=type=cache,target=/c ", "mkdir /c; ")),
        _ => context(STEPS),
    }
}

const STEPS: &str = "FROM busybox:latest\nCOPY file /file\n\
     RUN seq 1 2000 | tee /a | tail -n 20\n\
     RUN --mount=type=cache,target=/c seq 1 2000 | tee /b | tail -n 20; sleep 0.3; echo x >> /c/n\n\
     COPY file /copy\nCMD [\"cat\", \"/copy\"]\n";

/// Removes what the classic builder leaves: containers like others.
fn remove_containers(engine: &Engine) {
    let ids = engine.docker(&["ps", "-aq"]).ok();
    for id in ids.lines() {
        engine.docker(&["rm", "-f", id]);
    }
}

#[test]
fn builds_that_are_broken_off_leave_nothing() {
    let engine = Engine::start();
    if !engine.is_own() {
        // What is left behind is looked for in the engine's own directories.
        return;
    }
    let [classic, context] = BUILDERS.map(steps);
    let image = engine.name("broken-off");
    // What runs once for all builds is there after the first.
    succeeded(spawn(&engine, "1", context.path(), &["-t", &image]));
    let prune = ["builder", "prune", "--all", "--force"];
    engine.docker(&prune).ok();
    let before = Snapshot::take(&engine);
    for round in 0..rounds(4) {
        let builds: Vec<(Child, &str)> = BUILDERS
            .into_iter()
            .chain(["1"])
            .map(|builder| {
                let context = if builder == "0" { &classic } else { &context };
                let build = spawn(&engine, builder, context.path(), &["--no-cache"]);
                (build, builder)
            })
            .collect();
        for (number, (mut build, builder)) in (0..).zip(builds) {
            let moment = usize::try_from((1 + 311 * round + 173 * number) % 1400).unwrap();
            read_some(&mut build, builder, moment);
            let pid = rustix::process::Pid::from_child(&build);
            let signal = match (round + number) % 2 {
                0 => rustix::process::Signal::INT,
                _ => rustix::process::Signal::KILL,
            };
            rustix::process::kill_process(pid, signal).unwrap();
            build.wait_with_output().unwrap();
        }
        // A container that ended just before its build did stays, as with dockerd, and so does its snapshot;
        // steps that were done are in the cache.
        eventually(
            "of the builds nothing but containers and cache is left",
            || {
                remove_containers(&engine);
                engine.docker(&prune).ok();
                let mut left = Snapshot::take(&engine).since(&before);
                left.retain(|line| !line.starts_with("open files"));
                left.is_empty().then_some(())
            },
        );
    }
    succeeded(spawn(
        &engine,
        "1",
        context.path(),
        &["--no-cache", "-t", &image],
    ));
    assert_eq!(engine.docker(&["run", "--rm", &image]).ok(), "file");
}

#[test]
fn builds_whose_daemon_dies_leave_nothing_and_can_be_repeated() {
    let engine = Engine::start();
    if !engine.is_own() {
        return;
    }
    let contexts = BUILDERS.map(steps);
    let image = engine.name("killed");
    let count = |directory: &Path| std::fs::read_dir(directory).map_or(0, Iterator::count);
    for round in 0..rounds(4) {
        let number = usize::try_from(round % 2).unwrap();
        let (builder, context) = (BUILDERS[number], &contexts[number]);
        // With what survived of the rounds before, or without.
        let cache =
            ["--no-cache=true", "--no-cache=false"][usize::try_from(round / 2 % 2).unwrap()];
        let mut build = spawn(&engine, builder, context.path(), &[cache]);
        let moment = usize::try_from((40 + 497 * round) % 1500).unwrap();
        let read = read_some(&mut build, builder, moment);
        engine.kill_9();
        build.kill().unwrap();
        build.wait_with_output().unwrap();
        engine.launch();
        // The classic builder's containers are containers like others, and stay until they are removed.
        remove_containers(&engine);
        for what in ["data/snapshots", "run/shims"] {
            let directory = match what {
                "data/snapshots" => engine.data_root().join("snapshots"),
                _ => engine.exec_root().join("shims"),
            };
            assert_eq!(count(&directory), 0, "round {round}, {read} bytes: {what}");
        }
        succeeded(spawn(&engine, builder, context.path(), &["-t", &image]));
        let ran = [
            "run",
            "--rm",
            &image,
            "sh",
            "-c",
            "cat /copy; tail -n 1 /a /b",
        ];
        let ran = engine.docker(&ran).ok();
        assert!(
            ran.starts_with("file\n") && ran.matches("2000").count() == 2,
            "{ran}"
        );
    }
}
