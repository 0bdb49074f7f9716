//! The classic builder: `DOCKER_BUILDKIT=0 docker build`, and `POST /build` as other clients use it.

#![expect(
    clippy::unwrap_used,
    reason = "what a test needs fails the test where it stands"
)]

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::process::Command;

use arca_testkit::Engine;

/// A context on disk.
struct Context(tempfile::TempDir);

impl Context {
    fn new(dockerfile: &str) -> Self {
        let context = Self(tempfile::tempdir().unwrap());
        context.write("Dockerfile", dockerfile);
        context
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.0.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn path(&self) -> &str {
        self.0.path().to_str().unwrap()
    }
}

struct Built {
    code: i32,
    stdout: String,
    stderr: String,
}

fn command(engine: &Engine, arguments: &[&str]) -> Command {
    let mut all = vec!["build"];
    all.extend(arguments);
    let mut command = engine.docker_command(&all);
    command.env("DOCKER_BUILDKIT", "0");
    command
}

fn build(engine: &Engine, arguments: &[&str]) -> Built {
    let output = command(engine, arguments).output().unwrap();
    Built {
        code: output.status.code().unwrap(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

fn built(engine: &Engine, arguments: &[&str]) -> String {
    let done = build(engine, arguments);
    assert_eq!(done.code, 0, "{}\n{}", done.stdout, done.stderr);
    done.stdout
}

#[test]
fn a_dockerfile_becomes_an_image() {
    let engine = Engine::start();
    let image = engine.name("app");
    let context = Context::new(
        "ARG BASE=busybox\nFROM $BASE AS one\nARG WHO=world\nENV A=b\nWORKDIR /w\nCOPY f sub/\nRUN echo hello $WHO > greeting && echo shown\n\
         FROM busybox\nCOPY --from=one /w /w\nADD arch.tar /un\nLABEL k=v\nUSER 1000\nEXPOSE 80\nVOLUME /data\nCMD [\"cat\", \"/w/greeting\"]\n",
    );
    context.write("f", "file");
    context.write("in/inner", "unpacked");
    let archive = context.0.path().join("arch.tar");
    let packed = Command::new("tar")
        .arg("cf")
        .arg(&archive)
        .args(["-C", context.path(), "in"])
        .status();
    assert!(packed.unwrap().success());
    let out = built(
        &engine,
        &["-t", &image, "--build-arg", "WHO=there", context.path()],
    );
    assert!(out.contains("Step 1/15 : ARG BASE=busybox"), "{out}");
    assert!(out.contains("Step 7/15 : RUN echo hello $WHO"), "{out}");
    assert!(out.contains(" ---> Running in "), "{out}");
    assert!(out.contains("shown\n"), "{out}");
    assert!(out.contains("Removed intermediate container"), "{out}");
    assert!(out.contains("Successfully built "), "{out}");
    assert!(
        out.contains(&format!("Successfully tagged {image}:latest")),
        "{out}"
    );
    assert_eq!(engine.docker(&["run", "--rm", &image]).ok(), "hello there");
    let seen = ["run", "--rm", &image, "cat", "/w/sub/f", "/un/in/inner"];
    assert_eq!(engine.docker(&seen).ok(), "fileunpacked");
    let config = "{{.Config.User}} {{.Config.Labels.k}} {{json .Config.ExposedPorts}} {{json .Config.Volumes}}";
    assert_eq!(
        engine
            .docker(&["image", "inspect", "-f", config, &image])
            .ok(),
        r#"1000 v {"80/tcp":{}} {"/data":{}}"#
    );
    let history = engine
        .docker(&[
            "history",
            "--no-trunc",
            "--format",
            "{{.CreatedBy}}",
            &image,
        ])
        .ok();
    assert!(
        history.starts_with("/bin/sh -c #(nop)  CMD [\"cat\" \"/w/greeting\"]\n"),
        "{history}"
    );
    assert!(
        history.contains("/bin/sh -c #(nop)  VOLUME [/data]"),
        "{history}"
    );
    engine.docker(&["rmi", &image]).ok();
}

#[test]
fn what_was_built_is_built_again_only_when_something_changes() {
    let engine = Engine::start();
    let context = Context::new("FROM busybox\nCOPY f /f\nRUN cat /f > /g\nENV X=y\n");
    let unique = engine.name("cache");
    context.write("f", &unique);
    let count = |out: &str| out.matches("Using cache").count();
    assert_eq!(count(&built(&engine, &[context.path()])), 0);
    assert_eq!(count(&built(&engine, &[context.path()])), 3);
    let touched = std::fs::File::options()
        .write(true)
        .open(context.0.path().join("f"))
        .unwrap();
    touched
        .set_modified(std::time::SystemTime::UNIX_EPOCH)
        .unwrap();
    assert_eq!(count(&built(&engine, &[context.path()])), 3);
    context.write("f", &format!("{unique} changed"));
    assert_eq!(count(&built(&engine, &[context.path()])), 0);
    assert_eq!(count(&built(&engine, &["--no-cache", context.path()])), 0);
    context.write(
        "Dockerfile",
        "FROM busybox\nCOPY f /f\nRUN cat /f > /h\nENV X=y\n",
    );
    assert_eq!(count(&built(&engine, &[context.path()])), 1);
}

#[test]
fn failures_are_told_in_dockerds_words() {
    let engine = Engine::start();
    for (dockerfile, words) in [
        (
            "FROM busybox\nRUN exit 3\n",
            "The command '/bin/sh -c exit 3' returned a non-zero code: 3",
        ),
        (
            "FROM busybox\nCOPY none /x\n",
            "COPY failed: file not found in build context or excluded by .dockerignore: stat none: file does not exist",
        ),
        (
            "FROM busybox\nRUN --mount=type=tmpfs,target=/x true\n",
            "the --mount option requires BuildKit",
        ),
        (
            "FROM busybox\nFOO x\n",
            "dockerfile parse error on line 2: unknown instruction: FOO",
        ),
        (
            "FROM busybox\nUSER nosuch\nRUN true\n",
            "unable to find user nosuch: no matching entries in passwd file",
        ),
    ] {
        let context = Context::new(dockerfile);
        let done = build(&engine, &["--force-rm", context.path()]);
        assert_ne!(done.code, 0, "{dockerfile}");
        assert!(
            done.stderr.contains(words),
            "{}\n{}",
            done.stdout,
            done.stderr
        );
    }
    let code = build(
        &engine,
        &[
            "--force-rm",
            Context::new("FROM busybox\nRUN exit 3\n").path(),
        ],
    );
    assert_eq!(code.code, 3);
    // A quiet one tells what it said all the same.
    let context = Context::new("FROM busybox\nRUN echo because && exit 4\n");
    let quiet = build(&engine, &["-q", "--force-rm", context.path()]);
    assert!(
        quiet.code == 4 && quiet.stderr.contains("because\n"),
        "{}",
        quiet.stderr
    );
    let context = Context::new("FROM busybox\n");
    let done = build(&engine, &["--target", "zz", context.path()]);
    assert!(
        done.stderr
            .contains("target stage \"zz\" could not be found"),
        "{}",
        done.stderr
    );
}

#[test]
fn ignored_files_are_not_sent_into_images_and_nothing_outside_is_read() {
    let engine = Engine::start();
    let image = engine.name("ignore");
    let context =
        Context::new("FROM busybox\nCOPY . /ctx\nRUN ls -R /ctx > /list\nCMD cat /list\n");
    context.write(".dockerignore", "*.log\n!keep.log\nsecret\n");
    for path in ["a.log", "keep.log", "secret/key", "plain"] {
        context.write(path, path);
    }
    built(&engine, &["-t", &image, context.path()]);
    let list = engine.docker(&["run", "--rm", &image]).ok();
    assert!(
        list.contains("keep.log") && list.contains("plain"),
        "{list}"
    );
    assert!(
        !list.contains("a.log") && !list.contains("secret"),
        "{list}"
    );
    engine.docker(&["rmi", &image]).ok();
    let context = Context::new("FROM busybox\nCOPY out /x\n");
    std::os::unix::fs::symlink("/etc/shadow", context.0.path().join("out")).unwrap();
    let done = build(&engine, &["--force-rm", context.path()]);
    assert_ne!(done.code, 0, "{}", done.stdout);
}

#[test]
fn contexts_come_compressed_and_dockerfiles_under_other_names() {
    let engine = Engine::start();
    let context = Context::new("FROM scratch\nCOPY x /\n");
    context.write("other/file", "FROM busybox\nCOPY x /x\nLABEL way=other\n");
    context.write("x", "x");
    for (flag, name) in [
        ("-c", "plain"),
        ("-cz", "gzip"),
        ("-cj", "bzip2"),
        ("-cJ", "xz"),
        ("-c", "zstd"),
    ] {
        let image = engine.name(name);
        let mut tar = Command::new("tar");
        tar.args([flag, "-f", "-", "-C", context.path()]);
        if name == "zstd" {
            tar.arg("--zstd");
        }
        let archive = tar.arg(".").output().unwrap();
        assert!(archive.status.success(), "{name}");
        let path = format!("/v1.51/build?t={image}&dockerfile=other/file&q=1");
        let headers = [("Content-Type", "application/x-tar")];
        let mut answer = engine.http().send("POST", &path, &headers, &archive.stdout);
        let mut lines = Vec::new();
        while let Some(line) = answer.line(&mut lines) {
            assert!(line.contains("sha256:"), "{name}: {line}");
        }
        let label = ["image", "inspect", "-f", "{{.Config.Labels.way}}", &image];
        assert_eq!(engine.docker(&label).ok(), "other", "{name}");
        engine.docker(&["rmi", &image]).ok();
    }
}

#[test]
fn a_dockerfile_may_come_by_standard_input_beside_a_context() {
    let engine = Engine::start();
    let context = Context::new("FROM nosuch\n");
    context.write("f", "content");
    let name = engine.name("beside");
    let dockerfile = context.0.path().join("elsewhere");
    std::fs::write(&dockerfile, "FROM busybox\nCOPY f /f\n").unwrap();
    // The client ends its archive without the fill behind the last file.
    let mut build = command(&engine, &["-q", "-t", &name, "-f", "-", context.path()]);
    let output = build.stdin(std::fs::File::open(&dockerfile).unwrap());
    let output = output.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let seen = ["run", "--rm", &name, "cat", "/f"];
    assert_eq!(engine.docker(&seen).ok(), "content");
    engine.docker(&["rmi", &name]).ok();
}

#[test]
fn what_says_nothing_changes_nothing() {
    let engine = Engine::start();
    let name = engine.name("nothing");
    let context = Context::new(
        "FROM busybox\nARG A=default\nRUN echo $A > /a\nENTRYPOINT [\"cat\", \"/a\"]\nCMD []\n",
    );
    let mut build = command(
        &engine,
        &["-q", "-t", &name, "--build-arg", "A", context.path()],
    );
    let output = build.env_remove("A").output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(engine.docker(&["run", "--rm", &name]).ok(), "default");
    let inspect = ["image", "inspect", "-f", "{{json .Config.Cmd}}", &name];
    assert_eq!(engine.docker(&inspect).ok(), "null");
    engine.docker(&["rmi", &name]).ok();
}

#[test]
fn what_cannot_be_is_refused() {
    let engine = Engine::start();
    for (dockerfile, refusal) in [
        (
            "FROM busybox\nRUN touch /f\nVOLUME /f\n",
            "cannot mount volume over existing file, file exists ",
        ),
        (
            "FROM busybox\nCOPY --from=0 f /f\n",
            "invalid from flag value 0: refers to current build stage",
        ),
        (
            "FROM busybox\nCOPY --from=1 f /f\n",
            "invalid from flag value 1: index out of bounds",
        ),
    ] {
        let refused = build(&engine, &[Context::new(dockerfile).path()]);
        assert_eq!(refused.code, 1, "{dockerfile}");
        assert!(refused.stderr.contains(refusal), "{}", refused.stderr);
    }
}

/// Serves one file, with the time of its last change or without, to two builders.
fn serve(listener: &TcpListener, modified: &str) {
    for _builder in 0..2 {
        let (mut client, _) = listener.accept().unwrap();
        let mut head = BufReader::new(&client);
        let mut line = String::new();
        while line != "\r\n" {
            line.clear();
            head.read_line(&mut line).unwrap();
        }
        let answer = format!(
            "HTTP/1.1 200 OK\r\n{modified}Content-Length: 4\r\nConnection: close\r\n\r\nfile"
        );
        client.write_all(answer.as_bytes()).unwrap();
    }
}

#[test]
fn downloaded_files_have_the_time_of_their_last_change() {
    let engine = Engine::start();
    let listener = engine.in_netns(|| TcpListener::bind("127.0.0.1:0").unwrap());
    let address = listener.local_addr().unwrap();
    let name = engine.name("dated");
    let times = [
        (
            "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n",
            "784111777",
        ),
        ("", "0"),
    ];
    let asked = times.map(|(modified, _)| modified);
    let server = std::thread::spawn(move || asked.iter().for_each(|m| serve(&listener, m)));
    for (_, time) in times {
        let context = Context::new(&format!("FROM busybox\nADD http://{address}/f /\n"));
        let seen = ["run", "--rm", &name, "stat", "-c", "%Y %a", "/f"];
        built(&engine, &["--no-cache", "-t", &name, context.path()]);
        assert_eq!(engine.docker(&seen).ok(), format!("{time} 600"));
        let path = std::path::Path::new(context.path());
        let done = engine.buildx_build(path, &["--no-cache", "-t", &name]);
        done.expect(0);
        assert_eq!(engine.docker(&seen).ok(), format!("{time} 600"));
    }
    server.join().unwrap();
    engine.docker(&["rmi", &name]).ok();
}

#[test]
fn what_a_container_has_made_is_told() {
    let engine = Engine::start();
    let context = Context::new("FROM busybox\nENV A=b\nCOPY f /f\nRUN echo made > /made\n");
    context.write("f", "f");
    let name = engine.name("told");
    let mut events = engine.events("");
    built(&engine, &["--no-cache", "-t", &name, context.path()]);
    events.wait("tag", &format!("{name}:latest"));
    let history = engine.docker(&["history", "-q", "--no-trunc", &name]).ok();
    let ids: Vec<&str> = history.lines().collect();
    assert_eq!(events.actions(ids[0]), ["create", "tag"]);
    assert!(events.actions(ids[1]).is_empty(), "files");
    assert_eq!(events.actions(ids[2]), ["create"]);

    let path = std::path::Path::new(context.path());
    let done = engine.buildx_build(path, &["--no-cache", "-t", &name]);
    done.expect(0);
    let inspect = ["image", "inspect", "--format", "{{.Id}}", &name];
    let id = engine.docker(&inspect).ok();
    events.wait("create", &id);
    assert_eq!(events.actions(&id), ["tag", "create"]);
    engine.docker(&["rmi", &name, ids[0]]).ok();
}
