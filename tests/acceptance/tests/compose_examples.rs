//! The applications of `examples/`, started by compose as a user would.
#![expect(
    clippy::unwrap_used,
    reason = "what a test needs fails the test where it stands"
)]

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use arca_testkit::{Compose, Engine, eventually, eventually_within};
use rustix::process::{Pid, Signal, kill_process};

/// What an HTTP server at `address` answers to `GET path`; none when it does not (yet).
fn get(engine: &Engine, address: &str, path: &str) -> Option<String> {
    engine.in_netns(|| {
        let mut stream = TcpStream::connect(address).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
        write!(stream, "GET {path} HTTP/1.0\r\nHost: blog.example\r\n\r\n").ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        let (head, body) = text.split_once("\r\n\r\n")?;
        head.contains(" 200 ").then(|| body.to_owned())
    })
}

/// The number of visits that a page tells.
fn visits(page: &str) -> u32 {
    page.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn a_web_service_scales_and_its_store_keeps_what_it_counted() {
    let engine = Engine::start();
    engine.need_redis();
    let app = Compose::example(&engine, "web-redis");
    app.run(&["up", "-d", "--scale", "web=5"]).ok();
    let mut hosts = BTreeSet::new();
    let mut last = 0;
    for index in 1..=5 {
        let address = app.port("web", index, "80");
        let page = eventually("the service answers", || {
            get(&engine, &address, "/cgi-bin/visits")
        });
        assert!(visits(&page) > last, "{page}");
        last = visits(&page);
        hosts.insert(
            page.split_whitespace()
                .last()
                .unwrap_or_default()
                .to_owned(),
        );
    }
    assert_eq!(hosts.len(), 5, "{hosts:?}");

    // Again: nothing is made anew.
    let before = app.run(&["ps", "-q"]).ok();
    let again = app.run(&["up", "-d", "--scale", "web=5"]).expect(0);
    assert!(!again.stderr.contains("Recreate"), "{}", again.stderr);
    assert_eq!(app.run(&["ps", "-q"]).ok(), before);

    app.run(&["up", "-d", "--scale", "web=1"]).ok();
    assert_eq!(app.run(&["ps", "-q", "web"]).ok().lines().count(), 1);
    app.run(&["down", "-t", "1"]).ok();
    app.run(&["up", "-d"]).ok();
    let address = app.port("web", 1, "80");
    let page = eventually("the service answers after all was taken down", || {
        get(&engine, &address, "/cgi-bin/visits")
    });
    assert!(visits(&page) > last, "the count went on: {page}");
}

#[test]
fn of_three_tiers_only_neighbours_reach_each_other() {
    let engine = Engine::start();
    engine.need_redis();
    engine.need_nginx();
    let app = Compose::example(&engine, "three-tier");
    app.run(&["up", "-d"]).ok();
    let address = app.port("proxy", 1, "80");
    let page = eventually("the application answers through the proxy", || {
        get(&engine, &address, "/cgi-bin/visits")
    });
    assert_eq!(visits(&page), 1);
    let read = "read -r line < /run/secrets/password; echo $line";
    let secret = app.run(&["exec", "-T", "redis", "sh", "-c", read]);
    assert_eq!(secret.ok(), "only for this example");

    let database = engine.inspect(&app.run(&["ps", "-q", "redis"]).ok());
    let networks = database["NetworkSettings"]["Networks"].as_object().cloned();
    let networks = networks.unwrap_or_default();
    assert_eq!(networks.len(), 1);
    let reach = |service: &str, to: &str| {
        let script = format!("echo PING | nc -w 2 {to} 6379");
        app.run(&["exec", "-T", service, "sh", "-c", &script])
    };
    // The proxy's image has no nc: its network is lent to a container that has.
    let proxy = app.run(&["ps", "-q", "proxy"]).ok();
    let network = format!("container:{proxy}");
    for to in networks
        .values()
        .filter_map(|endpoint| endpoint["IPAddress"].as_str())
    {
        assert!(reach("app", to).ok().contains("PONG"));
        let script = format!("echo PING | nc -w 1 {to} 6379");
        let tried = engine.docker(&[
            "run",
            "--rm",
            "--network",
            &network,
            "busybox",
            "sh",
            "-c",
            &script,
        ]);
        assert!(!tried.stdout.contains("PONG"), "{}", tried.stdout);
    }
    let named = engine.docker(&[
        "run",
        "--rm",
        "--network",
        &network,
        "busybox",
        "nslookup",
        "redis",
    ]);
    assert_ne!(named.code, 0, "{}", named.stdout);
    assert!(reach("app", "redis").ok().contains("PONG"), "by name");
}

/// Sends a form to WordPress at `address`; returns the page.
fn submit(engine: &Engine, address: &str, path: &str, form: &str) -> String {
    engine.in_netns(|| {
        let mut stream = TcpStream::connect(address).unwrap();
        write!(
            stream,
            "POST {path} HTTP/1.0\r\nHost: blog.example\r\nContent-Length: {}\r\n\
             Content-Type: application/x-www-form-urlencoded\r\n\r\n{form}",
            form.len()
        )
        .unwrap();
        let mut text = Vec::new();
        stream.read_to_end(&mut text).unwrap();
        String::from_utf8_lossy(&text).into_owned()
    })
}

#[test]
fn a_blog_is_kept_through_all_that_can_end_it() {
    let engine = Engine::start();
    engine.need_mariadb();
    engine.need_wordpress();
    let app = Compose::example(&engine, "wordpress");
    app.run(&["up", "-d", "--wait"]).ok();
    let blog = |what: &str| {
        let address = app.port("wordpress", 1, "80");
        eventually_within(Duration::from_secs(60), what, || {
            get(&engine, &address, "/").filter(|page| page.contains("A blog in containers"))
        })
    };
    let form = "weblog_title=A+blog+in+containers&user_name=admin&admin_password=very-long-1x\
        &admin_password2=very-long-1x&pw_weak=on&admin_email=admin%40blog.example&blog_public=0&language=";
    let address = app.port("wordpress", 1, "80");
    eventually_within(Duration::from_secs(60), "the site is set up", || {
        get(&engine, &address, "/wp-admin/install.php")
    });
    let page = submit(&engine, &address, "/wp-admin/install.php?step=2", form);
    assert!(page.contains("Success!"), "{page}");
    blog("the blog is there");

    // The database crashes while the engine is away.
    let database = app.run(&["ps", "-q", "db"]).ok();
    let pid = engine.inspect(&database)["State"]["Pid"].as_i64().unwrap();
    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    if engine.is_own() {
        engine.kill_9();
    }
    kill_process(pid, Signal::KILL).unwrap();
    if engine.is_own() {
        engine.launch();
    }
    eventually("its policy brings it back", || {
        (engine.inspect(&database)["RestartCount"] == 1).then_some(())
    });
    blog("the blog is back after its database crashed");

    app.run(&["down"]).ok();
    app.run(&["up", "-d", "--wait"]).ok();
    blog("the blog is back after all was taken down");
    assert!(
        !app.run(&["logs", "db"])
            .ok()
            .contains("only for this example")
    );
}

#[test]
fn a_monitor_collects_and_keeps_what_an_exporter_tells() {
    let engine = Engine::start();
    engine.need_prometheus();
    let app = Compose::example(&engine, "monitoring");
    app.run(&["up", "-d"]).ok();
    let asked = |query: &str| {
        let address = app.port("prometheus", 1, "9090");
        let path = format!("/api/v1/query?query={query}");
        eventually_within(Duration::from_secs(60), "it has been collected", || {
            let text = get(&engine, &address, &path)?;
            let answer: serde_json::Value = serde_json::from_str(&text).ok()?;
            let value = answer.pointer("/data/result/0/value/1")?.as_str()?;
            value.parse::<f64>().ok()
        })
    };
    assert!(asked("node_memory_MemTotal_bytes") > 1e6);
    let first = asked("min(timestamp(node_load1))");
    // Only the inner network has the exporter, and it does not lead outside.
    let exporter = engine.inspect(&app.run(&["ps", "-q", "exporter"]).ok());
    let networks = exporter["NetworkSettings"]["Networks"].as_object().cloned();
    assert_eq!(networks.unwrap_or_default().len(), 1);

    app.run(&["down", "-t", "5"]).ok();
    app.run(&["up", "-d"]).ok();
    let oldest = asked("min_over_time(timestamp(node_load1)[1h:1s])");
    assert!(oldest <= first, "{oldest} {first}: the data is there");
}

#[test]
fn two_services_behind_one_name_answer_in_turn() {
    let engine = Engine::start();
    let app = Compose::example(&engine, "aliases");
    app.run(&["up", "-d"]).ok();
    let mut seen = BTreeSet::new();
    eventually("both have answered", || {
        let answer = app.run(&[
            "exec",
            "-T",
            "client",
            "wget",
            "-qO-",
            "http://backend/cgi-bin/who",
        ]);
        if answer.code == 0 {
            seen.insert(answer.stdout);
        }
        (seen.len() == 2).then_some(())
    });
}
