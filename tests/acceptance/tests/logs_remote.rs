//! Log drivers that send entries elsewhere, with real receivers.
#![expect(clippy::too_many_lines, reason = "a story is told in one piece")]
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests fail by panicking"
)]

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;

use arca_testkit::{Engine, Over, Protocol, Receiver, eventually};
use serde_json::Value;

/// Runs a container with a log driver to its end, and returns its name.
fn run(engine: &Engine, driver: &str, options: &[&str], script: &str) -> String {
    let name = engine.name(driver);
    start(engine, &name, driver, options, script);
    engine.docker(&["wait", &name]).ok();
    name
}

fn start(engine: &Engine, name: &str, driver: &str, options: &[&str], script: &str) {
    let mut arguments = vec!["run", "-d", "--name", name, "--log-driver", driver];
    arguments.extend(options.iter().flat_map(|option| ["--log-opt", *option]));
    arguments.extend(["busybox", "sh", "-c", script]);
    engine.docker(&arguments).ok();
}

fn syslog_text(record: &Value) -> &str {
    record.as_str().unwrap()
}

#[test]
fn syslog_messages_have_the_format_facility_and_tag_that_were_asked_for() {
    let engine = Engine::start();
    let udp = Receiver::start(&engine, Protocol::Syslog, Over::Udp);
    let address = format!("syslog-address=udp://{}", udp.address());
    let script = "echo out; echo; echo err >&2";
    for (format, facility, stdout, stderr) in [
        ("", "", "<30>", "<27>"),
        ("rfc3164", "local3", "<158>", "<155>"),
        ("rfc5424", "mail", "<22>1 ", "<19>1 "),
        ("rfc5424micro", "1", "<14>1 ", "<11>1 "),
    ] {
        let tag = format!("tag=x{format}/{{{{.Name}}}}");
        let format_option = format!("syslog-format={format}");
        let facility = format!("syslog-facility={facility}");
        let options = [address.as_str(), &tag, &format_option, &facility];
        let name = run(&engine, "syslog", &options, script);
        let tag = format!("x{format}/{name}");
        let ours = |records: &[Value]| -> Vec<String> {
            let texts = records.iter().map(|record| syslog_text(record).to_owned());
            texts.filter(|text| text.contains(&tag)).collect()
        };
        let records = ours(&udp.wait("two messages", |records| ours(records).len() == 2));
        let find = |end: &str| records.iter().find(|text| text.ends_with(end)).unwrap();
        let (out, err) = (find(" out"), find(" err"));
        assert!(
            out.starts_with(stdout) && err.starts_with(stderr),
            "{out} {err}"
        );
        match format {
            "rfc5424" | "rfc5424micro" => {
                let fields: Vec<&str> = out.split(' ').collect();
                assert_eq!(
                    (fields[3], fields[5], fields[6]),
                    (tag.as_str(), tag.as_str(), "-")
                );
                assert_eq!(fields[1].contains('.'), format == "rfc5424micro", "{out}");
            }
            _ => assert!(out.contains(&format!(" {tag}[")), "{out}"),
        }
        // Dual logging: what is sent elsewhere can be read here.
        assert_eq!(engine.docker(&["logs", &name]).expect(0).stdout, "out\n\n");
    }
}

#[test]
fn syslog_goes_over_tcp_tls_and_unix_sockets() {
    let engine = Engine::start();
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let (certificate, key) = certificate(directory.path());
    let ca = format!("syslog-tls-ca-cert={}", certificate.display());
    for (scheme, over, option) in [
        ("tcp", Over::Tcp, None),
        (
            "tcp+tls",
            Over::Tls(certificate.clone(), key.clone()),
            Some(ca.as_str()),
        ),
        (
            "tcp+tls",
            Over::Tls(certificate, key),
            Some("syslog-tls-skip-verify=true"),
        ),
        ("unix", Over::Unix(path("stream")), None),
        ("unixgram", Over::Datagram(path("datagram")), None),
    ] {
        let receiver = Receiver::start(&engine, Protocol::Syslog, over);
        let address = format!("syslog-address={scheme}://{}", receiver.address());
        let mut options = vec![address.as_str(), "syslog-format=rfc5424"];
        options.extend(option);
        run(&engine, "syslog", &options, "seq 1 300");
        let all = |records: &[Value]| records.len() >= 300;
        let records = receiver.wait(scheme, all);
        let ends =
            |record: &Value, number: usize| syslog_text(record).ends_with(&format!(" - {number}"));
        assert!(
            (1..=300)
                .zip(&records)
                .all(|(number, record)| ends(record, number))
        );
    }
}

/// A certificate for 127.0.0.1 that signs itself, and its key.
fn certificate(directory: &std::path::Path) -> (PathBuf, PathBuf) {
    let (certificate, key) = (directory.join("cert.pem"), directory.join("key.pem"));
    let status = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
        ])
        .args([
            "-days",
            "2",
            "-subj",
            "/CN=receiver",
            "-addext",
            "subjectAltName=IP:127.0.0.1",
        ])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .arg("-out")
        .arg(&certificate)
        .arg("-keyout")
        .arg(&key)
        .stderr(std::process::Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
    (certificate, key)
}

#[test]
fn gelf_messages_describe_the_container() {
    let engine = Engine::start();
    let udp = Receiver::start(&engine, Protocol::Gelf, Over::Udp);
    let tcp = Receiver::start(&engine, Protocol::Gelf, Over::Tcp);
    // Too much for one datagram, however it is compressed.
    let script =
        "echo out; head -c 6000 /dev/urandom | od -An -tx1 | tr -d ' \\n'; echo; echo e >&2";
    for (receiver, scheme, options) in [
        (&udp, "udp", &[][..]),
        (
            &udp,
            "udp",
            &["gelf-compression-type=zlib", "gelf-compression-level=9"],
        ),
        (&udp, "udp", &["gelf-compression-type=none"]),
        (
            &tcp,
            "tcp",
            &["gelf-tcp-max-reconnect=5", "gelf-tcp-reconnect-delay=1"],
        ),
    ] {
        let address = format!("gelf-address={scheme}://{}", receiver.address());
        let mut all = vec![address.as_str(), "tag={{.ImageName}}", "env=A", "labels=l"];
        all.extend(options);
        let name = engine.name("gelf");
        let mut arguments = vec!["run", "-d", "--name", &name, "--log-driver", "gelf"];
        arguments.extend(["-e", "A=1", "--label", "l=2"]);
        arguments.extend(all.iter().flat_map(|option| ["--log-opt", *option]));
        arguments.extend(["busybox", "sh", "-c", script]);
        let id = engine.docker(&arguments).ok();
        let ours = |records: &[Value]| -> Vec<Value> {
            let own = records
                .iter()
                .filter(|record| record["_container_id"] == id.as_str());
            own.cloned().collect()
        };
        let records = ours(&receiver.wait("three messages", |all| ours(all).len() == 3));
        let find = |text: &str| records.iter().find(|r| r["short_message"] == text).unwrap();
        let (out, err) = (find("out"), find("e"));
        assert_eq!((&out["level"], &err["level"]), (&6.into(), &3.into()));
        assert_eq!(
            (&out["_A"], &out["_l"], &out["_tag"]),
            (&"1".into(), &"2".into(), &"busybox".into())
        );
        assert_eq!(
            (&out["version"], &out["_container_name"]),
            (&"1.1".into(), &name.as_str().into())
        );
        assert!(out["timestamp"].as_f64().unwrap() > 1.6e9, "{out}");
        let long = |r: &Value| r["short_message"].as_str().unwrap().len() == 12_000;
        assert!(records.iter().any(long));
    }
}

#[test]
fn fluentd_gets_records_with_times_parts_and_acknowledgements() {
    let engine = Engine::start();
    let directory = tempfile::tempdir().unwrap();
    let tcp = Receiver::start(&engine, Protocol::Fluentd, Over::Tcp);
    let path = directory.path().join("fluentd");
    let unix = Receiver::start(&engine, Protocol::Fluentd, Over::Unix(path));
    for (receiver, scheme, options) in [
        (
            &tcp,
            "tcp",
            &[
                "fluentd-request-ack=true",
                "fluentd-sub-second-precision=true",
            ][..],
        ),
        (
            &unix,
            "unix",
            &["fluentd-async=true", "fluentd-buffer-limit=2MB"],
        ),
    ] {
        let address = format!("fluentd-address={scheme}://{}", receiver.address());
        let mut all = vec![address.as_str(), "tag=docker.{{.Name}}"];
        all.extend(options);
        let script =
            "echo out; head -c 40000 /dev/zero | tr '\\000' x; echo; sleep 0.1; echo err >&2";
        let name = run(&engine, "fluentd", &all, script);
        let tag = format!("docker.{name}");
        let ours = |records: &[Value]| -> Vec<Value> {
            records
                .iter()
                .filter(|record| record[0] == tag.as_str())
                .cloned()
                .collect()
        };
        let records = ours(&receiver.wait("all messages", |all| ours(all).len() == 5));
        let record = &records[0][2];
        assert_eq!(
            (&record["log"], &record["source"]),
            (&"out".into(), &"stdout".into())
        );
        assert_eq!(record["container_name"], format!("/{name}"));
        assert_eq!(record["container_id"], engine.inspect(&name)["Id"]);
        assert_eq!(
            records[0][1].is_array(),
            scheme == "tcp",
            "{:?}",
            records[0][1]
        );
        let parts: Vec<_> = records[1..4].iter().map(|record| &record[2]).collect();
        for (part, ordinal) in parts.iter().zip(1..) {
            assert_eq!(part["partial_message"], "true", "{part}");
            assert_eq!(part["partial_id"], parts[0]["partial_id"]);
            assert_eq!(part["partial_ordinal"], ordinal.to_string());
            assert_eq!(part["partial_last"], (ordinal == 3).to_string());
        }
        assert_eq!(parts[2]["log"].as_str().unwrap().len(), 40_000 - 2 * 16_384);
        assert_eq!(records[4][2]["source"], "stderr");
    }
}

/// The numbers at the end of messages.
fn numbers(records: &[Value]) -> BTreeSet<u32> {
    let text = |record: &Value| match record {
        Value::String(text) => text.rsplit(' ').next().unwrap().to_owned(),
        Value::Array(message) => message[2]["log"].as_str().unwrap().to_owned(),
        other => other["short_message"].as_str().unwrap().to_owned(),
    };
    records
        .iter()
        .map(|record| text(record).parse().unwrap())
        .collect()
}

#[test]
fn no_line_is_lost_while_the_receiver_and_the_daemon_are_away() {
    let engine = Engine::start();
    // dockerd drops what it cannot send, and its containers end with it.
    if !engine.is_own() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let datagram = Over::Datagram(directory.path().join("log"));
    let mut kinds = [
        (
            "syslog",
            Protocol::Syslog,
            Over::Tcp,
            "syslog-address=tcp://",
            "",
        ),
        (
            "syslog",
            Protocol::Syslog,
            Over::Udp,
            "syslog-address=udp://",
            "",
        ),
        (
            "syslog",
            Protocol::Syslog,
            datagram,
            "syslog-address=unixgram://",
            "",
        ),
        ("gelf", Protocol::Gelf, Over::Tcp, "gelf-address=tcp://", ""),
        (
            "fluentd",
            Protocol::Fluentd,
            Over::Tcp,
            "fluentd-address=tcp://",
            "fluentd-request-ack=true",
        ),
    ]
    .map(|(driver, protocol, over, address, option)| {
        let receiver = Receiver::start(&engine, protocol, over);
        let name = engine.name(driver);
        let address = format!("{address}{}", receiver.address());
        let options: Vec<&str> = [address.as_str(), option]
            .into_iter()
            .filter(|o| !o.is_empty())
            .collect();
        let wait = |flag: &str| format!("until [ -e /{flag} ]; do sleep 0.05; done");
        let script = format!(
            "seq 1 1000; {}; seq 1001 2000; {}; seq 2001 3000",
            wait("two"),
            wait("three")
        );
        start(&engine, &name, driver, &options, &script);
        (name, receiver)
    });
    let first = |records: &[Value]| numbers(records).len() == 1000;
    let pids: Vec<i64> = kinds
        .iter_mut()
        .map(|(name, receiver)| {
            receiver.wait("the first thousand", first);
            receiver.kill();
            engine.inspect(name)["State"]["Pid"].as_i64().unwrap()
        })
        .collect();
    let touch = |flag: &str| {
        for pid in &pids {
            std::fs::write(format!("/proc/{pid}/root/{flag}"), "").unwrap();
        }
    };
    touch("two");
    for (name, _) in &kinds {
        eventually("the second thousand is logged", || {
            (engine.docker(&["logs", "-n", "1", name]).ok() == "2000").then_some(())
        });
    }
    engine.kill_9();
    touch("three");
    for pid in &pids {
        eventually("the container has ended", || {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            (stat.is_empty() || stat.contains(") Z ")).then_some(())
        });
    }
    for (name, receiver) in &mut kinds {
        receiver.start_again(&engine);
        let all: BTreeSet<u32> = (1..=3000).collect();
        receiver.wait(name, |records| numbers(records) == all);
    }
    engine.launch();
    for (name, _) in &kinds {
        assert_eq!(engine.docker(&["logs", name]).ok().lines().count(), 3000);
    }
}

#[test]
fn a_container_that_is_removed_at_its_end_is_delivered_to_its_last_line() {
    let engine = Engine::start();
    let tcp = Receiver::start(&engine, Protocol::Syslog, Over::Tcp);
    let address = format!("syslog-address=tcp://{}", tcp.address());
    let arguments = [
        "run",
        "--rm",
        "--log-driver",
        "syslog",
        "--log-opt",
        &address,
        "busybox",
    ];
    engine
        .docker(&[&arguments[..], &["seq", "1", "5000"]].concat())
        .ok();
    let all: BTreeSet<u32> = (1..=5000).collect();
    let records = tcp.wait("all lines", |records| numbers(records) == all);
    assert_eq!(records.len(), 5000);
}

#[test]
fn a_receiver_that_cannot_be_reached_is_told_at_the_start_and_what_is_kept_can_be_refused() {
    let engine = Engine::start();
    let nobody = engine.free_address();
    for (driver, option, text) in [
        ("syslog", format!("syslog-address=tcp://{nobody}"), format!("dial tcp {nobody}: connect: connection refused")),
        ("gelf", format!("gelf-address=tcp://{nobody}"), format!("gelf: cannot connect to GELF endpoint: {nobody} dial tcp {nobody}: connect: connection refused")),
        ("fluentd", format!("fluentd-address={nobody}"), format!("dial tcp {nobody}: connect: connection refused")),
        ("syslog", "tag={{.Foo}}".to_owned(), "template: log-tag:1:2: executing \"log-tag\" at <.Foo>: can't evaluate field Foo in type *logger.Info".to_owned()),
        ("journald", "tag=x".to_owned(), "journald is not enabled on this host".to_owned()),
    ] {
        if driver == "journald" && std::path::Path::new("/run/systemd/journal/socket").exists() {
            continue;
        }
        let name = engine.name(driver);
        let output = engine.docker(&[
            "run", "--name", &name, "--log-driver", driver, "--log-opt", &option, "busybox", "true",
        ]);
        let text = format!("failed to create task for container: failed to initialize logging driver: {text}");
        assert!(output.clone().expect(125).stderr.contains(&text), "{}", output.stderr);
        assert_eq!(engine.inspect(&name)["State"]["Status"], "created");
    }
    let options = [
        &format!("fluentd-address={nobody}"),
        "fluentd-async=true",
        "cache-disabled=true",
    ];
    let name = run(&engine, "fluentd", &options, "echo hi");
    let output = engine.docker(&["logs", &name]).expect(1);
    let text = "configured logging driver does not support reading";
    assert!(output.stderr.contains(text), "{}", output.stderr);
    // Nobody will ever take it.
    engine.docker(&["rm", &name]).ok();
}

#[test]
fn wrong_options_are_refused_at_create() {
    let engine = Engine::start();
    for (driver, option, text) in [
        ("syslog", "x=y", "unknown log opt 'x' for syslog log driver"),
        (
            "syslog",
            "syslog-address=http://a",
            "unsupported scheme: 'http'",
        ),
        (
            "syslog",
            "syslog-address=unix:///nonexistent",
            "stat /nonexistent: no such file or directory",
        ),
        ("syslog", "syslog-facility=zz", "invalid syslog facility"),
        ("syslog", "syslog-format=zz", "Invalid syslog format"),
        (
            "syslog",
            "cache-disabled=zz",
            "invalid value for option cache-disabled: zz",
        ),
        (
            "syslog",
            "mode=zz",
            "logger: logging mode not supported: zz",
        ),
        (
            "syslog",
            "max-buffer-size=1m",
            "logger: max-buffer-size option is only supported with 'mode=non-blocking'",
        ),
        ("gelf", "tag=x", "gelf-address is a required parameter"),
        (
            "gelf",
            "gelf-address=udp://a",
            "gelf: please provide gelf-address as proto://host:port",
        ),
        (
            "fluentd",
            "fluentd-address=tcp://a/b",
            "invalid fluentd-address (tcp://a/b): should not contain a path element",
        ),
        (
            "fluentd",
            "fluentd-retry-wait=zz",
            "time: invalid duration \"zz\"",
        ),
        (
            "fluentd",
            "fluentd-async-reconnect-interval=1h",
            "invalid value for fluentd-async-reconnect-interval: value (\"1h0m0s\") must be between 100ms and 10s",
        ),
        (
            "journald",
            "x=y",
            "unknown log opt 'x' for journald log driver",
        ),
        (
            "json-file",
            "x=y",
            "unknown log opt 'x' for json-file log driver",
        ),
        (
            "local",
            "labels=x",
            "unknown log opt 'labels' for log driver local",
        ),
        (
            "nope",
            "x=y",
            "error looking up logging plugin nope: plugin \"nope\" not found",
        ),
    ] {
        let (name, value) = option.split_once('=').unwrap();
        let body = serde_json::json!({
            "Image": "busybox",
            "HostConfig": {"LogConfig": {"Type": driver, "Config": {name: value}}},
        });
        let (status, answer) = engine.http().post("/v1.51/containers/create", &body);
        assert_eq!(
            (status, &answer["message"]),
            (400, &text.into()),
            "{driver} {option}"
        );
    }
    let (_, info) = engine.http().get("/v1.51/info");
    let drivers = info["Plugins"]["Log"].as_array().unwrap();
    for driver in [
        "fluentd",
        "gelf",
        "journald",
        "json-file",
        "local",
        "syslog",
    ] {
        assert!(drivers.contains(&driver.into()), "{drivers:?}");
    }
}
