//! Contexts, Dockerfiles and addresses that want to reach the host by a build: nothing outside of a context
//! is read, nothing outside of an image is written, nothing is run, and secrets are kept nowhere.
#![expect(
    clippy::unwrap_used,
    reason = "what a test needs fails the test where it stands"
)]

use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use arca_testkit::archive::{check, ended, file, member};
use arca_testkit::{Engine, Memory, eventually};

/// `docker build` by either builder; what it told.
fn build(engine: &Engine, buildkit: bool, options: &[&str]) -> (bool, String) {
    let arguments = [&["build"], options].concat();
    let mut command = engine.docker_command(&arguments);
    let output = command
        .env("DOCKER_BUILDKIT", if buildkit { "1" } else { "0" })
        .env("BUILDX_NO_DEFAULT_ATTESTATIONS", "1")
        .output()
        .unwrap();
    let told = [output.stdout, output.stderr].concat();
    let told = String::from_utf8_lossy(&told).into_owned();
    (output.status.success(), told)
}

/// `POST /build` of an archive; what it told.
fn post(engine: &Engine, parameters: &str, archive: &[u8]) -> (u16, String) {
    let path = format!("/v1.51/build?{parameters}");
    let headers = [("Content-Type", "application/x-tar")];
    let mut answer = engine.http().send("POST", &path, &headers, archive);
    let told = String::from_utf8_lossy(&answer.bytes()).into_owned();
    (answer.status, told)
}

/// What an image has in a place, however it came there.
fn seen(engine: &Engine, image: &str, place: &str) -> String {
    let script = format!("find {place} -type f -exec cat {{}} +; cat {place} 2>/dev/null; true");
    let run = engine.docker(&["run", "--rm", image, "sh", "-c", &script]);
    run.stdout + &run.stderr
}

#[test]
fn nothing_outside_of_a_context_is_read() {
    let engine = Engine::start();
    let outside = tempfile::tempdir().unwrap();
    let secret = engine.name("outside");
    std::fs::write(outside.path().join("file"), &secret).unwrap();
    let context = tempfile::tempdir_in(outside.path()).unwrap();
    let at = |name: &str| context.path().join(name);
    std::os::unix::fs::symlink(outside.path().join("file"), at("link")).unwrap();
    std::os::unix::fs::symlink(outside.path(), at("dir")).unwrap();
    std::os::unix::fs::symlink("../file", at("near")).unwrap();
    let image = engine.name("reads");
    for step in [
        "COPY link /got/",
        "COPY near /got/",
        "COPY dir/file /got/",
        "COPY dir /got",
        "COPY dir/ /got/",
        "COPY ../file /got/",
        "COPY . /got/",
        "ADD dir/file /got/",
        "ADD link /got/",
        "COPY --from=0 /link /got/",
    ] {
        let dockerfile = format!("FROM busybox:latest\nRUN mkdir -p /got\n{step}\n");
        std::fs::write(at("Dockerfile"), dockerfile).unwrap();
        for buildkit in [true, false] {
            let options = ["-t", image.as_str(), context.path().to_str().unwrap()];
            let (built, told) = build(&engine, buildkit, &options);
            assert!(!told.contains(&secret), "{step}: {told}");
            if built {
                let seen = seen(&engine, &image, "/got");
                assert!(!seen.contains(&secret), "{step}: {seen}");
                engine.docker(&["rmi", "-f", &image]).expect(0);
            }
        }
    }
}

/// An archive with members that lead out of where it is unpacked. What they make has a name of its own.
fn leading_out(outside: &Path, evil: &str) -> Vec<u8> {
    let mut archive = Vec::new();
    let target = outside.to_str().unwrap().as_bytes();
    let name = |prefix: &str| format!("{prefix}{evil}").into_bytes();
    file(&mut archive, &name("../../../../"), b"x");
    file(&mut archive, &name("/"), b"x");
    file(&mut archive, &name("a/../../"), b"x");
    member(&mut archive, b"d", b'2', target, "0000777", b"");
    file(&mut archive, &name("d/"), b"x");
    member(
        &mut archive,
        b"h",
        b'1',
        b"../../../../etc/hostname",
        "0000644",
        b"",
    );
    member(&mut archive, b"n", b'3', b"", "0000666", b"");
    archive
}

#[test]
fn archives_are_unpacked_to_where_they_belong() {
    let engine = Engine::start();
    let (outside, evil) = (tempfile::tempdir().unwrap(), engine.name("evil"));
    let whole = leading_out(outside.path(), &evil);
    // All at once, and each member alone: one that is refused must not hide the next.
    let mut archives = vec![whole.clone()];
    let (mut begin, members) = (0, whole.len() / 512);
    for end in 1..=members {
        if end == members || whole[end * 512..].get(257..262) == Some(b"ustar") {
            archives.push(whole[begin * 512..end * 512].to_vec());
            begin = end;
        }
    }
    assert_eq!(archives.len(), 8);
    let image = engine.name("unpacked");
    for (number, archive) in archives.iter().enumerate() {
        // As the context, and as what a step unpacks.
        let mut as_context = Vec::new();
        file(
            &mut as_context,
            b"Dockerfile",
            b"FROM busybox:latest\nCOPY . /all/\n",
        );
        as_context.extend(archive);
        let mut as_file = Vec::new();
        file(
            &mut as_file,
            b"Dockerfile",
            b"FROM busybox:latest\nADD a.tar /all/\n",
        );
        file(&mut as_file, b"a.tar", &ended(archive.clone()));
        for context in [as_context, as_file] {
            let (status, told) = post(&engine, &format!("t={image}"), &ended(context));
            assert!(
                status < 600 && !told.is_empty(),
                "{number}: {status} {told}"
            );
            engine.docker(&["rmi", "-f", &image]);
        }
    }
    assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
    for place in ["/", "/var", "/var/lib", "/tmp"] {
        assert!(!Path::new(place).join(&evil).exists(), "{place}");
    }
    if engine.is_own() {
        let above = engine.data_root();
        for place in above.ancestors() {
            assert!(!place.join(&evil).exists(), "{place:?}");
        }
    }
}

/// The files of an own engine, without those of its log and its database.
fn kept(engine: &Engine) -> Vec<String> {
    let root = engine.data_root();
    let mut find = Command::new("find");
    let found = find.arg(root.join("build")).arg("-type").arg("f").output();
    let found = String::from_utf8(found.unwrap().stdout).unwrap();
    let mut found: Vec<String> = found.lines().map(str::to_owned).collect();
    found.sort();
    found
}

#[test]
fn a_context_without_an_end_takes_no_memory_and_leaves_nothing() {
    let engine = Engine::start();
    if !engine.is_own() {
        return;
    }
    let before = kept(&engine);
    let memory = Memory::watch(&engine);
    let mut stream = engine.http().connect();
    stream
        .write_all(
            b"POST /v1.51/build HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-tar\r\n\
              Transfer-Encoding: chunked\r\n\r\n",
        )
        .unwrap();
    // A file that says it has 8 GiB, of which 100 MiB come.
    let mut head = Vec::new();
    file(&mut head, b"Dockerfile", b"FROM busybox\n");
    let mut large = Vec::new();
    file(&mut large, b"large", b"");
    large[124..135].copy_from_slice(b"77777777777");
    check(&mut large);
    head.extend(large);
    let mut send = |bytes: &[u8]| {
        write!(stream, "{:x}\r\n", bytes.len()).unwrap();
        stream.write_all(bytes).unwrap();
        stream.write_all(b"\r\n").unwrap();
    };
    send(&head);
    let piece = vec![7; 1 << 20];
    (0..100).for_each(|_| send(&piece));
    assert_eq!(engine.http().get("/_ping").0, 200);
    let grown = memory.grown();
    assert!(grown < 64 << 10, "{grown} KiB more");
    // The client goes away in the middle.
    drop(stream);
    eventually("what came is gone", || {
        (kept(&engine) == before).then_some(())
    });

    // One that is cut, and says that it is whole.
    head.extend([1; 1000]);
    let (_, told) = post(&engine, "", &head);
    assert!(
        told.contains("unexpected EOF") || told.contains("message"),
        "{told}"
    );
    eventually("what came is gone", || {
        (kept(&engine) == before).then_some(())
    });
}

#[test]
fn no_address_runs_a_program() {
    let engine = Engine::start();
    let place = tempfile::tempdir().unwrap();
    let trap = place.path().join("trap");
    let touch = format!("touch${{IFS}}{}", trap.display());
    let context = tempfile::tempdir().unwrap();
    for address in [
        format!("ext::sh -c {touch}% .git"),
        format!("git@-oProxyCommand={touch}:x/y.git"),
        format!("ssh://-oProxyCommand={touch}/x.git"),
        format!("git://-oProxyCommand={touch}/x.git"),
        format!("https://127.0.0.1:1/x.git#--upload-pack={touch}"),
        format!("https://127.0.0.1:1/x.git#main:--upload-pack={touch}"),
        format!("git://--upload-pack={touch}/x.git#-c:core.fsmonitor={touch}"),
        format!("file://{}/x.git", place.path().display()),
    ] {
        let encoded: String = address.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let (status, told) = post(&engine, &format!("remote={encoded}"), &[]);
        let failed = status >= 400 || told.contains("errorDetail");
        assert!(failed, "{address}: {status} {told}");
        let dockerfile = format!("FROM scratch\nADD [\"{address}\", \"/x/\"]\n");
        std::fs::write(context.path().join("Dockerfile"), dockerfile).unwrap();
        for buildkit in [true, false] {
            let options = [context.path().to_str().unwrap()];
            let (built, told) = build(&engine, buildkit, &options);
            assert!(!built, "{address}: {told}");
        }
        assert!(!trap.exists(), "{address}");
    }
}

#[test]
fn secrets_are_kept_nowhere() {
    let engine = Engine::start();
    let context = tempfile::tempdir().unwrap();
    let (secret, image) = (engine.name("secret-of-a-build"), engine.name("keeps"));
    let source = context.path().join("source");
    std::fs::write(&source, &secret).unwrap();
    let build_with = |steps: &str| {
        let dockerfile = format!("FROM busybox:latest\n{steps}");
        std::fs::write(context.path().join("Dockerfile"), dockerfile).unwrap();
        let source = format!("id=s,src={}", source.display());
        let options = [
            "--secret",
            &source,
            "-t",
            &image,
            context.path().to_str().unwrap(),
        ];
        std::fs::write(context.path().join(".dockerignore"), "source\n").unwrap();
        let (built, told) = build(&engine, true, &options);
        assert!(built, "{told}");
        assert!(!told.contains(&secret), "{told}");
    };
    // It is there while its step runs, and not in the next one that shares the cache.
    build_with(
        "RUN --mount=type=secret,id=s --mount=type=cache,target=/c \
           test -s /run/secrets/s && wc -c < /run/secrets/s > /c/size && \
           head -c 16 /dev/urandom > /random\n\
         RUN --mount=type=secret,id=s,env=S test -n \"$S\"\n\
         RUN --mount=type=cache,target=/c test ! -s /run/secrets/s && cat /c/size && env && mount\n",
    );
    let history = engine.docker(&["history", "--no-trunc", &image]).ok();
    let inspected = engine.docker(&["inspect", &image]).ok();
    assert!(!(history + &inspected).contains(&secret));
    if engine.is_own() {
        let root = engine.data_root();
        for place in [root, engine.exec_root()] {
            let mut grep = Command::new("grep");
            grep.args(["-r", "-l", "-a", "-F", "-D", "skip", &secret]);
            let found = grep.arg(place).output().unwrap();
            assert_eq!(String::from_utf8_lossy(&found.stdout), "");
        }
        assert!(!engine.daemon_log().contains(&secret));
    }
    // Another value is no reason to run the step again: the key has no secret in it.
    let layers = || {
        engine
            .docker(&["inspect", "-f", "{{.RootFS.Layers}}", &image])
            .ok()
    };
    let before = layers();
    std::fs::write(&source, "another").unwrap();
    let given = format!("id=s,src={}", source.display());
    let path = context.path().to_str().unwrap();
    let (built, told) = build(&engine, true, &["--secret", &given, "-t", &image, path]);
    assert!(built, "{told}");
    assert_eq!(layers(), before, "{told}");
}

#[test]
fn a_step_is_no_way_to_the_host() {
    let engine = Engine::start();
    let context = tempfile::tempdir().unwrap();
    // What a container of the engine may not do, a step may not do either.
    let dockerfile = "FROM busybox:latest\n\
        RUN ! mount -t tmpfs none /mnt\n\
        RUN mknod /evil b 7 0 && ! dd if=/evil of=/dev/null bs=1 count=1 && rm /evil\n\
        RUN ! sh -c 'echo 1 > /proc/sys/kernel/panic' && ! sh -c 'echo x > /proc/sysrq-trigger'\n\
        RUN ! dd if=/proc/kcore of=/dev/null bs=1 count=1 2>/dev/null || ! test -s /proc/kcore\n\
        RUN test \"$(grep CapEff /proc/self/status | cut -f2)\" = 00000000a80425fb\n\
        RUN grep -q '^Seccomp:[[:space:]]*2' /proc/self/status\n";
    std::fs::write(context.path().join("Dockerfile"), dockerfile).unwrap();
    for buildkit in [true, false] {
        let options = ["--no-cache", context.path().to_str().unwrap()];
        let (built, told) = build(&engine, buildkit, &options);
        assert!(built, "{told}");
    }
    // Asked for, and refused where the daemon does not allow it.
    std::fs::write(
        context.path().join("Dockerfile"),
        "FROM busybox:latest\nRUN --security=insecure mount -t tmpfs none /mnt\n",
    )
    .unwrap();
    let (built, told) = build(&engine, true, &[context.path().to_str().unwrap()]);
    // The front end that dockerd has does not know the flag.
    let refused = if engine.is_own() {
        "security.insecure"
    } else {
        "--security"
    };
    assert!(!built && told.contains(refused), "{told}");
}
