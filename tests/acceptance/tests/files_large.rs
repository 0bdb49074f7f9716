//! Much and many: what is copied, exported and committed goes through the engine, and is not kept in it.

use std::io::{Read as _, Write as _};

use arca_testkit::{Engine, Memory};

/// MB that are moved; `ARCA_TEST_MEGABYTES` makes it more.
fn megabytes() -> u64 {
    let given = std::env::var("ARCA_TEST_MEGABYTES").ok();
    given.and_then(|text| text.parse().ok()).unwrap_or(128)
}

/// What the engine may take more for any of it, in KiB.
const MOST: u64 = 48 << 10;

/// A container with a large file, which has ended.
fn heavy(engine: &Engine) -> String {
    let name = engine.name("heavy");
    let script = format!(
        "head -c {}000000 /dev/urandom > /heavy; rm -r /var",
        megabytes()
    );
    let run = [
        "run",
        "--name",
        &name,
        "--network",
        "none",
        "busybox",
        "sh",
        "-c",
        &script,
    ];
    engine.docker(&run).expect(0);
    name
}

/// Reads an answer to its end; returns how long it is.
fn length(engine: &Engine, path: &str) -> u64 {
    let mut stream = engine.http().connect();
    let request = format!("GET /v1.51{path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    assert!(stream.write_all(request.as_bytes()).is_ok());
    let mut buffer = vec![0; 1 << 20];
    let mut length = 0;
    while let Ok(read) = stream.read(&mut buffer) {
        if read == 0 {
            break;
        }
        length += read as u64;
    }
    length
}

#[test]
fn large_containers_stream_through_little_memory() {
    let engine = Engine::start();
    let name = heavy(&engine);
    let least = megabytes() * 1_000_000;
    for (what, path) in [
        ("export", format!("/containers/{name}/export")),
        (
            "copy out",
            format!("/containers/{name}/archive?path=/heavy"),
        ),
    ] {
        let memory = Memory::watch(&engine);
        assert!(length(&engine, &path) > least, "{what}");
        let grown = memory.grown();
        assert!(grown < MOST, "{what}: {grown} KiB");
    }
    let image = engine.name("heavy");
    let memory = Memory::watch(&engine);
    engine.docker(&["commit", &name, &image]).expect(0);
    let grown = memory.grown();
    assert!(grown < MOST, "commit: {grown} KiB");
    let script = "stat -c %s /heavy; ls -d /var 2>/dev/null || echo gone";
    let seen = engine
        .docker(&["run", "--rm", &image, "sh", "-c", script])
        .ok();
    assert_eq!(seen, format!("{least}\ngone"));
    let memory = Memory::watch(&engine);
    let saved = length(&engine, &format!("/images/{image}/get"));
    assert!(saved > least, "{saved}");
    let grown = memory.grown();
    assert!(grown < MOST, "save: {grown} KiB");
    engine.docker(&["rm", &name]).expect(0);
    engine.docker(&["rmi", &image]).expect(0);
}

#[test]
fn many_small_files_go_in_and_out() {
    let engine = Engine::start();
    let host = tempfile::tempdir().unwrap_or_else(|error| panic!("{error}"));
    let (from, to) = (host.path().join("from"), host.path().join("to"));
    let count = 5000;
    for number in 0..count {
        let directory = from.join(format!("d{}", number / 100));
        std::fs::create_dir_all(&directory).ok();
        let written = std::fs::write(directory.join(format!("f{number}")), format!("{number}"));
        assert!(written.is_ok(), "{written:?}");
    }
    let name = engine.name("many");
    engine
        .run_detached(&name, &["busybox", "sleep", "600"])
        .expect(0);
    let (source, target) = (from.to_string_lossy(), to.to_string_lossy());
    let memory = Memory::watch(&engine);
    engine
        .docker(&["cp", &source, &format!("{name}:/many")])
        .expect(0);
    let script = "find /many -type f | wc -l; cat /many/d49/f4999";
    let seen = engine.docker(&["exec", &name, "sh", "-c", script]).ok();
    assert_eq!(seen, format!("{count}\n4999"));
    engine
        .docker(&["cp", &format!("{name}:/many"), &target])
        .expect(0);
    let grown = memory.grown();
    assert!(grown < MOST, "{grown} KiB");
    for number in [0, 1, count - 1] {
        let file = to.join(format!("d{}/f{number}", number / 100));
        assert_eq!(std::fs::read_to_string(file).ok(), Some(number.to_string()));
    }
    engine.docker(&["rm", "-f", &name]).expect(0);
}
