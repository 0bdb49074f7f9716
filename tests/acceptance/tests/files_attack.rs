//! Containers and archives that want to reach the host by the files that are copied: nothing outside of a
//! container's root is read, written or made.
#![expect(
    clippy::too_many_lines,
    reason = "what a test needs fails the test where it stands"
)]

use std::path::Path;

use arca_testkit::archive::{ended, file, member};
use arca_testkit::{Engine, Memory, Snapshot};

fn put(engine: &Engine, name: &str, path: &str, archive: &[u8]) -> (u16, String) {
    let path = format!("/v1.51/containers/{name}/archive?path={path}");
    let headers = [("Content-Type", "application/x-tar")];
    let mut answer = engine.http().send("PUT", &path, &headers, archive);
    let text = String::from_utf8_lossy(&answer.bytes()).into_owned();
    (answer.status, text)
}

fn get(engine: &Engine, name: &str, path: &str) -> (u16, Vec<u8>) {
    let path = format!("/v1.51/containers/{name}/archive?path={path}");
    let mut answer = engine.http().send("GET", &path, &[], b"");
    (answer.status, answer.bytes())
}

/// As [`get`], where the answer may break off because what is read has changed.
fn get_if_it_lasts(engine: &Engine, name: &str, path: &str) -> (bool, Vec<u8>) {
    use std::io::{Read as _, Write as _};
    let mut stream = engine.http().connect();
    write!(
        stream,
        "GET /v1.51/containers/{name}/archive?path={path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    )
    .ok();
    let mut answer = Vec::new();
    let whole = stream.read_to_end(&mut answer).is_ok();
    (whole && answer.starts_with(b"HTTP/1.1 200"), answer)
}

fn contains(bytes: &[u8], what: &[u8]) -> bool {
    bytes.windows(what.len()).any(|window| window == what)
}

fn running(engine: &Engine, options: &[&str], script: &str) -> String {
    let name = engine.name("attack");
    let rest = [options, &["busybox", "sh", "-c", script]].concat();
    engine.run_detached(&name, &rest).expect(0);
    arca_testkit::eventually("the container is ready", || {
        let said = engine.docker(&["logs", &name]).stdout;
        said.contains("ready").then_some(())
    });
    name
}

fn rounds(own: usize) -> usize {
    let given = std::env::var("ARCA_TEST_ROUNDS").ok();
    given.and_then(|text| text.parse().ok()).unwrap_or(own)
}

/// A process of the container exchanges a directory and links that lead to the host, all the time.
#[test]
fn paths_that_change_all_the_time_lead_nowhere_else() {
    let engine = Engine::start();
    let host = tempfile::tempdir().unwrap();
    std::fs::create_dir(host.path().join("sub")).unwrap();
    for path in ["f", "sub/f"] {
        std::fs::write(host.path().join(path), "the host's secret").unwrap();
    }
    let place = host.path().display();
    let up = "../".repeat(12);
    let script = format!(
        "mkdir -p /d/x/sub /tmp/y; echo inner > /d/x/f; echo inner > /d/x/sub/f; echo ready; \
         while :; do \
           mv /d/x /d/real; ln -s {place} /d/x; rm /d/x; ln -s {up}{place} /d/x; rm /d/x; mv /d/real /d/x; \
           mv /d/x/sub /d/x/old; ln -s {place}/sub /d/x/sub; rm /d/x/sub; mv /d/x/old /d/x/sub; \
           mv /d/x/sub /tmp/y/sub; mv /tmp/y/sub /d/x/sub; \
         done"
    );
    let name = running(&engine, &[], &script);
    let mut archive = Vec::new();
    file(&mut archive, b"planted", b"x");
    member(&mut archive, b"sub/", b'5', b"", "0000755", b"");
    file(&mut archive, b"sub/planted", b"x");
    member(
        &mut archive,
        b"sub",
        b'0',
        b"",
        "0000644",
        b"replaces a directory",
    );
    member(&mut archive, b"sub/", b'5', b"", "0000755", b"");
    file(&mut archive, b"sub/f", b"inner");
    let archive = ended(archive);
    let mut reached = 0;
    for round in 0..rounds(120) {
        let (done, out) = match round % 4 {
            0 => get_if_it_lasts(&engine, &name, "/d/x/f"),
            1 => get_if_it_lasts(&engine, &name, "/d/x"),
            2 => get_if_it_lasts(&engine, &name, "/d/x/sub/f"),
            _ => (put(&engine, &name, "/d/x", &archive).0 == 200, Vec::new()),
        };
        reached += usize::from(done);
        assert!(!contains(&out, b"secret"), "round {round}");
    }
    assert!(reached > 0, "no copy met the directory");
    let mut left: Vec<_> = std::fs::read_dir(host.path())
        .unwrap()
        .flatten()
        .map(|e| e.file_name())
        .collect();
    left.sort();
    assert_eq!(left, ["f", "sub"]);
    assert_eq!(
        std::fs::read_dir(host.path().join("sub")).unwrap().count(),
        1
    );
    for path in ["f", "sub/f"] {
        let content = std::fs::read_to_string(host.path().join(path)).unwrap();
        assert_eq!(content, "the host's secret");
    }
    assert!(!Path::new("/planted").exists());
}

#[test]
fn archives_stay_inside_whatever_they_name() {
    let engine = Engine::start();
    let host = tempfile::tempdir().unwrap();
    std::fs::write(host.path().join("secret"), "secret").unwrap();
    let place = host.path().to_str().unwrap().as_bytes();
    let name = running(&engine, &[], "echo ready; sleep 600");
    let up = b"../".repeat(12);
    let through = |link: &[u8]| {
        let mut archive = Vec::new();
        member(&mut archive, b"link", b'2', link, "0000777", b"");
        file(&mut archive, b"link/planted", b"x");
        ended(archive)
    };
    let hard = |target: &[u8]| {
        let mut archive = Vec::new();
        member(&mut archive, b"hard", b'1', target, "0000644", b"");
        ended(archive)
    };
    let named = |path: &[u8]| {
        let mut archive = Vec::new();
        file(&mut archive, path, b"x");
        ended(archive)
    };
    let up_to = |path: &[u8]| [up.as_slice(), path].concat();
    let planted = [place, b"/planted"].concat();
    let secret = [place, b"/secret"].concat();
    for archive in [
        named(&planted),
        named(&up_to(&planted)),
        named(b"a/../../../planted"),
        through(place),
        through(&up_to(place)),
        through(b"/proc/self/root"),
        hard(&secret),
        hard(&up_to(&secret)),
    ] {
        let (status, text) = put(&engine, &name, "/", &archive);
        // Whatever it makes of it, it is inside.
        assert!([200, 400, 404, 500].contains(&status), "{status} {text}");
    }
    assert_eq!(std::fs::read_dir(host.path()).unwrap().count(), 1);
    assert_eq!(
        std::fs::read_to_string(host.path().join("secret")).unwrap(),
        "secret"
    );
    assert!(!Path::new("/planted").exists());
    let seen = engine
        .docker(&["exec", &name, "sh", "-c", "cat /hard 2>/dev/null; true"])
        .ok();
    assert!(!seen.contains("secret"), "{seen}");
}

#[test]
fn devices_and_set_user_ids_have_no_effect_on_the_host() {
    let engine = Engine::start();
    let volume = engine.name("volume");
    let mount = format!("{volume}:/volume");
    let name = running(&engine, &["-v", &mount], "echo ready; sleep 600");
    let mut archive = Vec::new();
    member(&mut archive, b"device", b'3', b"", "0000666", b"");
    member(
        &mut archive,
        b"setuid",
        b'0',
        b"",
        "0004755",
        b"#!/bin/sh\nid\n",
    );
    let archive = ended(archive);
    assert_eq!(put(&engine, &name, "/volume", &archive).0, 200);
    let script = "stat -c '%a %F' /volume/setuid /volume/device; head -c1 /volume/device | wc -c";
    let said = engine.docker(&["exec", &name, "sh", "-c", script]).ok();
    assert!(
        said.starts_with("4755 regular file\n666 character special file"),
        "{said}"
    );
    // They can be copied out again, which opens no device.
    let (status, out) = get(&engine, &name, "/volume");
    assert_eq!(status, 200);
    assert!(contains(&out, b"device"));
    engine.docker(&["rm", "-f", &name]).expect(0);
    engine.docker(&["volume", "rm", &volume]).expect(0);
}

#[test]
fn the_kernels_file_systems_are_nobodys_files() {
    let engine = Engine::start();
    if !engine.is_own() {
        return;
    }
    let name = running(
        &engine,
        &[],
        "ln -s /proc/1/root /magic; ln -s /proc/self/fd /fd; echo ready; sleep 600",
    );
    for path in [
        "/proc/self/environ",
        "/proc/1/root/etc",
        "/sys/kernel",
        "/magic/etc",
        "/fd/0",
        "/dev/pts/ptmx",
    ] {
        let (status, _) = get(&engine, &name, path);
        assert_eq!(status, 404, "{path}");
    }
    let mut archive = Vec::new();
    file(&mut archive, b"sys/kernel/core_pattern", b"x");
    let before = std::fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap();
    put(&engine, &name, "/proc", &ended(archive));
    assert_eq!(
        std::fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap(),
        before
    );
}

#[test]
fn malformed_and_greedy_archives_are_refused() {
    let engine = Engine::start();
    let name = running(&engine, &[], "echo ready; sleep 600");
    // A file that claims to be larger than the archive.
    let mut large = Vec::new();
    file(&mut large, b"large", b"x");
    large[124..136].copy_from_slice(b"77777777777\0");
    large[148..156].fill(b' ');
    let sum: u32 = large[..512].iter().map(|byte| u32::from(*byte)).sum();
    large[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    // Names that no file system takes.
    let mut long = Vec::new();
    file(&mut long, &b"n".repeat(4096), b"x");
    let mut deep = Vec::new();
    file(&mut deep, &b"d/".repeat(5000), b"x");
    // A name that would fill the memory.
    let mut name_bomb = Vec::new();
    member(&mut name_bomb, b"././@LongLink", b'L', b"", "0000644", b"x");
    name_bomb[124..136].copy_from_slice(b"07777777777\0");
    name_bomb[148..156].fill(b' ');
    let sum: u32 = name_bomb[..512].iter().map(|byte| u32::from(*byte)).sum();
    name_bomb[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    for archive in [
        large,
        ended(long),
        name_bomb,
        vec![b'x'; 512],
        b"\x1f\x8b\x08 no gzip".to_vec(),
        b"BZh9 no bzip2".to_vec(),
    ] {
        let (status, text) = put(&engine, &name, "/tmp", &archive);
        assert!([400, 500].contains(&status), "{status} {text}");
    }
    let (status, text) = put(&engine, &name, "/tmp", &ended(deep));
    assert!([200, 400, 500].contains(&status), "{status} {text}");
    assert_eq!(
        engine.docker(&["exec", &name, "echo", "alive"]).ok(),
        "alive"
    );
}

/// Archives whose contents are far more than their bytes.
#[test]
fn bombs_take_the_containers_room_and_not_the_engines_memory() {
    const LARGE: u64 = 256 << 20;
    let engine = Engine::start();
    let name = running(&engine, &[], "echo ready; sleep 600");
    let mut head = Vec::new();
    file(&mut head, b"zeros", b"");
    head[124..136].copy_from_slice(format!("{LARGE:011o}\0").as_bytes());
    head[148..156].fill(b' ');
    let sum: u32 = head.iter().map(|byte| u32::from(*byte)).sum();
    head[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    let compressed = |program: &str, level: &str| {
        let mut child = std::process::Command::new(program)
            .args([level, "-c"])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{program}: {error}"));
        let mut input = child.stdin.take().unwrap_or_else(|| panic!("no input"));
        let head = head.clone();
        let writing = std::thread::spawn(move || {
            use std::io::Write as _;
            input.write_all(&head).ok();
            let zeros = vec![0; 1 << 20];
            for _ in 0..LARGE >> 20 {
                input.write_all(&zeros).ok();
            }
            input.write_all(&[0; 1024]).ok();
        });
        let output = child.wait_with_output().unwrap_or_else(|e| panic!("{e}"));
        assert!(writing.join().is_ok());
        output.stdout
    };
    // A sparse file of a terabyte: it claims much and takes nothing.
    let mut sparse = Vec::new();
    let mut pax = Vec::new();
    for (key, value) in [
        ("GNU.sparse.major", "1"),
        ("GNU.sparse.minor", "0"),
        ("GNU.sparse.name", "sparse"),
        ("GNU.sparse.realsize", "1099511627776"),
    ] {
        let rest = key.len() + value.len() + 3;
        let length = (rest + 1..).find(|length| rest + length.to_string().len() == *length);
        pax.extend(format!("{} {key}={value}\n", length.unwrap_or_default()).into_bytes());
    }
    member(&mut sparse, b"pax", b'x', b"", "0000644", &pax);
    let mut map = b"1\n1099511627776\n0\n".to_vec();
    map.resize(512, 0);
    file(&mut sparse, b"sparse", &map);
    let mut bombs = vec![(compressed("gzip", "-9"), "zeros", LARGE)];
    // Dockerd fills the disk with the zeros of the holes.
    if engine.is_own() {
        bombs.push((ended(sparse), "sparse", 1 << 40));
    }
    for (archive, path, size) in bombs {
        assert!(archive.len() < 1 << 20, "{}", archive.len());
        let memory = Memory::watch(&engine);
        let (status, text) = put(&engine, &name, "/tmp", &archive);
        let grown = memory.grown();
        assert!(grown < 48 << 10, "{path}: {grown} KiB");
        let shown = format!("stat -c %s /tmp/{path}; rm /tmp/{path}");
        let said = engine.docker(&["exec", &name, "sh", "-c", &shown]);
        assert_eq!(
            (status, said.stdout.trim()),
            (200, size.to_string().as_str()),
            "{text}"
        );
    }
}

#[test]
fn paths_of_any_length_are_answered() {
    let engine = Engine::start();
    let name = running(&engine, &[], "echo ready; sleep 600");
    for (path, expected) in [
        ("n".repeat(255), 404),
        ("n".repeat(4096), 500),
        ("d/".repeat(2040), 404),
        ("d/".repeat(8000), 500),
        ("../".repeat(1300) + "etc/passwd", 200),
    ] {
        let (status, _) = get(&engine, &name, &format!("/{path}"));
        // What is too long for the kernel cannot be there either.
        let fits = status == expected || (expected == 500 && [400, 404].contains(&status));
        assert!(fits, "{} bytes: {status}", path.len());
        let mut archive = Vec::new();
        let target = path.as_bytes();
        member(
            &mut archive,
            b"././@LongLink",
            b'K',
            b"",
            "0000644",
            &[target, b"\0"].concat(),
        );
        member(&mut archive, b"link", b'2', b"", "0000777", b"");
        let (status, text) = put(&engine, &name, "/tmp", &ended(archive));
        assert!([200, 400, 500].contains(&status), "{status} {text}");
    }
    assert_eq!(
        engine.docker(&["exec", &name, "echo", "alive"]).ok(),
        "alive"
    );
}

#[test]
fn names_are_bytes() {
    let engine = Engine::start();
    let name = running(
        &engine,
        &[],
        "mkdir /bytes; printf x > \"/bytes/$(printf 'a\\377b')\"; echo ready; sleep 600",
    );
    let (status, out) = get(&engine, &name, "/bytes");
    assert_eq!(status, 200);
    assert!(contains(&out, b"bytes/a\xffb"));
    let mut archive = Vec::new();
    file(&mut archive, b"\xfe\xff\n", b"x");
    let long = b"l".repeat(255);
    file(&mut archive, &long, b"x");
    assert_eq!(put(&engine, &name, "/tmp", &ended(archive)).0, 200);
    let script = "test -f \"/tmp/$(printf '\\376\\377\\nx' | head -c 3)\" && ls /tmp | grep -c '^l\\{255\\}$'";
    let said = engine.docker(&["exec", &name, "sh", "-c", script]);
    assert!(
        said.stdout.trim() == "1" || said.code != 0,
        "{}",
        said.stdout
    );
    let (status, out) = get(&engine, &name, "/tmp");
    assert_eq!(status, 200);
    assert!(contains(&out, b"tmp/\xfe\xff\n") && contains(&out, &long));
}

/// A privileged container mounts over paths that are copied.
#[test]
fn what_a_container_mounts_is_not_left_on_the_host() {
    let engine = Engine::start();
    if !engine.is_own() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("f"), "bound").unwrap();
    let bind = format!("{}:/bound:rslave", dir.path().display());
    // A mount of the test's own, since the host's may not pass on anything.
    rustix::mount::mount_bind(dir.path(), dir.path()).unwrap();
    rustix::mount::mount_change(dir.path(), rustix::mount::MountPropagationFlags::SHARED).unwrap();
    let script = "mkdir /over; echo below > /over/f; mount -t tmpfs t /over; echo above > /over/f; \
                  mount -t tmpfs t /bound; mount -t tmpfs t /etc; echo ready; sleep 600";
    let name = running(&engine, &["--privileged", "-v", &bind], script);
    let before = Snapshot::take(&engine);
    for _ in 0..rounds(10) {
        let (status, out) = get(&engine, &name, "/over/f");
        assert_eq!(status, 200);
        // As with dockerd, what the container mounts by itself is not part of its files.
        assert!(contains(&out, b"below"));
        assert!(contains(&get(&engine, &name, "/bound/f").1, b"bound"));
        assert_eq!(get(&engine, &name, "/etc/passwd").0, 200);
    }
    before.settled(&engine);
    engine.docker(&["rm", "-f", &name]).expect(0);
    rustix::mount::unmount(dir.path(), rustix::mount::UnmountFlags::DETACH).unwrap();
}
