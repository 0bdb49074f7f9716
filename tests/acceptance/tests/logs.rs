//! `docker logs`: its options, following, order and completeness.

use std::io::{BufRead, BufReader, Read};
use std::time::Duration;

use arca_testkit::{Engine, demux, eventually, eventually_within};

#[test]
fn both_streams_are_kept_apart_and_in_order() {
    let engine = Engine::start();
    let name = engine.name("streams");
    engine
        .docker(&[
            "run",
            "--name",
            &name,
            "busybox",
            "sh",
            "-c",
            "echo 1; echo 2 >&2; echo 3; printf 4",
        ])
        .ok();
    let output = engine.docker(&["logs", &name]).expect(0);
    assert_eq!(
        (output.stdout.as_str(), output.stderr.as_str()),
        ("1\n3\n4", "2\n")
    );
}

#[test]
fn tail_since_until_and_timestamps_select_and_stamp_lines() {
    let engine = Engine::start();
    let name = engine.name("select");
    engine
        .docker(&[
            "run",
            "--name",
            &name,
            "busybox",
            "sh",
            "-c",
            "for i in 1 2 3 4 5; do echo $i; sleep 0.2; done",
        ])
        .ok();
    assert_eq!(engine.docker(&["logs", "--tail", "2", &name]).ok(), "4\n5");
    assert_eq!(engine.docker(&["logs", "-n", "0", &name]).ok(), "");
    let stamped = engine.docker(&["logs", "-t", &name]).ok();
    let times: Vec<&str> = stamped
        .lines()
        .map(|line| line.split(' ').next().unwrap())
        .collect();
    assert_eq!(times.len(), 5, "{stamped}");
    assert!(
        times.is_sorted() && times[0].ends_with('Z') && times[0].len() == 30,
        "{times:?}"
    );
    assert_eq!(
        engine.docker(&["logs", "--since", times[3], &name]).ok(),
        "4\n5"
    );
    assert_eq!(
        engine.docker(&["logs", "--until", times[1], &name]).ok(),
        "1\n2"
    );
    assert_eq!(
        engine
            .docker(&["logs", "--since", times[1], "--until", times[2], &name])
            .ok(),
        "2\n3"
    );
    assert_eq!(
        engine
            .docker(&["logs", "--since", "10m", "--tail", "1", &name])
            .ok(),
        "5"
    );
}

#[test]
fn following_shows_lines_as_they_come_and_ends_with_the_container() {
    let engine = Engine::start();
    let name = engine.name("follow");
    engine
        .docker(&[
            "run",
            "-di",
            "--name",
            &name,
            "busybox",
            "sh",
            "-c",
            "echo begin; while read x; do echo got $x; done",
        ])
        .ok();
    let mut follower = engine.docker_spawn(&["logs", "-f", &name]);
    let mut lines = BufReader::new(follower.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "begin");
    engine.write_stdin(
        &name,
        b"one
two
",
    );
    assert_eq!(lines.next().unwrap().unwrap(), "got one");
    assert_eq!(lines.next().unwrap().unwrap(), "got two");
    engine.docker(&["kill", &name]).ok();
    assert!(lines.next().is_none());
    assert!(follower.wait().unwrap().success());
}

#[test]
fn twenty_clients_follow_one_container() {
    let engine = Engine::start();
    let name = engine.name("many");
    let script = "read go; i=0; while [ $i -lt 2000 ]; do echo line $i; i=$((i+1)); done";
    engine
        .docker(&[
            "create", "-i", "--name", &name, "busybox", "sh", "-c", script,
        ])
        .ok();
    engine.docker(&["start", &name]).ok();
    let path = format!("/v1.51/containers/{name}/logs?follow=1&stdout=1&stderr=1");
    let mut responses: Vec<_> = (0..20)
        .map(|_| engine.http().send("GET", &path, &[], b""))
        .collect();
    engine.write_stdin(
        &name, b"go
",
    );
    let texts: Vec<Vec<u8>> = std::thread::scope(|scope| {
        let readers: Vec<_> = responses
            .iter_mut()
            .map(|r| scope.spawn(|| r.bytes()))
            .collect();
        readers
            .into_iter()
            .map(|reader| reader.join().unwrap())
            .collect()
    });
    for text in &texts {
        assert_eq!(text.len(), texts[0].len());
        assert_eq!(text, &texts[0]);
    }
    let (stdout, stderr) = demux(&texts[0]);
    let wanted: String = (0..2000)
        .map(|number| {
            format!(
                "line {number}
"
            )
        })
        .collect();
    assert_eq!(String::from_utf8_lossy(&stdout), wanted);
    assert!(stderr.is_empty());
}

#[test]
fn binary_output_and_long_lines_survive() {
    let engine = Engine::start();
    let name = engine.name("binary");
    let script = "head -c 1000000 /dev/zero | tr '\\0' x; echo; printf '\\000\\001\\377\\n'; head -c 300000 /dev/zero";
    engine
        .docker(&["run", "--name", &name, "busybox", "sh", "-c", script])
        .expect(0);
    let output = engine.docker(&["logs", &name]).expect(0);
    let mut wanted = vec![b'x'; 1_000_000];
    wanted.extend(b"\n\x00\x01\xff\n");
    wanted.extend(vec![0; 300_000]);
    // json-file keeps text: what is not UTF-8 is replaced, by dockerd as well.
    let replaced = String::from_utf8_lossy(&wanted).into_owned().into_bytes();
    assert!(
        output.raw == wanted || output.raw == replaced,
        "bytes differ"
    );
}

#[test]
fn two_million_lines_are_all_there_in_order() {
    let engine = Engine::start();
    let name = engine.name("million");
    // 1.5 M lines to stdout by one process, 0.5 M to stderr by another.
    let script = "seq 1 1500000 & seq 1 500000 >&2; wait";
    engine
        .docker(&[
            "run",
            "-d",
            "--name",
            &name,
            "--log-opt",
            "max-size=1g",
            "busybox",
            "sh",
            "-c",
            script,
        ])
        .ok();
    assert_eq!(engine.docker(&["wait", &name]).ok(), "0");
    let mut reader = engine.docker_spawn(&["logs", &name]);
    let check = |stream: &mut dyn Read, count: u32| {
        let mut wanted = 0;
        for line in BufReader::new(stream).lines() {
            wanted += 1;
            assert_eq!(line.unwrap(), wanted.to_string());
        }
        assert_eq!(wanted, count);
    };
    let mut stdout = reader.stdout.take().unwrap();
    let mut stderr = reader.stderr.take().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| check(&mut stdout, 1_500_000));
        scope.spawn(|| check(&mut stderr, 500_000));
    });
    assert!(reader.wait().unwrap().success());
    assert_eq!(
        engine
            .docker(&["logs", "--tail", "1", &name])
            .expect(0)
            .stdout
            .len()
            .min(8),
        8
    );
}

#[test]
fn logs_without_a_reader_never_block_the_container() {
    let engine = Engine::start();
    let name = engine.name("nobody");
    engine
        .docker(&[
            "run",
            "-d",
            "--name",
            &name,
            "busybox",
            "sh",
            "-c",
            "seq 1 200000; echo done; sleep 600",
        ])
        .ok();
    eventually("the last line is logged", || {
        (engine.docker(&["logs", "--tail", "1", &name]).ok() == "done").then_some(())
    });
}

#[test]
fn the_driver_none_keeps_nothing_and_says_so() {
    let engine = Engine::start();
    let name = engine.name("none");
    let shown = engine
        .docker(&[
            "run",
            "--name",
            &name,
            "--log-driver",
            "none",
            "busybox",
            "echo",
            "hi",
        ])
        .ok();
    assert_eq!(shown, "hi");
    let output = engine.docker(&["logs", &name]).expect(1);
    assert!(
        output
            .stderr
            .contains("configured logging driver does not support reading"),
        "{}",
        output.stderr
    );
}

#[test]
fn rotation_keeps_the_newest_lines() {
    let engine = Engine::start();
    let name = engine.name("rotate");
    engine
        .docker(&[
            "run",
            "--name",
            &name,
            "--log-opt",
            "max-size=10k",
            "--log-opt",
            "max-file=3",
            "busybox",
            "seq",
            "1",
            "5000",
        ])
        .expect(0);
    let kept = eventually_within(Duration::from_secs(10), "the log is read", || {
        let kept = engine.docker(&["logs", &name]).ok();
        kept.ends_with("5000").then_some(kept)
    });
    let first: u32 = kept.lines().next().unwrap().parse().unwrap();
    assert!(first > 4000, "{first}");
    assert_eq!(
        kept.lines().count(),
        usize::try_from(5000 - first + 1).unwrap()
    );
}

#[test]
fn a_log_of_which_nothing_is_said_is_bounded() {
    let engine = Engine::start();
    // dockerd's grows until the disk is full.
    if !engine.is_own() {
        return;
    }
    let name = engine.name("bounded");
    let script = "yes $(head -c 99 /dev/zero | tr '\\000' x) | head -n 700000";
    engine
        .docker(&["run", "-d", "--name", &name, "busybox", "sh", "-c", script])
        .ok();
    assert_eq!(engine.docker(&["wait", &name]).ok(), "0");
    let container = engine.inspect(&name);
    assert_eq!(
        container["HostConfig"]["LogConfig"],
        serde_json::json!({"Type": "json-file", "Config": {}})
    );
    let path = container["LogPath"].as_str().unwrap();
    let size = |path: &str| std::fs::metadata(path).map(|data| data.len());
    assert!(size(path).unwrap() < 100_000_000);
    assert!(size(&format!("{path}.1")).is_ok() || size(&format!("{path}.1.gz")).is_ok());
    let mut reader = engine.docker_spawn(&["logs", &name]);
    let lines = BufReader::new(reader.stdout.take().unwrap())
        .lines()
        .count();
    assert_eq!(lines, 700_000);
    assert!(reader.wait().unwrap().success());
}

#[test]
fn entries_are_marked_with_labels_environment_and_a_tag() {
    let engine = Engine::start();
    let name = engine.name("marked");
    let mut arguments = vec![
        "run", "--name", &name, "--label", "a.b=1", "--label", "other=2",
    ];
    arguments.extend(["-e", "X1=v w", "-e", "Y=no"]);
    for option in [
        "labels-regex=^a",
        "env-regex=^X",
        "tag={{upper \"t\"}}{{if .Name}}-{{.ImageName}}{{end}}",
    ] {
        arguments.extend(["--log-opt", option]);
    }
    arguments.extend(["busybox", "echo", "hi"]);
    engine.docker(&arguments).ok();
    let details = engine.docker(&["logs", "--details", &name]).ok();
    assert_eq!(details, "X1=v+w,a.b=1,tag=T-busybox hi");
}

#[test]
fn a_log_that_blocks_nobody_is_complete_when_there_is_room() {
    let engine = Engine::start();
    for driver in ["json-file", "local"] {
        let name = engine.name(driver);
        engine
            .docker(&[
                "run",
                "-d",
                "--name",
                &name,
                "--log-driver",
                driver,
                "--log-opt",
                "mode=non-blocking",
                "--log-opt",
                "max-buffer-size=16m",
                "busybox",
                "seq",
                "1",
                "20000",
            ])
            .ok();
        assert_eq!(engine.docker(&["wait", &name]).ok(), "0");
        let wanted: Vec<String> = (1..=20_000).map(|number: u32| number.to_string()).collect();
        assert_eq!(engine.docker(&["logs", &name]).ok(), wanted.join("\n"));
    }
}

#[test]
fn a_log_that_blocks_nobody_drops_whole_lines_when_there_is_no_room() {
    let engine = Engine::start();
    let name = engine.name("dropping");
    let options = [
        "--log-opt",
        "mode=non-blocking",
        "--log-opt",
        "max-buffer-size=1k",
    ];
    let head = ["run", "-d", "--name", &name];
    // Much, and written in large pieces: a few, or lines one by one, may be slow enough for all to find room.
    let script = "seq 1000000 2000000 >/lines; cat /lines";
    engine
        .docker(&[&head[..], &options, &["busybox", "sh", "-c", script]].concat())
        .ok();
    assert_eq!(engine.docker(&["wait", &name]).ok(), "0");
    let text = engine.docker(&["logs", &name]).ok();
    let lines: Vec<u32> = text.lines().map(|line| line.parse().unwrap()).collect();
    assert!(
        !lines.is_empty() && lines.len() < 1_000_001,
        "{}",
        lines.len()
    );
    assert!(
        lines
            .iter()
            .all(|line| (1_000_000..=2_000_000).contains(line))
    );
    assert!(lines.is_sorted_by(|one, next| one < next));
}

#[test]
fn the_logs_of_each_driver_can_be_read() {
    let engine = Engine::start();
    let udp = [
        "syslog-address=udp://127.0.0.1:9",
        "gelf-address=udp://127.0.0.1:9",
    ];
    let cases: [(&str, &[&str]); 5] = [
        ("json-file", &[]),
        ("local", &[]),
        ("syslog", &udp[..1]),
        ("gelf", &udp[1..]),
        (
            "fluentd",
            &["fluentd-address=127.0.0.1:9", "fluentd-async=true"],
        ),
    ];
    for (driver, options) in cases {
        let name = engine.name(driver);
        let mut arguments = vec!["run", "-d", "--name", &name, "--log-driver", driver];
        for option in options {
            arguments.extend(["--log-opt", option]);
        }
        arguments.extend(["busybox", "sh", "-c", "echo out; echo err >&2; sleep 600"]);
        engine.docker(&arguments).ok();
        // While it runs; dockerd's fluentd driver waits long at its end.
        eventually(driver, || {
            let logs = engine.docker(&["logs", &name]).expect(0);
            (logs.stdout == "out\n" && logs.stderr == "err\n").then_some(())
        });
        let last = engine.docker(&["logs", "--tail", "1", &name]).expect(0);
        // The streams are two pipes: either may be read first.
        let last = last.stdout + &last.stderr;
        assert!(
            matches!(last.as_str(), "out\n" | "err\n"),
            "{driver}: {last}"
        );
    }
}
