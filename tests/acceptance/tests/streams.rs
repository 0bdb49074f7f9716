//! Large streams through `run` and `exec` come back byte for byte.

use arca_testkit::Engine;

const SIZE: usize = 200 << 20;

/// Bytes that do not repeat with any buffer's size.
fn pattern() -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(SIZE);
    while bytes.len() < SIZE {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_le_bytes());
    }
    bytes
}

#[test]
fn two_hundred_megabytes_through_run() {
    let engine = Engine::start();
    let sent = pattern();
    let output = engine
        .docker_with(
            &[
                "run",
                "--rm",
                "-i",
                "--log-driver",
                "none",
                "busybox",
                "cat",
            ],
            &sent,
        )
        .expect(0);
    assert_eq!(output.raw.len(), sent.len());
    assert!(output.raw == sent, "the bytes differ");
}

#[test]
fn two_hundred_megabytes_through_exec() {
    let engine = Engine::start();
    let name = engine.name("exec");
    engine
        .docker(&["run", "-d", "--name", &name, "busybox", "sleep", "600"])
        .ok();
    let sent = pattern();
    let output = engine
        .docker_with(&["exec", "-i", &name, "cat"], &sent)
        .expect(0);
    assert_eq!(output.raw.len(), sent.len());
    assert!(output.raw == sent, "the bytes differ");
}

#[test]
fn a_client_that_goes_away_harms_nobody() {
    let engine = Engine::start();
    let name = engine.name("gone");
    engine
        .docker(&[
            "run",
            "-d",
            "--name",
            &name,
            "busybox",
            "sh",
            "-c",
            "while :; do seq 1 1000; sleep 0.01; done",
        ])
        .ok();
    for _ in 0..5 {
        let mut client = engine.docker_spawn(&["attach", "--sig-proxy=false", &name]);
        let mut byte = [0];
        std::io::Read::read_exact(client.stdout.as_mut().unwrap(), &mut byte).unwrap();
        client.kill().unwrap();
        client.wait().unwrap();
    }
    assert_eq!(engine.inspect(&name)["State"]["Running"], true);
    assert_eq!(engine.docker(&["exec", &name, "echo", "fine"]).ok(), "fine");
}
