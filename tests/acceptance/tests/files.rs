//! Files in and out of containers: `docker cp`, `diff`, `export`, `commit`, and the requests below them.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "what a test needs fails the test where it stands"
)]

use std::path::Path;

use arca_testkit::Engine;
use arca_testkit::archive::append;

/// What a container is doing when its files are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum When {
    Created,
    Running,
    Stopped,
}

const ALWAYS: [When; 3] = [When::Created, When::Running, When::Stopped];

/// A container that waits when it runs, with options and after a script.
fn container(engine: &Engine, when: When, options: &[&str], script: &str) -> String {
    let name = engine.name("files");
    let script = format!("{script}\ntouch /tmp/ready; exec sleep 1000");
    let mut arguments = vec!["create", "--name", &name, "--stop-timeout", "0"];
    arguments.extend(options);
    arguments.extend(["busybox", "sh", "-c", &script]);
    engine.docker(&arguments).expect(0);
    if when != When::Created {
        engine.docker(&["start", &name]).expect(0);
        arca_testkit::eventually("the container is ready", || {
            let ready = engine.docker(&["exec", &name, "test", "-e", "/tmp/ready"]);
            (ready.code == 0).then_some(())
        });
    }
    if when == When::Stopped {
        engine.docker(&["stop", &name]).expect(0);
    }
    name
}

fn at(name: &str, path: &str) -> String {
    format!("{name}:{path}")
}

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

/// A file of an archive.
fn member(archive: &mut Vec<u8>, path: &str, kind: u8, link: &str, content: &[u8]) {
    let mut block = [0_u8; 512];
    block[..path.len()].copy_from_slice(path.as_bytes());
    block[100..107].copy_from_slice(b"0006755");
    block[108..115].copy_from_slice(b"0002322");
    block[116..123].copy_from_slice(b"0000115");
    block[124..135].copy_from_slice(format!("{:011o}", content.len()).as_bytes());
    block[156] = kind;
    block[157..157 + link.len()].copy_from_slice(link.as_bytes());
    block[257..263].copy_from_slice(b"ustar\0");
    block[263..265].copy_from_slice(b"00");
    append(archive, block, content);
}

fn put(engine: &Engine, name: &str, query: &str, archive: &[u8]) -> (u16, String) {
    let path = format!("/v1.51/containers/{name}/archive?{query}");
    let headers = [("Content-Type", "application/x-tar")];
    let mut answer = engine.http().send("PUT", &path, &headers, archive);
    let text = String::from_utf8_lossy(&answer.bytes()).into_owned();
    (answer.status, text)
}

/// The output of tar on an archive.
fn listed(archive: &[u8]) -> Vec<String> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.tar");
    std::fs::write(&path, archive).unwrap();
    let output = std::process::Command::new("tar")
        .args(["-tPf", &text(&path)])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let names = String::from_utf8(output.stdout).unwrap();
    names.lines().map(str::to_owned).collect()
}

#[test]
fn files_are_copied_in_and_out_whatever_the_container_does() {
    let engine = Engine::start();
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    std::fs::create_dir_all(from.join("sub")).unwrap();
    std::fs::write(from.join("sub/file"), "inside").unwrap();
    std::os::unix::fs::symlink("file", from.join("sub/link")).unwrap();
    for when in ALWAYS {
        let name = container(&engine, when, &[], "");
        engine
            .docker(&["cp", &text(&from), &at(&name, "/tmp/new")])
            .expect(0);
        // The directory is there now: the copy goes into it; with `/.` only what is in it does.
        engine
            .docker(&["cp", &text(&from.join("sub")), &at(&name, "/tmp/new/")])
            .expect(0);
        let contents = format!("{}/.", from.join("sub").display());
        engine
            .docker(&["cp", &contents, &at(&name, "/tmp/new")])
            .expect(0);
        let out = to.join(format!("{when:?}"));
        std::fs::create_dir_all(&to).unwrap();
        engine
            .docker(&["cp", &at(&name, "/tmp/new"), &text(&out)])
            .expect(0);
        for path in ["sub/file", "file"] {
            let content = std::fs::read_to_string(out.join(path)).unwrap();
            assert_eq!(content, "inside", "{when:?} {path}");
        }
        let link = std::fs::read_link(out.join("link")).unwrap();
        assert_eq!(link, Path::new("file"));
        // A link as itself, and with -L what it leads to.
        let (plain, followed) = (dir.path().join("plain"), dir.path().join("followed"));
        engine
            .docker(&["cp", &at(&name, "/tmp/new/link"), &text(&plain)])
            .expect(0);
        assert!(plain.is_symlink());
        std::fs::remove_file(plain).unwrap();
        engine
            .docker(&["cp", "-L", &at(&name, "/tmp/new/link"), &text(&followed)])
            .expect(0);
        assert_eq!(std::fs::read_to_string(&followed).unwrap(), "inside");
        std::fs::remove_file(followed).unwrap();
        if when == When::Running {
            let seen = engine
                .docker(&["exec", &name, "cat", "/tmp/new/sub/file"])
                .ok();
            assert_eq!(seen, "inside");
        }
    }
}

#[test]
fn archives_go_through_standard_streams_with_their_owners() {
    let engine = Engine::start();
    let name = container(&engine, When::Created, &["--user", "7:8"], "");
    let mut archive = Vec::new();
    member(&mut archive, "theirs", b'0', "", b"x");
    member(&mut archive, "device", b'3', "", b"");
    archive.extend([0; 1024]);
    engine
        .docker_with(&["cp", "-", &at(&name, "/tmp")], &archive)
        .expect(0);
    engine
        .docker_with(&["cp", "-a", "-", &at(&name, "/var")], &archive)
        .expect(0);
    let out = engine.docker(&["cp", &at(&name, "/tmp"), "-"]).expect(0);
    assert_eq!(listed(&out.raw), ["tmp/", "tmp/device", "tmp/theirs"]);
    let script = "stat -c '%u:%g %a %F' /tmp/theirs; stat -c '%u:%g %t,%T %F' /tmp/device; \
                  stat -c %u:%g /var/theirs";
    let image = engine.name("image");
    engine.docker(&["commit", &name, &image]).expect(0);
    let seen = engine
        .docker(&["run", "--rm", "--user", "0", &image, "sh", "-c", script])
        .ok();
    let expected = "1234:77 6755 regular file\n1234:77 1,3 character special file\n7:8";
    assert_eq!(seen, expected);
    engine.docker(&["rmi", &image]).expect(0);
}

#[test]
fn volumes_and_binds_are_seen_whether_the_container_runs_or_not() {
    let engine = Engine::start();
    let host = tempfile::tempdir().unwrap();
    std::fs::write(host.path().join("file"), "bound").unwrap();
    for when in ALWAYS {
        let volume = engine.name("volume");
        let (bind, mount) = (
            format!("{}:/bound:ro", host.path().display()),
            format!("{volume}:/volume/deep"),
        );
        let name = container(&engine, when, &["-v", &bind, "-v", &mount], "");
        let out = engine
            .docker(&["cp", &at(&name, "/bound/file"), "-"])
            .expect(0);
        assert!(String::from_utf8_lossy(&out.raw).contains("bound"));
        engine
            .docker(&[
                "cp",
                &text(&host.path().join("file")),
                &at(&name, "/volume/deep"),
            ])
            .expect(0);
        let seen = engine
            .docker(&[
                "run",
                "--rm",
                "-v",
                &format!("{volume}:/v"),
                "busybox",
                "cat",
                "/v/file",
            ])
            .ok();
        assert_eq!(seen, "bound", "{when:?}");
        let into = at(&name, "/bound");
        let refused = engine.docker(&["cp", &text(&host.path().join("file")), &into]);
        assert_ne!(refused.code, 0);
        assert!(
            refused
                .stderr
                .contains("mounted volume is marked read-only"),
            "{}",
            refused.stderr
        );
        engine.docker(&["rm", "-f", &name]).expect(0);
        engine.docker(&["volume", "rm", &volume]).expect(0);
    }
}

#[test]
fn a_read_only_root_is_not_written_to_and_its_volumes_are() {
    let engine = Engine::start();
    let mut archive = Vec::new();
    member(&mut archive, "file", b'0', "", b"x");
    archive.extend([0; 1024]);
    for when in [When::Created, When::Running] {
        let name = container(
            &engine,
            when,
            &["--read-only", "-v", "/volume", "--tmpfs", "/tmp"],
            "",
        );
        let (status, text) = put(&engine, &name, "path=/etc", &archive);
        // The API's definition says 403, dockerd 400.
        assert!([400, 403].contains(&status), "{status}");
        assert!(
            text.contains("container rootfs is marked read-only"),
            "{text}"
        );
        assert_eq!(put(&engine, &name, "path=/volume", &archive).0, 200);
    }
}

#[test]
fn what_is_at_a_path_is_told() {
    let engine = Engine::start();
    let script = "ln -s /no/where /gone; ln -s etc /link; ln -s link/passwd /two";
    let name = container(&engine, When::Stopped, &[], script);
    let head = |path: &str| {
        let path = format!("/v1.51/containers/{name}/archive?path={path}");
        let answer = engine.http().send("HEAD", &path, &[], b"");
        let stat = answer.header("x-docker-container-path-stat");
        (answer.status, stat.map(decoded))
    };
    for (path, name, mode, target) in [
        ("/etc", "etc", 1_u64 << 31 | 0o755, ""),
        ("/etc/", "etc", 1 << 31 | 0o755, ""),
        ("/etc/.", ".", 1 << 31 | 0o755, ""),
        ("etc/../etc/passwd", "passwd", 0o644, ""),
        ("/tmp", "tmp", 1 << 31 | 1 << 20 | 0o777, ""),
        ("/gone", "gone", 1 << 27 | 0o777, "/no/where"),
        ("/link", "link", 1 << 27 | 0o777, "/etc"),
        ("/link/", "link", 1 << 31 | 0o755, ""),
        ("/two", "two", 1 << 27 | 0o777, "/etc/passwd"),
        ("/", "/", 1 << 31 | 0o755, ""),
    ] {
        let (status, stat) = head(path);
        assert_eq!(status, 200, "{path}");
        let stat: serde_json::Value = serde_json::from_slice(&stat.unwrap()).unwrap();
        assert_eq!(stat["name"], name, "{path}");
        assert_eq!(stat["mode"], mode, "{path}");
        assert_eq!(stat["linkTarget"], target, "{path}");
    }
    assert_eq!(head("/none").0, 404);
    assert_eq!(head("/gone/").0, 404);
    assert_eq!(head("").0, 400);
    assert_eq!(head("/bin/busybox/.").0, 500);
    let (status, answer) = engine
        .http()
        .get(&format!("/v1.51/containers/{name}/archive?path=/none"));
    let expected = format!("Could not find the file /none in container {name}");
    assert_eq!(
        (status, answer["message"].as_str()),
        (404, Some(expected.as_str()))
    );
}

fn decoded(base64: &str) -> Vec<u8> {
    let digits = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut bytes = Vec::new();
    let (mut bits, mut count) = (0_u32, 0);
    for digit in base64.bytes().filter(|digit| *digit != b'=') {
        let value = digits.iter().position(|other| *other == digit).unwrap();
        bits = bits << 6 | u32::try_from(value).unwrap();
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from(bits >> count & 0xff).unwrap());
        }
    }
    bytes
}

#[test]
fn archives_name_what_was_asked_for() {
    let engine = Engine::start();
    let name = container(&engine, When::Created, &[], "");
    let first = |path: &str| {
        let out = engine.docker(&["cp", &at(&name, path), "-"]).expect(0);
        listed(&out.raw)[..2].to_vec()
    };
    assert_eq!(first("/etc"), ["etc/", "etc/group"]);
    assert_eq!(first("/etc/."), ["./", "./group"]);
    assert_eq!(first("/"), ["/", "/.dockerenv"]);
}

#[test]
fn nothing_outside_of_the_root_is_reached() {
    let engine = Engine::start();
    let host = tempfile::tempdir().unwrap();
    std::fs::write(host.path().join("secret"), "secret").unwrap();
    let up = "../".repeat(20);
    let script = format!(
        "ln -s {up}{0} /up; ln -s {0} /abs; ln -s /proc/1/root{0} /magic",
        host.path().display()
    );
    for when in [When::Running, When::Stopped] {
        let name = container(&engine, when, &[], &script);
        for link in ["/up", "/abs", "/magic"] {
            let out = engine.docker(&["cp", &at(&name, &format!("{link}/secret")), "-"]);
            assert_ne!(out.code, 0, "{link}");
            let mut archive = Vec::new();
            member(&mut archive, "planted", b'0', "", b"x");
            archive.extend([0; 1024]);
            let (status, _) = put(&engine, &name, &format!("path={link}"), &archive);
            assert_ne!(status, 200, "{link}");
        }
        for path in ["../../planted", "up/planted", "abs/planted"] {
            let mut archive = Vec::new();
            member(&mut archive, path, b'0', "", b"x");
            archive.extend([0; 1024]);
            let (status, text) = put(&engine, &name, "path=/", &archive);
            // Whatever it makes of them, it is inside.
            assert!([200, 400, 500].contains(&status), "{status} {text}");
        }
        assert_eq!(std::fs::read_dir(host.path()).unwrap().count(), 1);
        assert!(!Path::new("/planted").exists());
    }
}

#[test]
fn a_directory_is_not_replaced_when_that_is_unwanted() {
    let engine = Engine::start();
    let name = container(&engine, When::Created, &[], "");
    let (mut file, mut directory) = (Vec::new(), Vec::new());
    member(&mut file, "etc", b'0', "", b"x");
    file.extend([0; 1024]);
    member(&mut directory, "passwd", b'5', "", b"");
    directory.extend([0; 1024]);
    let (status, text) = put(&engine, &name, "path=/&noOverwriteDirNonDir=1", &file);
    assert!([400, 500].contains(&status), "{status}");
    assert!(text.contains("cannot overwrite directory"), "{text}");
    let query = "path=/etc&noOverwriteDirNonDir=true";
    let (status, text) = put(&engine, &name, query, &directory);
    assert!([400, 500].contains(&status), "{status}");
    assert!(text.contains("cannot overwrite non-directory"), "{text}");
    assert_eq!(put(&engine, &name, "path=/etc", &directory).0, 200);
    let (_, text) = put(&engine, &name, "path=/bin/busybox", &directory);
    assert!(
        text.contains("extraction point is not a directory"),
        "{text}"
    );
    let (status, text) = put(&engine, &name, "path=/none", &directory);
    assert!(
        text.contains("Could not find the file /none"),
        "{status} {text}"
    );
}

#[test]
fn what_has_changed_is_listed() {
    let engine = Engine::start();
    let script = "echo x > /new; rm /etc/passwd; mkdir /d; echo y > /d/f; rm -r /var/spool; \
                  mkdir /var/spool; chmod 700 /home; echo z > /volume/f";
    let name = container(
        &engine,
        When::Running,
        &["-v", "/volume", "--tmpfs", "/t"],
        script,
    );
    let changes = |name: &str| {
        let out = engine.docker(&["diff", name]).ok();
        let mut lines: Vec<String> = out.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let expected = [
        "A /d",
        "A /d/f",
        "A /new",
        "A /t",
        "A /tmp/ready",
        "A /volume",
        "C /etc",
        "C /home",
        "C /tmp",
        "C /var",
        "C /var/spool",
        "D /etc/passwd",
        "D /var/spool/mail",
    ];
    let found = changes(&name);
    let found: Vec<&str> = found.iter().map(String::as_str).collect();
    assert_eq!(found, expected);
    let fresh = container(&engine, When::Created, &[], "");
    let (status, none) = engine
        .http()
        .get(&format!("/v1.51/containers/{fresh}/changes"));
    assert_eq!((status, none), (200, serde_json::Value::Null));
}

#[test]
fn an_export_is_the_root_without_what_is_mounted() {
    let engine = Engine::start();
    for when in [When::Running, When::Stopped] {
        let script = "echo x > /new; rm /etc/passwd; echo y > /volume/file";
        let name = container(&engine, when, &["-v", "/volume"], script);
        let out = engine.docker(&["export", &name]).expect(0);
        let names = listed(&out.raw);
        for there in [
            ".dockerenv",
            "new",
            "volume/",
            "proc/",
            "etc/hosts",
            "bin/busybox",
        ] {
            assert!(names.iter().any(|name| name == there), "{there}: {names:?}");
        }
        for gone in ["etc/passwd", "volume/file", "proc/1/"] {
            assert!(!names.iter().any(|name| name == gone), "{gone}");
        }
    }
}

#[test]
fn a_commit_is_an_image_of_the_container() {
    let engine = Engine::start();
    let script = "echo x > /new; rm /etc/passwd; rm -r /var/spool; mkdir /var/spool";
    let options = ["-e", "A=1", "-v", "/volume", "--label", "l=1"];
    let name = container(&engine, When::Running, &options, script);
    let image = engine.name("image");
    let mut events = engine.events("");
    let arguments = [
        "commit",
        "-m",
        "message",
        "-a",
        "me",
        "-c",
        "ENV B=2",
        "-c",
        "CMD [\"cat\",\"/new\"]",
        &name,
        &image,
    ];
    let id = engine.docker(&arguments).ok();
    let commit = events.wait("commit", &name)["Actor"]["Attributes"].clone();
    // When it goes on is a matter of the engine.
    events.wait("unpause", &name);
    assert_eq!(events.actions(&name)[0], "pause");
    assert_eq!(events.actions(&id), ["create", "tag"]);
    assert_eq!(commit["comment"], "message");
    assert_eq!(commit["imageID"], id.as_str());
    assert_eq!(commit["imageRef"], format!("{image}:latest"));
    assert_eq!(engine.inspect(&name)["State"]["Paused"], false);

    let (_, inspected) = engine.http().get(&format!("/v1.51/images/{image}/json"));
    assert_eq!(inspected["Id"], id.as_str());
    assert_eq!(
        (&inspected["Comment"], &inspected["Author"]),
        (&"message".into(), &"me".into())
    );
    let config = &inspected["Config"];
    assert_eq!(config["Cmd"], serde_json::json!(["cat", "/new"]));
    assert_eq!(config["Labels"], serde_json::json!({"l": "1"}));
    let env = config["Env"].to_string();
    assert!(env.contains("A=1") && env.contains("B=2"), "{env}");
    assert_eq!(engine.docker(&["run", "--rm", &image]).ok(), "x");
    let script = "ls /etc/passwd /var/spool/mail /volume/x; ls /var/spool";
    let gone = engine
        .docker(&["run", "--rm", &image, "sh", "-c", script])
        .expect(0);
    assert_eq!(gone.stdout, "");
    let history = engine
        .docker(&["history", "--format", "{{.Comment}}", &image])
        .ok();
    assert!(history.starts_with("message"), "{history}");
    engine.docker(&["rm", "-f", &name]).expect(0);
    engine.docker(&["rmi", &image]).expect(0);
}
