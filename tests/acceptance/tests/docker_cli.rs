//! Docker clients of several ages, and a client that reaches the engine by ssh.
#![expect(
    clippy::unwrap_used,
    reason = "what a test needs fails the test where it stands"
)]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use arca_testkit::{Engine, docker_of};

/// Ends a client that hangs.
const LONGEST: &str = "100";

/// Runs a client of some age.
fn aged(client: &Path, engine: &Engine, config: &Path) -> Command {
    let mut command = Command::new("timeout");
    command
        .arg(LONGEST)
        .arg(client)
        .env("DOCKER_CONFIG", config)
        .env_remove("DOCKER_API_VERSION")
        .env(
            "DOCKER_HOST",
            format!("unix://{}", engine.http().socket().display()),
        );
    command
}

/// Runs the client of 2020.
fn old(engine: &Engine, config: &Path, buildkit: &str, arguments: &[&str]) -> Output {
    aged(&docker_of("20.10"), engine, config)
        .args(arguments)
        .env("DOCKER_BUILDKIT", buildkit)
        .output()
        .unwrap()
}

#[track_caller]
fn ok(output: Output) -> String {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {text}{errors}", output.status);
    text.trim().to_owned()
}

/// The life of a container by a client that speaks a version of the API.
fn life(age: &str, api: &str) {
    let engine = Engine::start();
    let config = tempfile::tempdir().unwrap();
    let client = docker_of(age);
    let docker = |arguments: &[&str]| {
        let mut command = aged(&client, &engine, config.path());
        command.args(arguments).output().unwrap()
    };
    let version = ok(docker(&["version", "--format", "{{.Client.APIVersion}}"]));
    assert_eq!(version, api);
    let name = engine.name("old");
    let script = "echo out; trap 'exit 4' TERM; while :; do sleep 0.1; done";
    let run = [
        "run",
        "-d",
        "--name",
        &name,
        "-e",
        "A=b",
        "-m",
        "64m",
        "-p",
        "127.0.0.1::80",
        "busybox",
        "sh",
        "-c",
        script,
    ];
    let id = ok(docker(&run));
    assert!(ok(docker(&["ps", "--no-trunc"])).contains(&id));
    assert_eq!(ok(docker(&["exec", &name, "sh", "-c", "echo $A"])), "b");
    assert!(ok(docker(&["port", &name])).starts_with("80/tcp -> 127.0.0.1:"));
    let memory = ["inspect", "-f", "{{.HostConfig.Memory}}", &name];
    assert_eq!(ok(docker(&memory)), "67108864");
    assert!(ok(docker(&["stats", "--no-stream", &name])).contains("64MiB"));
    assert!(ok(docker(&["top", &name])).contains("PID"));
    ok(docker(&["cp", &format!("{name}:/etc/passwd"), "-"]));
    ok(docker(&["pause", &name]));
    ok(docker(&["unpause", &name]));
    ok(docker(&["stop", &name]));
    assert_eq!(ok(docker(&["wait", &name])), "4");
    assert!(ok(docker(&["logs", &name])).contains("out"));
    ok(docker(&["rm", &name]));
    let gone = docker(&["inspect", &name]);
    assert_eq!(gone.status.code(), Some(1));
}

#[test]
fn a_client_of_2020_runs_containers() {
    life("20.10", "1.41");
}

#[test]
fn a_client_of_2024_runs_containers() {
    life("26.1", "1.45");
}

#[test]
fn the_newest_client_runs_containers() {
    life("newest", "1.51");
}

/// The client speaks whichever version it is told to, from the oldest that the engine answers to the newest.
#[test]
fn every_version_of_the_api_runs_containers() {
    let engine = Engine::start();
    let config = tempfile::tempdir().unwrap();
    let client = docker_of("newest");
    let speak = |minor: u32| {
        let version = format!("1.{minor}");
        let docker = |arguments: &[&str]| {
            let mut command = aged(&client, &engine, config.path());
            command.env("DOCKER_API_VERSION", &version);
            ok(command.args(arguments).output().unwrap())
        };
        let spoken = docker(&["version", "--format", "{{.Client.APIVersion}}"]);
        assert_eq!(spoken, version);
        let name = engine.name(&format!("of-{minor}"));
        let echo = ["run", "--name", &name, "-e", "A=b", "busybox"];
        let script = ["sh", "-c", "echo $A; exit 0"];
        assert_eq!(docker(&[&echo[..], &script].concat()), "b");
        let filter = format!("name={name}");
        let listed = docker(&["ps", "-aq", "--no-trunc", "--filter", &filter]);
        assert_eq!(docker(&["inspect", "-f", "{{.Id}}", &name]), listed);
        assert_eq!(docker(&["logs", &name]), "b");
        assert!(docker(&["image", "ls", "-q"]).lines().count() > 0);
        docker(&["rm", &name]);
    };
    std::thread::scope(|scope| {
        for first in 0..4 {
            scope.spawn(move || (24..=51).skip(first).step_by(4).for_each(speak));
        }
    });
    // Older and newer ones are refused, by the engine or by the client.
    for version in ["1.23", "1.99"] {
        let mut command = aged(&client, &engine, config.path());
        let refused = command
            .env("DOCKER_API_VERSION", version)
            .arg("ps")
            .output();
        assert!(!refused.unwrap().status.success(), "{version}");
    }
}

/// docker-py 1.10 speaks the oldest version that the engine answers, and nothing else.
#[test]
fn a_python_client_of_2016_runs_containers() {
    let engine = Engine::start();
    let output = Command::new("timeout")
        .arg(LONGEST)
        .arg(arca_testkit::old_docker_py())
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/python/life_2016.py"))
        .env(
            "DOCKER_HOST",
            format!("unix://{}", engine.http().socket().display()),
        )
        .output();
    assert_eq!(ok(output.unwrap()), "docker-py 1.10: ok");
}

#[test]
fn a_client_of_2020_builds_by_either_builder() {
    let engine = Engine::start();
    let config = tempfile::tempdir().unwrap();
    let context = tempfile::tempdir().unwrap();
    let dockerfile = "FROM busybox\nARG A=x\nCOPY file /\nRUN echo $A >>/file\nCMD cat /file\n";
    std::fs::write(context.path().join("Dockerfile"), dockerfile).unwrap();
    std::fs::write(context.path().join("file"), "f\n").unwrap();
    let path = context.path().to_str().unwrap();
    for buildkit in ["0", "1"] {
        let docker = |arguments: &[&str]| old(&engine, config.path(), buildkit, arguments);
        let tag = engine.name("old-built");
        let told = docker(&["build", "-t", &tag, "--build-arg", "A=y", path]);
        let progress = String::from_utf8_lossy(&told.stderr).into_owned();
        ok(told);
        assert_eq!(
            progress.contains("exporting to image"),
            buildkit == "1",
            "{progress}"
        );
        assert_eq!(ok(docker(&["run", "--rm", &tag])), "f\ny");
        let id = ok(docker(&["build", "-q", "-t", &tag, path]));
        let inspected = ok(docker(&["image", "inspect", "-f", "{{.Id}}", &tag]));
        assert_eq!(id, inspected);
        ok(docker(&["rmi", &tag]));
    }
}

#[test]
fn a_client_of_2020_builds_by_buildkit_from_its_input_and_to_its_disk() {
    let engine = Engine::start();
    let config = tempfile::tempdir().unwrap();
    let context = tempfile::tempdir().unwrap();
    std::fs::write(context.path().join("file"), "f\n").unwrap();
    std::fs::write(
        context.path().join("Dockerfile"),
        "FROM scratch\nCOPY file /copied\n",
    )
    .unwrap();
    let run = |script: &str| {
        let output = Command::new("timeout")
            .args([LONGEST, "sh", "-ec", script])
            .current_dir(context.path())
            .env("OLD", docker_of("20.10"))
            .env("DOCKER_CONFIG", config.path())
            .env("DOCKER_BUILDKIT", "1")
            .env(
                "DOCKER_HOST",
                format!("unix://{}", engine.http().socket().display()),
            )
            .output();
        output.unwrap()
    };
    // An archive travels by a request of its own.
    let id = ok(run("tar -c Dockerfile file | \"$OLD\" build -q -"));
    assert!(id.starts_with("sha256:"), "{id}");
    let again = ok(run("tar -cz Dockerfile file | \"$OLD\" build -q -"));
    assert_eq!(again, id);
    let alone = ok(run(
        "printf 'FROM busybox\\nLABEL a=b\\n' | \"$OLD\" build -q -",
    ));
    assert!(alone.starts_with("sha256:"), "{alone}");
    ok(run("\"$OLD\" build -q -o out ."));
    let copied = std::fs::read_to_string(context.path().join("out/copied")).unwrap();
    assert_eq!(copied, "f\n");
    // Secrets come by the session.
    std::fs::write(
        context.path().join("secret.Dockerfile"),
        "FROM busybox\nRUN --mount=type=secret,id=s test \"$(cat /run/secrets/s)\" = f\n",
    )
    .unwrap();
    let secret = "\"$OLD\" build --no-cache -q --secret id=s,src=file -f secret.Dockerfile .";
    let secret = ok(run(secret));
    // A build that fails ends, and says why.
    let failed = run("printf 'FROM busybox\\nRUN exit 7\\n' | \"$OLD\" build -");
    assert_eq!(failed.status.code(), Some(1));
    let text = String::from_utf8_lossy(&failed.stderr).into_owned();
    assert!(text.contains("exit code: 7"), "{text}");
    for id in [id, alone, secret] {
        engine.docker(&["rmi", "-f", &id]);
    }
}

/// A client reaches the engine by a context over ssh: `docker system dial-stdio` at the other end.
fn by_ssh(client: &Path) {
    let engine = Engine::start();
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    // Instead of a server: like one, it gives the words after the host to a shell.
    let script = format!(
        "#!/bin/sh\nwhile [ \"$1\" != there ]; do shift; done\nshift\nexport DOCKER_HOST=unix://{}\nexec sh -c \"$*\"\n",
        engine.http().socket().display()
    );
    std::fs::write(path("ssh"), script).unwrap();
    std::fs::set_permissions(path("ssh"), std::fs::Permissions::from_mode(0o755)).unwrap();
    std::os::unix::fs::symlink(client, path("docker")).unwrap();
    let programs = std::env::var("PATH").unwrap_or_default();
    let programs = format!("{}:{programs}", directory.path().display());
    let docker = |arguments: &[&str]| {
        Command::new("timeout")
            .arg(LONGEST)
            .arg(client)
            .args(arguments)
            .env("PATH", &programs)
            .env("DOCKER_CONFIG", path("config"))
            .env_remove("DOCKER_HOST")
            .output()
            .unwrap()
    };
    let host = "host=ssh://me@there";
    ok(docker(&["context", "create", "there", "--docker", host]));
    let there = |arguments: &[&str]| docker(&[&["--context", "there"], arguments].concat());
    let run = ["run", "--rm", "-i", "busybox", "sh", "-c"];
    let ran = there(&[&run[..], &["echo in; exit 3"]].concat());
    assert_eq!(String::from_utf8_lossy(&ran.stdout), "in\n", "{ran:?}");
    assert_eq!(ran.status.code(), Some(3));
    let name = engine.name("ssh");
    ok(there(&["run", "-d", "--name", &name, "busybox", "top"]));
    let hostname = ok(there(&["exec", &name, "hostname"]));
    let id = engine.docker(&["inspect", "-f", "{{.Id}}", &name]).ok();
    assert!(id.starts_with(&hostname), "{id} {hostname}");
}

#[test]
fn a_context_over_ssh_reaches_the_engine() {
    by_ssh(&arca_testkit::docker_cli());
}

#[test]
fn a_context_over_ssh_of_2020_reaches_the_engine() {
    by_ssh(&docker_of("20.10"));
}

#[test]
fn a_context_over_ssh_of_the_newest_client_reaches_the_engine() {
    by_ssh(&docker_of("newest"));
}
