//! The data of a database outlive its container, its daemon and a crash of both.
#![expect(clippy::too_many_lines, reason = "a story is told in one piece")]

use arca_testkit::Engine;
use serde_json::json;

#[test]
fn a_database_keeps_what_it_has_confirmed() {
    let engine = Engine::start();
    if !engine.is_own() {
        return;
    }
    engine.need_redis();
    for (driver, options) in [("local", json!(null)), ("block", json!({"size": "64m"}))] {
        let volume = engine.name("data");
        let body = json!({"Name": volume, "Driver": driver, "DriverOpts": options});
        let (status, answer) = engine.http().post("/v1.51/volumes/create", &body);
        assert_eq!(status, 201, "{answer}");
        let mount = format!("{volume}:/data");
        let start = || {
            let name = engine.name("database");
            let rest = [
                "-v",
                &mount,
                "redis",
                "redis-server",
                "--dir",
                "/data",
                "--appendonly",
                "yes",
                "--appendfsync",
                "always",
            ];
            engine.run_detached(&name, &rest).expect(0);
            arca_testkit::eventually("the database answers", || {
                let answer = engine.docker(&["exec", &name, "redis-cli", "PING"]);
                (answer.stdout.trim() == "PONG").then_some(())
            });
            name
        };
        let ask = |name: &str, words: &[&str]| {
            let mut arguments = vec!["exec", name, "redis-cli"];
            arguments.extend(words);
            engine.docker(&arguments).ok()
        };
        let first = start();
        assert_eq!(ask(&first, &["SET", "one", "1"]), "OK");
        // The database is killed, and another container takes its place.
        engine.docker(&["kill", &first]).expect(0);
        engine.docker(&["rm", &first]).expect(0);
        let second = start();
        assert_eq!(ask(&second, &["GET", "one"]), "1");
        assert_eq!(ask(&second, &["SET", "two", "2"]), "OK");
        // The daemon is killed: the database runs on, and keeps what it was told meanwhile.
        engine.kill_9();
        engine.launch();
        assert_eq!(ask(&second, &["GET", "two"]), "2");
        assert_eq!(ask(&second, &["SET", "three", "3"]), "OK");
        // Both are killed.
        let pid = engine.inspect(&second)["State"]["Pid"].as_i64();
        engine.kill_9();
        let pid = pid.and_then(|pid| i32::try_from(pid).ok());
        let pid = pid.and_then(rustix::process::Pid::from_raw);
        rustix::process::kill_process(pid.unwrap(), rustix::process::Signal::KILL).unwrap();
        engine.forget_runtime();
        engine.launch();
        engine.docker(&["rm", "-f", &second]).expect(0);
        if driver == "block" {
            let image = engine
                .data_root()
                .join("volumes")
                .join(&volume)
                .join("volume.img");
            // Its journal is replayed by the next mount; then it is clean.
            let listed = ["run", "--rm", "-v", &mount, "busybox", "ls", "/data"];
            assert!(engine.docker(&listed).ok().contains("appendonly"));
            arca_testkit::eventually("the volume is unmounted", || {
                let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
                (!table.contains(volume.as_str())).then_some(())
            });
            let checked = std::process::Command::new("/usr/sbin/e2fsck")
                .arg("-fn")
                .arg(image)
                .output()
                .unwrap();
            assert!(
                checked.status.success(),
                "{}",
                String::from_utf8_lossy(&checked.stdout)
            );
        }
        let third = start();
        for (key, value) in [("one", "1"), ("two", "2"), ("three", "3")] {
            assert_eq!(ask(&third, &["GET", key]), value, "{driver}");
        }
        engine.docker(&["rm", "-f", &third]).expect(0);
        engine.docker(&["volume", "rm", &volume]).expect(0);
    }
}
